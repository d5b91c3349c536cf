"""Room on a disk, looked at before anything is written."""

from __future__ import annotations

import shutil
from pathlib import Path

from oci.errors import TransferError

SPARE_BYTES = 1 << 30
"""Left beside what is written, for whatever else lives on that disk."""
_GIB = 1 << 30


def check(directory: Path, needed: int, *, what: str, remedy: str) -> None:
    """TransferError where the bytes do not fit. `what` is the subject of the sentence, a plural;
    `remedy` ends it."""
    if not needed:
        return
    free = shutil.disk_usage(directory).free
    if needed + SPARE_BYTES > free:
        raise TransferError(
            f"the disk is too small: {what} need {needed / _GIB:.1f} GiB more and 1 GiB to"
            f" spare, and {free / _GIB:.1f} GiB are free; {remedy}"
        )
