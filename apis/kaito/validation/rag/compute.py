"""Rules on the node that a RAGEngine asks for: those of a Workspace's `resource`, at its place."""

from __future__ import annotations

from apis.errors import Errors, FieldError
from apis.kaito import messages
from apis.kaito.v1beta1.ragengine import RAGEngine
from apis.kaito.v1beta1.workspace import ResourceSpec
from apis.kaito.validation import nodes
from apis.kaito.validation.facts import Facts
from apis.kaito.validation.rag.judged import Judged

_PATH = "spec.compute"


def asked(engine: RAGEngine) -> ResourceSpec | None:
    """As it was written; `RAGEngine.resource` is how it is meant."""
    return engine.spec.compute if engine.spec else None


def instance_type(engine: RAGEngine, facts: Facts) -> Errors:
    """R-5. Without a compute the pod runs wherever there is room."""
    if (compute := asked(engine)) is not None:
        yield from nodes.instance_type(_PATH, compute.instance_type, facts)


def selector(engine: RAGEngine, _: Facts) -> Errors:
    """R-5."""
    if (compute := asked(engine)) is not None:
        yield from nodes.selector(_PATH, compute.label_selector)


def partition(engine: RAGEngine, facts: Facts) -> Errors:
    """As W-C11 to W-C13."""
    compute = asked(engine)
    if compute is not None and compute.partition is not None:
        yield from nodes.partition(_PATH, compute.partition, facts)


def presence_kept(old: RAGEngine, new: RAGEngine, _: Facts) -> Errors:
    """R-7."""
    if old.spec and new.spec and (asked(old) is None) != (asked(new) is None):
        yield FieldError(_PATH, messages.PRESENCE_KEPT)


def kept(old: RAGEngine, new: RAGEngine, facts: Facts) -> Errors:
    """R-7."""
    before, after = asked(old), asked(new)
    if before is None or after is None:
        return
    if before.count != after.count:
        yield FieldError(f"{_PATH}.count", messages.KEPT)
    yield from nodes.partition_kept(_PATH, before, after)
    yield from nodes.instance_type_kept(_PATH, before.instance_type, after.instance_type, facts)
    yield from nodes.selector_kept(_PATH, before.label_selector, after.label_selector)


def _is_new(engine: RAGEngine) -> bool:
    """A compute that was there before may not change, and `kept` says enough about it."""
    return asked(engine) is None


RULES = (
    Judged(instance_type, _is_new),
    Judged(selector, _is_new),
    Judged(partition, _is_new),
)
