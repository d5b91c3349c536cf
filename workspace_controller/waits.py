"""How long an object took to be ready, as a span: told by the round that wrote it down."""

from __future__ import annotations

from collections.abc import Sequence

from kube import tracing
from kube.meta import Condition, ObjectMeta, find_condition


def tell_ready(
    metadata: ObjectMeta, kind: str, before: Sequence[Condition], after: Sequence[Condition]
) -> None:
    """Called after the write, which was locked: nobody else has told it, and nobody will again.
    A first start counts from creation, a later one from when it had last been ready."""
    was, is_ = find_condition(before, kind), find_condition(after, kind)
    if is_ is None or is_.status != "True" or is_.last_transition_time is None:
        return
    if was is not None and was.status == "True":
        return
    since = metadata.creation_timestamp
    if metadata.generation > 1 and was is not None:
        since = was.last_transition_time
    tracing.waited("ready", since, is_.last_transition_time)
