"""Cgroups of nodes: one a node in every hierarchy, so that a node's are found and removed whole.

A node's processes see their cgroup as the root (a cgroup namespace), on version 1 and 2
alike, so that whatever kubelet, containerd and runc make lies below it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from localcluster.processes import wait_until

PARENT = "kaito-localcluster"
ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """A mounted cgroup file system."""

    mount_point: Path
    options: str  # mount options: controllers, or the name of a named hierarchy
    version: int


def hierarchies(mountinfo: str) -> list[Hierarchy]:
    """Those of proc(5) mountinfo; version 2 only where it is the root, not beside version 1."""
    found: dict[Path, Hierarchy] = {}
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        mount_point = Path(before.split()[4])
        kind, _source, options = after.split(" ", 2)
        if kind == "cgroup":
            keep = [word for word in options.split(",") if word not in {"rw", "ro"}]
            found[mount_point] = Hierarchy(mount_point, ",".join(keep), 1)
        elif kind == "cgroup2" and mount_point == ROOT:
            found[mount_point] = Hierarchy(mount_point, "", 2)
    return list(found.values())


def mounted() -> list[Hierarchy]:
    """The hierarchies of this machine."""
    return hierarchies(Path("/proc/self/mountinfo").read_text())


def create(name: str) -> list[Path]:
    """Make a node's cgroups; the answer is the files that a process writes its pid to."""
    files = []
    for hierarchy in mounted():
        path = hierarchy.mount_point / PARENT / name
        path.mkdir(parents=True, exist_ok=True)
        for level in (path.parent, path):
            if hierarchy.version == 2:
                delegate(level.parent)
            else:
                _inherit_cpuset(level)
        files.append(path / "cgroup.procs")
    return files


def settle(name: str, pid: int) -> None:
    """On version 2, move a process away from the node's root cgroup, whose view it has by now.

    There a cgroup has either processes or children with controllers.
    """
    for hierarchy in mounted():
        if hierarchy.version == 2:
            leaf = hierarchy.mount_point / PARENT / name / "init"
            leaf.mkdir(exist_ok=True)
            (leaf / "cgroup.procs").write_text(str(pid))


def delegate(path: Path) -> None:
    """Let the children of a version 2 cgroup use all its controllers."""
    for controller in (path / "cgroup.controllers").read_text().split():
        (path / "cgroup.subtree_control").write_text(f"+{controller}")


def _inherit_cpuset(path: Path) -> None:
    """A new version 1 cpuset is empty, and takes no process before it has CPUs and memory."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        file = path / name
        if file.exists() and not file.read_text().strip():
            file.write_text((path.parent / name).read_text())


def processes(name: str) -> set[int]:
    """The pids in a node's cgroups, in the host's numbers."""
    pids: set[int] = set()
    for path in _paths(name):
        for file in path.rglob("cgroup.procs"):
            try:
                pids.update(int(word) for word in file.read_text().split())
            except OSError:
                continue  # removed meanwhile
    return pids


def remove(name: str, seconds: float = 10) -> list[Path]:
    """Remove a node's cgroups, once its processes have ended; the answer is what would not go."""
    wait_until(lambda: not _remove_trees(_paths(name)), seconds, every=0.1)
    return _paths(name)


def remove_parent() -> None:
    """Remove the cgroups that hold the nodes' ones."""
    for hierarchy in mounted():
        _remove_trees([hierarchy.mount_point / PARENT])


def remains() -> list[str]:
    """What cgroups of the cluster there still are, in words."""
    found = [hierarchy.mount_point / PARENT for hierarchy in mounted()]
    return [f"cgroup {path}" for path in found if path.exists()]


def _paths(name: str) -> list[Path]:
    found = [hierarchy.mount_point / PARENT / name for hierarchy in mounted()]
    return [path for path in found if path.exists()]


def _remove_trees(roots: Iterable[Path]) -> list[Path]:
    """Remove directories from the leaves up; the answer is those that are busy."""
    busy = []
    for root in roots:
        children = [path for path in root.rglob("*") if path.is_dir()]
        for path in [*sorted(children, reverse=True), root]:
            try:
                path.rmdir()
            except FileNotFoundError:
                continue
            except OSError:
                busy.append(path)
    return busy
