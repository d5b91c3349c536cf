"""All scanners of a policy, one after another: each sees what the one before it left."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rag.errors import BadRequestError
from rag.guardrails.deadline import Deadline
from rag.guardrails.errors import ScanError
from rag.guardrails.policy import Guard, Policy
from rag.guardrails.results import Finding, Released, Verdict
from rag.guardrails.scanners.scanner import Stage

logger = logging.getLogger(__name__)
Told = Callable[[Verdict], None]
"""Called once a text, when it is known what became of it."""


def scan(policy: Policy, text: str, seconds: float) -> Verdict:
    """Blocking. Raises ScanError, whatever went wrong: what was not scanned is not shown."""
    deadline, findings = Deadline(seconds), []
    try:
        for guard in policy.guards:
            scanned = guard.scanner.scan(text, deadline)
            if not scanned.hits:
                continue
            blocks = guard.action == "block" or scanned.hopeless
            found = Finding(guard.type, "block" if blocks else "redact", scanned.hits)
            findings.append(found)
            if blocks:
                return Verdict(policy.block_message, blocked=True, findings=tuple(findings))
            text = scanned.text
    except ScanError:
        logger.error("guardrails: a scan took longer than %s s", seconds)
        raise
    except Exception as error:  # fail closed
        logger.exception("guardrails: a scan failed")
        raise ScanError from error
    return Verdict(text, findings=tuple(findings))


def check_stream(policy: Policy) -> None:
    """Raises BadRequestError, naming the scanners that need the whole answer."""
    whole = dict.fromkeys(each.type for each in policy.guards if each.scanner.stream() is None)
    if whole:
        raise BadRequestError(
            "stream=true is not supported with the active output guardrails policy: "
            f"it has {', '.join(whole)}, which must see the whole answer."
        )


@dataclass(slots=True)
class _Step:
    guard: Guard
    stage: Stage


class Stream:
    """One text in pieces. What is released, put together, is what `scan` makes of the whole; of
    what is blocked, nothing that comes after the first finding is."""

    def __init__(self, policy: Policy, seconds: float, told: Told) -> None:
        check_stream(policy)
        self._policy = policy
        self._seconds = seconds
        self._told = told
        self._steps = [
            _Step(each, stage) for each in policy.guards if (stage := each.scanner.stream())
        ]
        self._over = False

    def feed(self, text: str) -> Released:
        return self._through(text, last=False)

    def end(self) -> Released:
        return self._through("", last=True)

    def _through(self, text: str, *, last: bool) -> Released:
        if self._over:
            return Released("", blocked=True)
        try:
            deadline = Deadline(self._seconds)
            for step in self._steps:
                text = step.stage.feed(text, deadline) if text else ""
                text += step.stage.end(deadline) if last else ""
                if step.guard.action == "block" and step.stage.hits:
                    return self._block()
        except Exception as error:  # fail closed: in the middle of an answer there is no status
            logger.error("guardrails: a scan failed", exc_info=error)
            return self._block()
        if last:
            self._over = True
            self._told(Verdict("", findings=self._findings()))
        return Released(text)

    def _block(self) -> Released:
        self._over = True
        self._told(Verdict("", blocked=True, findings=self._findings()))
        return Released(self._policy.block_message, blocked=True)

    def _findings(self) -> tuple[Finding, ...]:
        return tuple(_findings(self._steps))


def _findings(steps: Sequence[_Step]) -> list[Finding]:
    return [
        Finding(each.guard.type, each.guard.action, each.stage.hits)
        for each in steps
        if each.stage.hits
    ]
