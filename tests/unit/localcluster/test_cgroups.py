"""Which cgroup hierarchies count."""

from __future__ import annotations

from pathlib import Path

import pytest

from localcluster.cgroups import Hierarchy, hierarchies

V1 = """\
40 30 0:30 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
41 40 0:31 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
42 40 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
43 40 0:33 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
44 40 0:34 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""
V2 = "40 30 0:30 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"


def test_version_1_has_one_hierarchy_for_each_mount() -> None:
    found = {item.mount_point.name: item for item in hierarchies(V1)}
    assert found["cpu,cpuacct"] == Hierarchy(
        Path("/sys/fs/cgroup/cpu,cpuacct"), "cpu,cpuacct", version=1
    )
    assert found["systemd"].options == "name=systemd"


def test_version_2_beside_version_1_holds_no_controllers_and_is_left_alone() -> None:
    assert "unified" not in {item.mount_point.name for item in hierarchies(V1)}


def test_version_2_alone_is_one_hierarchy() -> None:
    assert hierarchies(V2) == [Hierarchy(Path("/sys/fs/cgroup"), "", version=2)]


@pytest.mark.parametrize("text", ["", "40 30 0:30 / / rw - ext4 /dev/vda rw\n"])
def test_no_cgroups_no_hierarchies(text: str) -> None:
    assert hierarchies(text) == []
