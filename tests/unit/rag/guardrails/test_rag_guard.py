"""The policy in force: what happens without one, and when its file changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from rag.chat.guarded import Pieces
from rag.errors import BadRequestError
from rag.guardrails.errors import NoPolicyError, ScanError
from rag.guardrails.guard import Guardrails
from rag.guardrails.settings import GuardrailSettings
from rag.metrics import GuardrailMetrics

A = b"scanners: [{type: ban_substrings, substrings: [a]}]"
B = b"scanners: [{type: ban_substrings, substrings: [b]}]"
SLOW = b"scanners: [{type: regex, patterns: ['(?:a|aa)+b$']}]"
BAD = b"scanners: [{type: what}]"


class Registry(CollectorRegistry):
    def of(self, name: str, **labels: str) -> float:
        return self.get_sample_value(name, labels) or 0.0


@asynccontextmanager
async def started(
    path: Path, registry: CollectorRegistry | None = None, **settings: bool | float
) -> AsyncIterator[Guardrails]:
    wanted = replace(
        GuardrailSettings(True, path, poll_seconds=0.005),
        **settings,  # type: ignore[arg-type]
    )
    guardrails = Guardrails(wanted, GuardrailMetrics(registry or CollectorRegistry()))
    await guardrails.start()
    try:
        yield guardrails
    finally:
        await guardrails.close()


async def until(asked: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while not await asked():
            await asyncio.sleep(0.002)


def mounted(directory: Path, text: bytes) -> Path:
    """As the kubelet puts a ConfigMap there: links to a directory with a name of its own."""
    turn(directory, text)
    file = directory / "guardrails.yaml"
    file.symlink_to("..data/guardrails.yaml")
    return file


def turn(directory: Path, text: bytes) -> None:
    """All files of it change at once."""
    new = directory / f"..{len(list(directory.iterdir()))}"
    new.mkdir()
    (new / "guardrails.yaml").write_bytes(text)
    (directory / "..next").symlink_to(new.name)
    (directory / "..next").rename(directory / "..data")


async def test_disabled_guardrails_read_and_scan_nothing(tmp_path: Path) -> None:
    async with started(tmp_path / "absent", enabled=False) as guardrails:
        guardrails.check_stream()
        assert (await guardrails.scan("a")).text == "a"
        stream = guardrails.streaming()
        assert (stream.feed("a").text, stream.end().text) == ("a", "")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param(None, "is not there", id="missing"),
        pytest.param(BAD, "type must be one of", id="bad"),
    ],
)
async def test_without_a_policy_no_answer_is_given(
    tmp_path: Path, text: bytes | None, why: str
) -> None:
    path = tmp_path / "policy.yaml"
    if text is not None:
        path.write_bytes(text)
    async with started(path, hot_reload=False) as guardrails:
        with pytest.raises(NoPolicyError, match=why) as caught:
            await guardrails.scan("a")
        assert caught.value.status == 503
        with pytest.raises(NoPolicyError):
            guardrails.check_stream()
        with pytest.raises(NoPolicyError):
            guardrails.streaming()


async def test_failing_open_is_a_choice(tmp_path: Path) -> None:
    async with started(tmp_path / "absent", hot_reload=False, fail_open=True) as guardrails:
        assert (await guardrails.scan("a")).text == "a"
        guardrails.check_stream()


async def test_a_config_map_that_changes_is_read_anew(tmp_path: Path) -> None:
    registry = Registry()
    async with started(mounted(tmp_path, A), registry) as guardrails:
        assert (await guardrails.scan("a b")).text == "[REDACTED] b"
        stream = guardrails.streaming()
        turn(tmp_path, B)

        async def changed() -> bool:
            return (await guardrails.scan("a b")).text == "a [REDACTED]"

        await until(changed)
        # A stream keeps to the policy that it began with.
        assert stream.feed("a b ").text == "[REDACTED] b "
    assert registry.of("guardrails_policy_reload_total", result="success") == 1
    assert registry.of("output_guardrails_policy_load_total", policy_status="success") == 2


async def test_a_bad_policy_leaves_the_one_before_it(tmp_path: Path) -> None:
    registry = Registry()
    async with started(mounted(tmp_path, A), registry) as guardrails:
        turn(tmp_path, BAD)

        async def counted() -> bool:
            return registry.of("guardrails_policy_reload_total", result="failure") == 1

        await until(counted)
        assert (await guardrails.scan("a")).text == "[REDACTED]"
        (tmp_path / "..data").unlink()
        await until(lambda: _is(registry, "failure", 2))
        assert (await guardrails.scan("a")).text == "[REDACTED]"
    # Each is told once, however often it is looked at.
    assert registry.of("guardrails_policy_reload_total", result="failure") == 2
    assert registry.of("output_guardrails_policy_load_total", policy_status="missing") == 1
    assert registry.of("output_guardrails_scanner_build_total", type="unknown", status="failure")


async def _is(registry: Registry, result: str, count: float) -> bool:
    return registry.of("guardrails_policy_reload_total", result=result) == count


async def test_a_policy_that_comes_late_ends_the_refusals(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    async with started(path) as guardrails:
        path.write_bytes(A)

        async def there() -> bool:
            return guardrails.policy is not None

        await until(there)
        assert (await guardrails.scan("a")).text == "[REDACTED]"


async def test_findings_are_counted_by_upstreams_names(tmp_path: Path) -> None:
    path, registry = tmp_path / "policy.yaml", Registry()
    path.write_bytes(A)
    async with started(path, registry) as guardrails:
        await guardrails.scan("b")
        await guardrails.scan("a")
        stream = guardrails.streaming()
        stream.feed("a ")
        stream.end()
    hits = "ragengine_guardrails_response_scanner_hits_total"
    assert registry.of(hits, scanner_type="ban_substrings", action="redact") == 2
    final = "ragengine_guardrails_response_actions_total"
    assert registry.of(final, final_action="redact") == 2
    assert registry.of(final, final_action="pass") == 1
    assert registry.of("guardrails_policy_loaded_timestamp_seconds") > 0


async def test_a_slow_scan_holds_nobody_up_and_shows_nothing(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_bytes(SLOW)
    async with started(path, scan_seconds=0.5, piece_seconds=0.05) as guardrails:
        slow = asyncio.create_task(guardrails.scan("a" * 80))
        turns = 0
        while not slow.done():  # the loop turns meanwhile
            await asyncio.sleep(0.01)
            turns += 1
        assert turns > 5
        with pytest.raises(ScanError):
            await slow
        stream = guardrails.streaming()
        released = stream.feed("a" * 80 + "c")
        assert (released.blocked, "aaa" in released.text) == (True, False)


async def test_a_scanner_that_breaks_shows_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "policy.yaml"
    path.write_bytes(b"scanners: [{type: json}]")
    async with started(path) as guardrails:
        with pytest.raises(BadRequestError, match="json"):
            guardrails.check_stream()
        monkeypatch.setattr("json_repair.loads", lambda *_, **__: 1 / 0)
        with pytest.raises(ScanError):
            await guardrails.scan("{'a'}")


async def test_a_chat_in_pieces_is_redacted_across_them(tmp_path: Path) -> None:
    """The word, its arguments to a tool, and what is held back to the end."""
    path = tmp_path / "policy.yaml"
    path.write_bytes(b"scanners: [{type: ban_substrings, substrings: [secret]}]")
    async with started(path) as guardrails:
        pieces = Pieces(guardrails)
        deltas: list[dict[str, Any]] = [
            {"content": "a sec"},
            {"content": "ret is"},
            {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": "sec"}}]},
            {"tool_calls": [{"index": 0, "function": {"arguments": "ret"}}]},
        ]
        chunks = [
            chunk
            for delta in deltas
            for chunk in pieces.feed({"choices": [{"index": 0, "delta": delta}]}).chunks
        ]
        chunks += pieces.end().chunks
    said = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert "".join(each.get("content", "") for each in said) == "a [REDACTED] is"
    arguments = [
        call["function"].get("arguments", "")
        for each in said
        for call in each.get("tool_calls", ())
    ]
    assert "".join(arguments) == "[REDACTED]"
