"""The priority of what computes: searches and answers, which are short, do not wait for a batch."""

from __future__ import annotations

import os
import threading

_NICENESS = 10
"""Below the rest of the process."""


def lower() -> None:
    """Of the calling thread, for good. Linux keeps priorities by thread; whoever is started from
    here inherits this one."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
