"""What becomes a span, whose child it is, and what is not worth one."""

from __future__ import annotations

import contextvars
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from kube import log, origin, tracing
from kube.errors import ConflictError, NotFoundError
from kube.meta import ObjectMeta
from kube.origin import Annotations, Origin
from kube.tracing import Span

GIVEN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
NAMES = Annotations("x/id", "x/parent")
MADE = datetime(2026, 1, 1, tzinfo=UTC)


class Kept:
    def __init__(self) -> None:
        self.spans: list[Span] = []

    def export(self, spans: Sequence[Span], /) -> None:
        self.spans += spans


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture(autouse=True)
def _named() -> Iterator[None]:
    token = origin._names.set(NAMES)
    yield
    origin._names.reset(token)


@pytest.fixture(autouse=True)
def _traced(kept: Kept) -> Iterator[None]:
    token = tracing._tracer.set(None)
    tracing.export_to(kept)
    yield
    tracing._tracer.reset(token)


def an_object(uid: str = "u", generation: int = 1, **annotations: str) -> ObjectMeta:
    told = {f"x/{name}": value for name, value in annotations.items()}
    return ObjectMeta(name="o", uid=uid, generation=generation, annotations=told)


def a_write(name: str = "POST pods") -> None:
    with tracing.call(name, {"url.path": "/p"}, matters=True):
        pass


def test_a_round_that_writes_is_a_span_with_its_calls(kept: Kept) -> None:
    with (
        log.context(reconcileID="r", object="ns/o"),
        tracing.reconcile("c", an_object(parent=GIVEN)),
    ):
        with tracing.call("GET pods", {}, matters=False):
            pass
        a_write()
    get, post, round_ = kept.spans
    assert (round_.name, f"{round_.parent_id:016x}") == ("reconcile c", GIVEN[36:52])
    assert {f"{span.trace_id:032x}" for span in kept.spans} == {GIVEN[3:35]}
    assert get.parent_id == post.parent_id == round_.span_id
    assert round_.attributes == {"controller": "c", "reconcileID": "r", "object": "ns/o"}
    assert round_.start <= get.start <= get.end <= post.end <= round_.end
    assert (post.calls_out, round_.calls_out) == (True, False)


def test_a_round_that_only_looks_is_none(kept: Kept) -> None:
    with tracing.reconcile("c", an_object()), tracing.call("GET pods", {}, matters=False):
        pass
    assert kept.spans == []


def test_a_round_that_fails_is_told_though_it_wrote_nothing(kept: Kept) -> None:
    with pytest.raises(KeyError), tracing.reconcile("c", an_object()):
        raise KeyError("x")
    (round_,) = kept.spans
    assert (round_.error, round_.attributes["error.type"]) == ("KeyError: 'x'", "KeyError")


@pytest.mark.parametrize(
    ("error", "is_failure"),
    [(NotFoundError(404, "NotFound", "no"), False), (ValueError("bad"), True)],
)
def test_what_is_absent_is_an_answer(kept: Kept, error: Exception, is_failure: bool) -> None:
    with tracing.reconcile("c", an_object()):
        try:
            with tracing.call("DELETE pods", {}, matters=True):
                raise error
        except type(error):
            pass
    assert bool(kept.spans[0].error) == is_failure
    assert not kept.spans[1].error


def test_a_conflict_is_no_failure_of_a_round(kept: Kept) -> None:
    def round_() -> None:
        with tracing.reconcile("c", an_object()):
            a_write()
            raise ConflictError(409, "Conflict", "late")

    with pytest.raises(ConflictError):
        round_()
    assert [span.error for span in kept.spans] == ["", ""]


def test_all_rounds_of_a_generation_are_in_one_trace(kept: Kept) -> None:
    """Whoever runs them; another generation, or another object, has its own."""
    for metadata in (an_object(), an_object(), an_object(generation=2), an_object("v")):
        with tracing.reconcile("c", metadata):
            a_write()
    found = [span.trace_id for span in kept.spans if span.name == "reconcile c"]
    assert found[0] == found[1]
    assert len(set(found)) == 3


