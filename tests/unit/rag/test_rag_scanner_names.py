"""Admission warns of scanners that the service does not know, and of no others (R-6)."""

from __future__ import annotations

from rag.guardrails.scanners import KINDS

from apis import container


def test_admission_knows_the_scanners_of_the_service() -> None:
    """R-6."""
    assert set(container.RAG_SCANNERS) == set(KINDS)
