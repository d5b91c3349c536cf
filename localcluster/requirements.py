"""What the machine must have; everything that is missing is told at once, with its remedy."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = {
    "buildah": "buildah",
    "cc": "gcc libc6-dev",
    "conntrack": "conntrack",
    "containerd": "containerd",
    "ctr": "containerd",
    "ip": "iproute2",
    "iptables": "iptables",
    "mmdebstrap": "mmdebstrap",
    "nft": "nftables",
    "nsenter": "util-linux",
    "runc": "runc",
    "setpriv": "util-linux",
    "unshare": "util-linux",
}
"""Programs → the Debian packages that have them."""
BROWSER = {"chromedriver": "chromium-driver", "chromium": "chromium"}
"""What only the tests of pages need: no cluster is refused for want of it."""
CNI_PACKAGE = "containernetworking-plugins"
CNI_DIRECTORIES = (Path("/usr/lib/cni"), Path("/opt/cni/bin"), Path("/usr/libexec/cni"))
CNI_PLUGINS = ("host-local", "loopback", "portmap", "ptp")


class MissingError(Exception):
    """The machine cannot run a cluster; the message lists all reasons."""


@dataclass(frozen=True, slots=True)
class Missing:
    """One requirement that is not met."""

    what: str
    packages: str = ""  # Debian's, where installing helps
    remedy: str = ""  # in words, where it does not

    def __str__(self) -> str:
        return f"{self.what}: {self.remedy or f'apt-get install {self.packages}'}"


def missing() -> list[Missing]:
    """All requirements that this machine does not meet."""
    checks: Sequence[Callable[[], Iterable[Missing]]] = (
        _privileges,
        _programs,
        _cni,
        _kernel,
        _cgroups,
    )
    return [item for check in checks for item in check()]


def missing_for_tests() -> list[Missing]:
    """What some tests are skipped without."""
    return list(_absent(BROWSER))


def check() -> None:
    """Raise MissingError unless the machine can run a cluster."""
    if found := missing():
        lines = "\n".join(f"  - {item}" for item in found)
        raise MissingError(f"this machine cannot run the local cluster yet:\n{lines}")


def cni_plugins() -> Path:
    """The directory with all CNI plugins that pods need."""
    for directory in CNI_DIRECTORIES:
        if all((directory / name).exists() for name in CNI_PLUGINS):
            return directory
    raise MissingError(str(next(iter(_cni()))))


def install(*, tests: bool = False) -> int:
    """Install the Debian packages that are missing; the answer is an exit status. What only tests
    need is told where it cannot be had, and no failure: they are skipped."""
    _install(missing())
    if tests:
        _install(missing_for_tests())
    left = missing()
    for item in [*left, *(missing_for_tests() if tests else ())]:
        print(item, file=sys.stderr)
    return 1 if left else 0


def _install(items: Iterable[Missing]) -> None:
    packages = sorted({word for item in items for word in item.packages.split()})
    if not packages or os.geteuid() != 0 or not shutil.which("apt-get"):
        return
    for command in (
        ["apt-get", "update", "--quiet=2"],
        ["apt-get", "install", "--quiet=2", "--yes", "--no-install-recommends", *packages],
    ):
        subprocess.run(
            ["env", "DEBIAN_FRONTEND=noninteractive", *command], check=False, stdout=sys.stderr
        )


def _privileges() -> Iterable[Missing]:
    if sys.platform != "linux":
        yield Missing("the operating system is not Linux", remedy="use a Linux machine or VM")
    if os.geteuid() != 0:
        yield Missing("not root", remedy="run as root, for example with sudo")


def _programs() -> Iterable[Missing]:
    return _absent(PROGRAMS)


def _absent(programs: Mapping[str, str]) -> Iterable[Missing]:
    by_package: dict[str, list[str]] = {}
    for name, package in programs.items():
        if shutil.which(name) is None:
            by_package.setdefault(package, []).append(name)
    for package, names in by_package.items():
        yield Missing(f"no {', '.join(names)}", package)


def _cni() -> Iterable[Missing]:
    if not any(all((d / name).exists() for name in CNI_PLUGINS) for d in CNI_DIRECTORIES):
        yield Missing(f"no CNI plugins ({', '.join(CNI_PLUGINS)})", CNI_PACKAGE)


def _kernel() -> Iterable[Missing]:
    for kind in ("mnt", "pid", "net", "uts", "ipc", "cgroup"):
        if not Path(f"/proc/self/ns/{kind}").exists():
            yield Missing(f"the kernel has no {kind} namespaces", remedy="use a newer kernel")
    if os.geteuid() == 0 and not _can_unshare():
        yield Missing(
            "namespaces may not be made here",
            remedy="run on a machine or VM, or in a privileged container",
        )
    systems = Path("/proc/filesystems").read_text().split()
    if "overlay" not in systems and not _succeeds(["modprobe", "overlay"]):
        yield Missing("the kernel has no overlay file system", remedy="modprobe overlay")


def _can_unshare() -> bool:
    kinds = ["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--fork"]
    return _succeeds(["unshare", *kinds, "--propagation", "private", "true"])


def _cgroups() -> Iterable[Missing]:
    root = Path("/sys/fs/cgroup")
    unified = (root / "cgroup.controllers").exists()
    available = (
        set((root / "cgroup.controllers").read_text().split())
        if unified
        else {path.name for path in root.glob("*")}
    )
    needed = {"cpu", "memory", "pids", "cpuset"} | (set() if unified else {"cpuacct", "devices"})
    if absent := sorted(needed - available):
        yield Missing(
            f"cgroup controllers are not there: {', '.join(absent)}",
            remedy="mount them under /sys/fs/cgroup, or enable them on the kernel's command line",
        )


def _succeeds(argv: list[str]) -> bool:
    try:
        return subprocess.run(argv, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def main(arguments: Sequence[str]) -> int:
    """Tell what is missing; with --install, install it first, with --tests what tests need, too."""
    if "--install" in arguments:
        return install(tests="--tests" in arguments)
    found = missing()
    for item in found:
        print(item, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
