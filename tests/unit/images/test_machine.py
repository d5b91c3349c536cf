"""What of the machine is the container's, by its control group."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from serving import machine

GIB = 1 << 30


def a_group(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        pytest.param({"cpu_DOT_max": "200000 100000\n"}, 2, id="v2"),
        pytest.param({"cpu_DOT_max": "250000 100000\n"}, 2, id="whole-cores-alone"),
        pytest.param({"cpu_DOT_max": "50000 100000\n"}, 1, id="never-none"),
        pytest.param({"cpu_DOT_max": "max 100000\n"}, 8, id="v2-unlimited"),
        pytest.param({"cpu_DOT_max": "9900000 100000\n"}, 8, id="more-than-there-is"),
        pytest.param({}, 8, id="no-group"),
        pytest.param(
            {"cpu__cpu_DOT_cfs_quota_us": "300000", "cpu__cpu_DOT_cfs_period_us": "100000"},
            3,
            id="v1",
        ),
        pytest.param(
            {"cpu__cpu_DOT_cfs_quota_us": "-1", "cpu__cpu_DOT_cfs_period_us": "100000"},
            8,
            id="v1-unlimited",
        ),
    ],
)
def test_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], cores: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert machine.cpus(a_group(tmp_path, **files)) == cores


@pytest.mark.parametrize(
    ("files", "gib"),
    [
        pytest.param({"memory_DOT_max": str(4 * GIB)}, 4, id="v2"),
        pytest.param({"memory_DOT_max": "max"}, 16, id="v2-unlimited"),
        pytest.param({"memory__memory.limit_in_bytes": str(2 * GIB)}, 2, id="v1"),
        pytest.param({"memory__memory.limit_in_bytes": str(1 << 62)}, 16, id="v1-unlimited"),
        pytest.param({}, 16, id="no-group"),
    ],
)
def test_memory(tmp_path: Path, files: dict[str, str], gib: float) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text(f"MemTotal: 99 kB\nMemAvailable:   {16 * GIB // 1024} kB\n")
    assert machine.memory_gib(a_group(tmp_path, **files), meminfo) == gib


def test_unknown_memory_is_none(tmp_path: Path) -> None:
    assert machine.memory_gib(tmp_path, tmp_path / "meminfo") == 0
