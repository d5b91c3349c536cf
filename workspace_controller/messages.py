"""The words of others in what we say: clouds, kubelets and images have long ones. Pure."""

from __future__ import annotations

LONGEST = 256


def cut(text: str) -> str:
    """At most LONGEST characters of it, and a sign where that is not all."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
