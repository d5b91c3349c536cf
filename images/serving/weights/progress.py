"""How far a download has come, for the controller and for `kubectl logs -c weights`."""

from __future__ import annotations

from apis import reports
from apis.reports import Stage
from oci.progress import Moved

_GIB = 1 << 30
_MIB = 1 << 20


def line(moved: Moved) -> str:
    """The report; its message is for people."""
    done, total = moved.done / _GIB, moved.total / _GIB
    eta = moved.eta_seconds
    left = "" if eta is None else f", {eta:.0f} s left"
    return reports.line(
        Stage(
            stage=reports.DOWNLOAD,
            message=f"weights: {done:.2f} of {total:.2f} GiB, {moved.rate / _MIB:.0f} MiB/s{left}",
            done=round(done, 3),
            total=round(total, 3),
            unit="GiB",
            eta_seconds=None if eta is None else round(eta, 1),
        )
    )
