"""What accelerators a node has: the one vocabulary of catalogues, estimates and node labels."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GPU:
    """The accelerators of one node; all alike, as node labels cannot say otherwise.

    `memory_gib` is per GPU. A count of 0 is a CPU-only node, which is a node like any other.
    """

    count: int
    model: str = ""
    memory_gib: float = 0.0
    compute_capability: str = ""

    def __bool__(self) -> bool:
        return self.count > 0


NO_GPU = GPU(0)
