"""The images' own packages, and a server of an image as a process."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "images"))

from tests.engines.serving.conftest import start  # it needs the path

__all__ = ["start"]
