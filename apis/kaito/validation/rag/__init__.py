"""Whether a RAGEngine is acceptable: object and facts in, field errors out. Pure.

As `apis.kaito.validation` for Workspaces; the ids (R-…) are those of the rules that KAITO v0.12
has. Each rule stands beside the part that it looks at: on an update it is asked again only where
that part is another, so that what has become invalid meanwhile (a ConfigMap gone, say) can still
get status, be edited elsewhere, and lose its finalizer. Upstream asks all of them at each write.
"""

from __future__ import annotations

from apis.errors import FieldError
from apis.kaito.v1beta1.ragengine import RAGEngine
from apis.kaito.validation.facts import Facts
from apis.kaito.validation.rag import (
    changes,
    compute,
    embedding,
    guardrails,
    metadata,
    objectstore,
    remarks,
    service,
    settings,
    storage,
)

__all__ = ["remarks_on_create", "remarks_on_update", "validate_create", "validate_update"]

_CREATE = (
    *metadata.RULES,
    *compute.RULES,
    *storage.RULES,
    *embedding.RULES,
    *service.RULES,
    *guardrails.RULES,
    *objectstore.RULES,
    *settings.RULES,
)

_UPDATE = (metadata.spec_kept, compute.presence_kept, compute.kept)
"""What may not change."""


def validate_create(engine: RAGEngine, facts: Facts) -> list[FieldError]:
    """Everything that is wrong with a new RAGEngine."""
    return [error for each in _CREATE for error in each.rule(engine, facts)]


def validate_update(old: RAGEngine, new: RAGEngine, facts: Facts) -> list[FieldError]:
    """What may not change; and what did change and is wrong."""
    found = [error for kept in _UPDATE for error in kept(old, new, facts)]
    for each in _CREATE:
        if each.part(old) != each.part(new):
            found += each.rule(new, facts)
    return found


def remarks_on_create(engine: RAGEngine, facts: Facts) -> list[FieldError]:
    """What a new RAGEngine says without effect, or with one that users may not expect."""
    return list(remarks.on(engine, facts))


def remarks_on_update(old: RAGEngine, new: RAGEngine, facts: Facts) -> list[FieldError]:
    """What the change brings about; and what there was not to remark on before."""
    known = set(remarks.on(old, facts))
    said = [each for each in remarks.on(new, facts) if each not in known]
    return [*changes.on(old, new), *said]
