"""What of the machine is the container's: engines count the whole machine's cores and memory."""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
MEMINFO = Path("/proc/meminfo")
_GIB = 1 << 30


def cpus(cgroups: Path = CGROUPS) -> int:
    """Cores that this process may use: its affinity, cut to the container's quota."""
    cores = len(os.sched_getaffinity(0))
    quota = _cpu_quota(cgroups)
    return cores if quota is None else max(1, min(cores, math.floor(quota)))


def memory_gib(cgroups: Path = CGROUPS, meminfo: Path = MEMINFO) -> float:
    """RAM that the container may use: its limit, else what the machine has left; 0 if unknown."""
    limits = [
        int(text)
        for name in ("memory.max", "memory/memory.limit_in_bytes")
        if (text := _text(cgroups / name)).isdigit()
    ]
    for line in _text(meminfo).splitlines():
        if line.startswith("MemAvailable:"):
            limits.append(int(line.split()[1]) * 1024)
    return min(limits, default=0) / _GIB


def _cpu_quota(cgroups: Path) -> float | None:
    """Cores that the control group grants, of version 2 or 1; None where it sets no limit."""
    words = _text(cgroups / "cpu.max").split()
    if len(words) != 2:
        words = [_text(cgroups / f"cpu/cpu.cfs_{part}_us") for part in ("quota", "period")]
    limit, period = words
    return int(limit) / int(period) if limit.isdigit() and period.isdigit() else None


def _text(path: Path) -> str:
    """Stripped; empty where there is no such file."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""
