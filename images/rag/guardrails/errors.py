"""What can go wrong between an answer and whom it is for. None of it lets the answer through."""

from __future__ import annotations

from rag.errors import RagError


class PolicyError(Exception):
    """The policy cannot be used as a whole; the message says where and why."""


class MissingPolicyError(PolicyError):
    """There is no file."""


class ScanError(RagError):
    """A text could not be scanned, or not in time."""

    status = 500

    def __init__(self) -> None:
        super().__init__("Output guardrails failed while scanning the model response.")


class NoPolicyError(RagError):
    """Guardrails are asked for, and there is no policy that could be kept to."""

    status = 503

    def __init__(self, why: str) -> None:
        super().__init__(f"Output guardrails are enabled, but there is no usable policy: {why}")