def test_a_wait_stands_beside_the_round_that_saw_its_end(kept: Kept) -> None:
    with tracing.reconcile("c", an_object(parent=GIVEN)):
        tracing.waited("launch", MADE, MADE + timedelta(seconds=90), {"zone": "a"})
        tracing.waited("never began", None, MADE)
    wait, round_ = kept.spans
    assert (wait.end - wait.start, wait.start) == (90 * 10**9, int(MADE.timestamp()) * 10**9)
    assert (wait.parent_id, wait.trace_id) == (round_.parent_id, round_.trace_id)
    assert wait.attributes == {"controller": "c", "zone": "a"}


def test_what_somebody_else_does_not_sample_is_not_sampled_here(kept: Kept) -> None:
    unsampled = GIVEN[:-2] + "00"
    metadata = an_object(parent=unsampled)
    with tracing.reconcile("c", metadata):
        a_write()
        assert tracing.trace_parent(metadata)[-3:] == "-00"
        assert tracing.trace_parent(metadata)[:36] == unsampled[:36]
    assert kept.spans == []


def test_the_ratio_is_kept_and_the_same_object_is_decided_alike(kept: Kept) -> None:
    tracing.export_to(kept, 0.25)
    for _ in range(2):
        for number in range(400):
            with tracing.reconcile("c", an_object(uid=f"u{number}")):
                a_write()
    rounds = [span.trace_id for span in kept.spans if span.name == "reconcile c"]
    assert 60 <= len(set(rounds)) <= 140
    assert len(rounds) == 2 * len(set(rounds))


@pytest.mark.parametrize(
    "text",
    ["", "01-" + GIVEN[3:], GIVEN[:-3], GIVEN.upper(), f"00-{'0' * 32}-00f067aa0ba902b7-01", "x\n"],
)
def test_what_is_no_trace_context_is_ignored(text: str) -> None:
    assert Origin.of(an_object(parent=text)).trace_parent == ""


@pytest.mark.parametrize("text", ["", "a b", 'x","y', "é", "a" * 65])
def test_what_is_no_id_is_not_logged(text: str) -> None:
    assert Origin.of(an_object(id=text)).fields == {}


def test_without_a_sink_a_given_trace_is_passed_on_and_nothing_kept(kept: Kept) -> None:
    def within() -> str:
        tracing._tracer.set(None)
        with tracing.reconcile("c", metadata):
            a_write()
            return tracing.trace_parent(metadata)

    metadata = an_object(parent=GIVEN)
    assert contextvars.copy_context().run(within) == GIVEN
    assert kept.spans == []


def test_outside_of_rounds_there_are_no_spans(kept: Kept) -> None:
    a_write()
    tracing.waited("launch", MADE, MADE)
    assert kept.spans == []


def test_a_manifest_is_stamped_where_it_is_written_and_not_itself_changed() -> None:
    planned = {"kind": "NodeClaim", "metadata": {"name": "c", "annotations": {"a": "b"}}}
    with log.context(reconcileID="r1"):
        made = origin.stamped(planned, GIVEN)
    assert made["metadata"]["annotations"] == {"x/id": "r1", "x/parent": GIVEN, "a": "b"}
    assert planned["metadata"]["annotations"] == {"a": "b"}


def test_who_was_asked_by_another_round_hands_on_that_one() -> None:
    """A pool's claims begin where the pool did."""
    with log.context(reconcileID="mine", **Origin("theirs").fields):
        made = origin.stamped({"metadata": {}})
    assert made["metadata"]["annotations"] == {"x/id": "theirs"}


def test_outside_of_rounds_nothing_is_stamped() -> None:
    planned = {"metadata": {"name": "c"}}
    assert origin.stamped(planned) is planned


def test_what_a_service_repeats_of_a_secret_is_in_no_span(kept: Kept) -> None:
    with (
        pytest.raises(RuntimeError),
        tracing.reconcile("c", an_object()),
        tracing.call("POST pods", {}, matters=True),
    ):
        raise RuntimeError("403: I do not like Authorization: Bearer pl4nted-Secret_91")
    assert [span.error for span in kept.spans] == [
        "RuntimeError: 403: I do not like Authorization: Bearer ***"
    ] * 2
