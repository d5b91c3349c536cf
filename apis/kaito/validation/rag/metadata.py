"""Rules on the name and the annotations of a RAGEngine, and on whether it says anything."""

from __future__ import annotations

from apis.errors import Errors, FieldError
from apis.kaito import grammar, ragmessages
from apis.kaito.v1beta1 import labels
from apis.kaito.v1beta1.ragengine import RAGEngine
from apis.kaito.validation import apikeys
from apis.kaito.validation import metadata as workspaces
from apis.kaito.validation.facts import Facts
from apis.kaito.validation.rag import parts
from apis.kaito.validation.rag.judged import Judged

_LOCAL_WEIGHTS = labels.USE_LOCAL_WEIGHTS_ANNOTATION


def name(engine: RAGEngine, _: Facts) -> Errors:
    """Upstream has no such rule: there the Service is refused later, and only a log says so."""
    given = engine.metadata.name
    generated = not given and engine.metadata.generate_name
    if not generated and not grammar.is_(grammar.SERVICE_NAME, given):
        yield FieldError("metadata.name", ragmessages.NAME)


def spec(engine: RAGEngine, _: Facts) -> Errors:
    """R-1, of an object without a spec, on which upstream panics."""
    if engine.spec is None:
        yield FieldError("spec", ragmessages.SPEC)


def spec_kept(old: RAGEngine, new: RAGEngine, facts: Facts) -> Errors:
    """R-1."""
    if old.spec is not None:
        yield from spec(new, facts)


def node_class(engine: RAGEngine, facts: Facts) -> Errors:
    """As W-C7 of Workspaces."""
    key = labels.NODE_CLASS_NAME_ANNOTATION
    yield from workspaces.annotation(key, engine.metadata.annotations, facts)


def local_weights(engine: RAGEngine, facts: Facts) -> Errors:
    """As W-C6 of Workspaces; and the model's files come from one place."""
    given, local = engine.metadata.annotations, parts.local(engine)
    yield from workspaces.annotation(_LOCAL_WEIGHTS, given, facts)
    if given.get(_LOCAL_WEIGHTS) == "true" and local is not None and local.image:
        yield FieldError(
            f"metadata.annotations[{_LOCAL_WEIGHTS}]",
            "contradicts spec.embedding.local.image, which holds the model as well; keep one of"
            " both, and name the model that lies on the node by modelID",
        )


def api_keys(engine: RAGEngine, _: Facts) -> Errors:
    """As for Workspaces."""
    yield from apikeys.secret_name(engine.metadata.annotations)


def _never(_: RAGEngine) -> None:
    """Of what cannot change, or is asked for by `spec_kept`."""


def _local_weights(engine: RAGEngine) -> object:
    local = parts.local(engine)
    return _annotated(engine, _LOCAL_WEIGHTS), bool(local and local.image)


def _annotated(engine: RAGEngine, key: str) -> str | None:
    return engine.metadata.annotations.get(key)


RULES = (
    Judged(name, _never),
    Judged(spec, _never),
    Judged(node_class, lambda it: _annotated(it, labels.NODE_CLASS_NAME_ANNOTATION)),
    Judged(local_weights, _local_weights),
    Judged(api_keys, lambda it: _annotated(it, labels.API_KEY_SECRET_ANNOTATION)),
)
