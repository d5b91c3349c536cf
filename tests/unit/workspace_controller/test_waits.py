"""How long a Workspace took to be ready, as a span: when, and since when."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kube import tracing
from kube.meta import Condition, ObjectMeta
from workspace_controller import waits

MADE = datetime(2026, 1, 1, tzinfo=UTC)
LATER = MADE + timedelta(hours=1)
NOW = MADE + timedelta(hours=2)


class Kept:
    def __init__(self) -> None:
        self.spans: list[Any] = []

    def export(self, spans: Any, /) -> None:
        self.spans += spans


@pytest.fixture
def kept() -> Iterator[Kept]:
    kept = Kept()
    token = tracing._tracer.set(None)
    tracing.export_to(kept)
    yield kept
    tracing._tracer.reset(token)


def said(status: Any, at: datetime) -> tuple[Condition, ...]:
    return (Condition(type="Succeeded", status=status, last_transition_time=at),)


@pytest.mark.parametrize(
    ("generation", "before", "after", "since"),
    [
        pytest.param(1, (), said("True", NOW), MADE, id="at once"),
        pytest.param(1, said("False", MADE), said("True", NOW), MADE, id="first"),
        pytest.param(2, said("False", LATER), said("True", NOW), LATER, id="after a change"),
        pytest.param(1, said("True", NOW), said("True", NOW), None, id="told already"),
        pytest.param(1, (), said("False", NOW), None, id="not yet"),
    ],
)
def test_the_round_that_wrote_it_tells(
    kept: Kept, generation: int, before: Any, after: Any, since: datetime | None
) -> None:
    metadata = ObjectMeta(name="w", uid="u", generation=generation, creation_timestamp=MADE)
    with tracing.reconcile("workspace", metadata):
        waits.tell_ready(metadata, "Succeeded", before, after)
    told = [(span.name, span.end - span.start) for span in kept.spans[:-1]]
    assert told == (
        [] if since is None else [("ready", (NOW - since) // timedelta(seconds=1) * 10**9)]
    )
