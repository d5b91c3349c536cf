"""What the operator sets; what is scanned for stands in the policy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class GuardrailSettings:
    enabled: bool = False
    policy_path: Path = Path()
    hot_reload: bool = True
    fail_open: bool = False
    """Whether answers pass unscanned while there is no usable policy, as upstream's do."""
    poll_seconds: float = 1.0
    """Between two looks at the policy's file."""
    scan_seconds: float = 5.0
    """For a whole text; what takes longer is refused."""
    piece_seconds: float = 0.25
    """For a piece of a stream, which is scanned where it arrives."""
