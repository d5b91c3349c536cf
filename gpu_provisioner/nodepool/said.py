"""What is said of a pool in one of its conditions."""

from __future__ import annotations

from typing import NamedTuple

from kube.meta import Condition, Status


class Said(NamedTuple):
    """Status, reason and message; no reason is the condition's own name."""

    status: Status
    reason: str = ""
    message: str = ""

    def of(self, kind: str) -> Condition:
        return Condition(
            type=kind, status=self.status, reason=self.reason or kind, message=self.message
        )


YES = Said("True")
