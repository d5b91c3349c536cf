"""The policy in force, what is scanned by it, and reading it anew when its file changes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from prometheus_client import CollectorRegistry

from rag.guardrails import pipeline
from rag.guardrails.errors import MissingPolicyError, NoPolicyError, PolicyError
from rag.guardrails.policy import Policy
from rag.guardrails.policyfile import PolicyFile
from rag.guardrails.results import Released, Verdict
from rag.guardrails.settings import GuardrailSettings
from rag.metrics import GuardrailMetrics

logger = logging.getLogger(__name__)
_AT_ONCE = 4
"""Whole texts that are scanned at the same time; others wait."""


class StreamGuard(Protocol):
    """Of one text that comes in pieces."""

    def feed(self, text: str) -> Released: ...

    def end(self) -> Released: ...


class Guardrails:
    def __init__(
        self, settings: GuardrailSettings, metrics: GuardrailMetrics | None = None
    ) -> None:
        self._settings = settings
        self._metrics = metrics or GuardrailMetrics(CollectorRegistry())
        self._policy: Policy | None = None
        self._why = "it was not read yet"
        self._file = PolicyFile(settings.policy_path, self._built)
        self._looked = False
        self._threads = ThreadPoolExecutor(_AT_ONCE, "guardrails")
        self._watching: asyncio.Task[None] | None = None

    @property
    def policy(self) -> Policy | None:
        """None where there is none that could be kept to."""
        return self._policy

    async def start(self) -> None:
        """A policy that cannot be used is told in the log; until there is one, no answer is."""
        if not self._settings.enabled:
            return
        await self._look()
        if self._settings.hot_reload:
            self._watching = asyncio.create_task(self._watch())

    async def close(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def scan(self, text: str) -> Verdict:
        """In a thread. Raises NoPolicyError, ScanError."""
        current = self._current()
        if current is None or not current.guards or not text:
            return Verdict(text)
        loop = asyncio.get_running_loop()
        seconds = self._settings.scan_seconds
        verdict = await loop.run_in_executor(self._threads, pipeline.scan, current, text, seconds)
        self._count(verdict)
        return verdict

    def check_stream(self) -> None:
        """Raises BadRequestError where the policy cannot hold for streams; NoPolicyError."""
        current = self._current()
        if current is not None:
            pipeline.check_stream(current)

    def streaming(self) -> StreamGuard:
        """By the policy that is in force now, whatever becomes of it meanwhile. Pieces are scanned
        where they arrive, which takes less than handing them to a thread would."""
        current = self._current()
        if current is None or not current.guards:
            return _Open()
        return pipeline.Stream(current, self._settings.piece_seconds, self._count)

    def _current(self) -> Policy | None:
        """None where nothing is to be scanned. Raises NoPolicyError."""
        if self._policy is None and self._settings.enabled and not self._settings.fail_open:
            raise NoPolicyError(self._why)
        return self._policy

    def _count(self, verdict: Verdict) -> None:
        for each in verdict.findings:
            self._metrics.hits.labels(each.scanner, each.action).inc()
        final = "block" if verdict.blocked else "redact" if verdict.findings else "pass"
        self._metrics.final_actions.labels(final).inc()
        if final != "pass":
            self._metrics.actions.labels(final).inc()
            found = ", ".join(f"{each.scanner} {each.count}" for each in verdict.findings)
            logger.info("guardrails: %s: %s", final, found or "a scan failed")

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._settings.poll_seconds)
            try:
                await self._look()
            except Exception:  # or no later policy would ever be seen
                logger.exception("guardrails: the policy could not be looked at")

    async def _look(self) -> None:
        """A policy that cannot be used leaves the one before it in force."""
        first = not self._looked
        self._looked = True
        try:
            found = await asyncio.to_thread(self._file.look)
        except PolicyError as error:
            self._refuse(error, first)
            return
        if found is not None:
            self._take(found, first)

    def _take(self, found: Policy, first: bool) -> None:
        same = self._policy is not None and self._policy.sha256 == found.sha256
        self._policy = found
        self._metrics.policy_load.labels("success").inc()
        if not first:
            self._metrics.reloads.labels("noop" if same else "success").inc()
        self._metrics.loaded_at.set_to_current_time()
        self._metrics.active.clear()
        path, count = str(self._settings.policy_path), str(len(found.guards))
        self._metrics.active.labels(path, found.sha256, "true", count).set(1)
        kinds = ", ".join(each.type for each in found.guards) or "no scanner"
        logger.info("guardrails: the policy %s is in force: %s", found.sha256[:12], kinds)

    def _refuse(self, error: PolicyError, first: bool) -> None:
        missing = isinstance(error, MissingPolicyError)
        self._metrics.policy_load.labels("missing" if missing else "invalid").inc()
        if not first:
            self._metrics.reloads.labels("failure").inc()
        if self._policy is not None:
            logger.error("guardrails: %s; the policy before it stays in force", error)
            return
        self._why = str(error)
        then = "nothing is scanned" if self._settings.fail_open else "no answer is given"
        logger.error("guardrails: %s; until there is a policy, %s", error, then)

    def _built(self, kind: str, made: bool) -> None:
        self._metrics.scanner_build.labels(kind, "success" if made else "failure").inc()


class _Open:
    """Where nothing is scanned for."""

    def feed(self, text: str) -> Released:
        return Released(text)

    def end(self) -> Released:
        return Released("")
