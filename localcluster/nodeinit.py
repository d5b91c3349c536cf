"""The first process of a node, inside its namespaces: arranges the machine, keeps its programs.

When it ends, the kernel ends every process of the node with it, and mounts, interfaces and
the network namespace go too: there is nothing to clean up that a crash could forget.
Imports little, for each node holds one of these.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

RESTART_SECONDS = 1.0
_LINK_SECONDS = 30.0
_SPECIFICATION = "init.json"


def main() -> None:
    """Run a node from the directory in the first argument."""
    directory = Path(sys.argv[1])
    specification = json.loads((directory / _SPECIFICATION).read_text())
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    socket.sethostname(specification["hostname"])
    _arrange_mounts(specification)
    _arrange_network(specification)
    _delegate_cgroups(specification["cgroups"])
    _keep_running(specification["programs"], directory / "logs")


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


def _arrange_mounts(specification: dict[str, Any]) -> None:
    """The node's own directories on the standard places, its own cgroups as the only ones."""
    _mount("--make-rshared", "/")
    _mount("-t", "sysfs", "-o", "nosuid,nodev,noexec", "sysfs", "/sys")
    _mount_cgroups(specification["cgroups"])
    for source, target, options in specification["binds"]:
        if Path(source).is_dir():
            Path(target).mkdir(parents=True, exist_ok=True)
        _mount("--bind", source, target)
        if options:
            _mount("-o", f"remount,bind,{options}", target)


def _mount_cgroups(cgroups: list[dict[str, Any]]) -> None:
    for cgroup in cgroups:
        if cgroup["version"] == 2:
            _mount("-t", "cgroup2", "cgroup2", cgroup["mount_point"])
            return
    _mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", "/sys/fs/cgroup")
    for cgroup in cgroups:
        Path(cgroup["mount_point"]).mkdir(parents=True, exist_ok=True)
        _mount("-t", "cgroup", "-o", cgroup["options"], "cgroup", cgroup["mount_point"])
        for controller in cgroup["options"].split(","):  # cpu and cpuacct may be mounted as one
            alias = Path("/sys/fs/cgroup") / controller
            if not controller.startswith("name=") and not alias.exists():
                alias.symlink_to(Path(cgroup["mount_point"]).name)


def _delegate_cgroups(cgroups: list[dict[str, Any]]) -> None:
    """Version 2 lets a cgroup have either processes or children with controllers: move away.

    The host moves the one process of the node that is out of our sight, before it hands in eth0.
    """
    for root in (Path(cgroup["mount_point"]) for cgroup in cgroups if cgroup["version"] == 2):
        leaf = root / "init"
        leaf.mkdir(exist_ok=True)
        (leaf / "cgroup.procs").write_text(str(os.getpid()))
        for controller in (root / "cgroup.controllers").read_text().split():
            (root / "cgroup.subtree_control").write_text(f"+{controller}")


def _arrange_network(specification: dict[str, Any]) -> None:
    """Wait for the link that the host hands in, then set addresses, routes and forwarding."""
    end = time.monotonic() + _LINK_SECONDS
    while not Path("/sys/class/net/eth0").exists():
        if time.monotonic() > end:
            sys.exit("the host has handed in no eth0")
        time.sleep(0.02)
    for command in specification["network"]:
        subprocess.run(command, check=True)
    for name, value in specification["sysctls"].items():
        Path("/proc/sys", *name.split(".")).write_text(value)


def _keep_running(programs: list[dict[str, Any]], logs: Path) -> None:
    """Start the programs in order, start again what ends, and reap everybody's orphans."""
    children = {_start(program, logs): program for program in programs}
    while True:
        pid, _status = os.wait()
        if program := children.pop(pid, None):
            time.sleep(RESTART_SECONDS)
            children[_start(program, logs)] = program


def _start(program: dict[str, Any], logs: Path) -> int:
    """Start one program, after the socket that it needs has appeared."""
    if needed := program.get("after"):
        end = time.monotonic() + _LINK_SECONDS
        while not Path(needed).exists() and time.monotonic() < end:
            time.sleep(0.02)
    with (logs / f"{program['name']}.log").open("ab") as log:
        pid = os.fork()
        if pid == 0:
            _become(program["argv"], log.fileno())
    return pid


def _become(argv: list[str], log: int) -> None:
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.setsid()
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.execvp(argv[0], argv)  # noqa: S606 - no shell is wanted
    finally:
        os._exit(127)


if __name__ == "__main__":
    main()
