"""Which NodeClaim stands for each ordinal of a Workspace, remembered across crashes.

A GPU node that is made twice costs money twice, so names are computed, not drawn: from the
Workspace's uid, the ordinal (0 … targetNodeCount-1) and the attempt. The attempt is written on
the Workspace *before* the claim is created. A crash in between repeats the same name, which the
API server refuses to make twice; a claim that was lost gets the next attempt, whose new name
need not wait until its predecessor has finished draining. Pure.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

ATTEMPTS_ANNOTATION = "kaito.sh/node-claim-attempts"
"""On the Workspace: JSON, ordinal → attempt. Ours; upstream draws random names instead."""

ORDINAL_ANNOTATION = "kaito.sh/node-claim-ordinal"
"""On the NodeClaim: the ordinal that it stands for."""

_FIRST_DELAY_SECONDS = 10.0
_LONGEST_DELAY_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Attempt:
    """How far one ordinal has come.

    `number` 0 stands for a claim that we did not name (made by an earlier controller, or by
    hand). `made` says that the claim has been seen in the API server: from then on its absence
    means that it was deleted. `losses` counts claims in a row that went before they were Ready;
    `reason` and `message` are the last one's own words.
    """

    number: int = 1
    made: bool = False
    losses: int = 0
    not_before: datetime | None = None
    reason: str = ""
    message: str = ""

    def seen(self, *, ready: bool) -> Attempt:
        """The claim exists; once it is Ready, earlier losses are forgiven."""
        if ready:
            return Attempt(number=self.number, made=True)
        return replace(self, made=True, not_before=None)

    def lost(self, now: datetime, *, reason: str = "", message: str = "") -> Attempt:
        """The claim is gone or going: the next number, not before the back-off is over."""
        losses = self.losses + 1
        pause = delay_seconds(losses)
        return Attempt(
            number=self.number + 1,
            losses=losses,
            not_before=now.replace(microsecond=0) + timedelta(seconds=pause) if pause else None,
            reason=reason or self.reason,
            message=message or self.message,
        )

    def wait_seconds(self, now: datetime) -> float:
        """How long until a claim may be made; 0 when it may be made now."""
        if self.not_before is None:
            return 0.0
        return max(0.0, (self.not_before - now).total_seconds())


def delay_seconds(losses: int) -> float:
    """The pause after so many losses in a row: none after the first, then 10, 20, 40 … 300."""
    if losses <= 1:
        return 0.0
    doubled = _FIRST_DELAY_SECONDS * 2.0 ** min(losses - 2, 16)
    return min(_LONGEST_DELAY_SECONDS, doubled)


def claim_name(workspace_uid: str, ordinal: int, number: int) -> str:
    """`ws` and nine hex digits: eleven characters, since an AKS agent pool allows twelve."""
    text = f"{workspace_uid}/{ordinal}/{number}"
    return "ws" + hashlib.sha256(text.encode()).hexdigest()[:9]


def read(annotations: Mapping[str, str]) -> dict[int, Attempt]:
    """What the Workspace remembers. Text that nobody could have written here counts as nothing:
    the claims that exist are then found by their own annotation."""
    try:
        stored = json.loads(annotations.get(ATTEMPTS_ANNOTATION, "{}"))
        return {int(ordinal): _attempt(fields) for ordinal, fields in stored.items()}
    except (ValueError, TypeError, AttributeError, KeyError):
        return {}


def to_store(annotations: Mapping[str, str], attempts: Mapping[int, Attempt]) -> dict[str, str]:
    """The annotation, where there is something to write.

    That a claim has been seen is written along with the next change, not for its own sake: it
    matters only to a controller that restarts and finds the claim gone, and the worst that comes
    of not knowing is that the lost claim is asked for once more under its own, free, name.
    """
    unseen = [
        {ordinal: replace(attempt, made=False) for ordinal, attempt in memory.items()}
        for memory in (read(annotations), attempts)
    ]
    if ATTEMPTS_ANNOTATION in annotations and unseen[0] == unseen[1]:
        return {}
    return {ATTEMPTS_ANNOTATION: write(attempts)}


def given_back(
    workspace_uid: str, annotations: Mapping[str, str], there: Collection[str]
) -> dict[str, str]:
    """The annotation once the claims are given back, where there is something to write: the next
    attempts, and none of them a loss. `there` are the claims that exist, going or not."""
    memory = read(annotations)
    after = {
        ordinal: Attempt(number=attempt.number + 1)
        if attempt.made or claim_name(workspace_uid, ordinal, attempt.number) in there
        else attempt
        for ordinal, attempt in memory.items()
    }
    return {} if after == memory else {ATTEMPTS_ANNOTATION: write(after)}


def write(attempts: Mapping[int, Attempt]) -> str:
    """One spelling for one memory, so that equal memories compare equal."""
    stored = {str(ordinal): _fields(attempts[ordinal]) for ordinal in sorted(attempts)}
    return json.dumps(stored, separators=(",", ":"))


def _attempt(fields: Mapping[str, Any]) -> Attempt:
    not_before = fields.get("notBefore")
    return Attempt(
        number=int(fields["attempt"]),
        made=bool(fields.get("made", False)),
        losses=int(fields.get("losses", 0)),
        not_before=_moment(not_before) if not_before else None,
        reason=str(fields.get("reason", "")),
        message=str(fields.get("message", "")),
    )


def _moment(text: str) -> datetime:
    """In UTC where a hand that wrote it named no time zone."""
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _fields(attempt: Attempt) -> dict[str, Any]:
    fields: dict[str, Any] = {"attempt": attempt.number}
    if attempt.made:
        fields["made"] = True
    if attempt.losses:
        fields["losses"] = attempt.losses
    if attempt.not_before is not None:
        fields["notBefore"] = attempt.not_before.isoformat()
    if attempt.reason:
        fields["reason"] = attempt.reason
    if attempt.message:
        fields["message"] = attempt.message
    return fields
