"""The programs a cluster is made of: which, in which version, released where, built how.

Versions have one home: the go.mod of each folder here, from which the programs can be built.
A folder is a module of its own so that the versions of one tool never move another's.
"""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True)
class Release:
    """An official download: the file, the text that holds its SHA-256, and the member wanted."""

    url: str
    checksum_url: str
    member: str = ""  # inside a tar archive; empty where the file is the program itself


@dataclass(frozen=True, slots=True)
class Tool:
    """One program."""

    name: str
    product: str  # what the version is of, and the cache is keyed by
    folder: str  # with the go.mod
    module: str  # whose version in go.mod is the product's
    package: str  # to build
    version_variables: tuple[str, ...] = ()

    @property
    def version(self) -> str:
        """The version in go.mod, as `v1.2.3`."""
        text = (HERE / self.folder / "go.mod").read_text()
        found = re.search(rf"^\s*(?:require )?{re.escape(self.module)} (v\S+)", text, re.MULTILINE)
        if found is None:
            raise LookupError(f"{self.folder}/go.mod names no version of {self.module}")
        return found[1]

    @property
    def cache_key(self) -> str:
        return f"{self.product}-{self.version}-linux-{architecture()}"

    @property
    def ldflags(self) -> str:
        """Linker flags; without the version variables /version says v0.0.0."""
        major, minor = self.version.removeprefix("v").split(".")[:2]
        values = {
            "gitVersion": self.version,
            "version": self.version,
            "gitMajor": major,
            "gitMinor": minor,
        }
        known = [
            f"-X {variable}={values[variable.rpartition('.')[2]]}"
            for variable in self.version_variables
        ]
        return " ".join(["-s", "-w", *known])

    @property
    def release(self) -> Release:
        return _RELEASES[self.product](self)


def architecture() -> str:
    """This machine's, in Go's words."""
    machine = platform.machine()
    return _MACHINES.get(machine, machine)


def _kubernetes_release(tool: Tool) -> Release:
    url = f"https://dl.k8s.io/{tool.version}/bin/linux/{architecture()}/{tool.name}"
    return Release(url, f"{url}.sha256")


def _etcd_release(tool: Tool) -> Release:
    folder = f"https://github.com/etcd-io/etcd/releases/download/{tool.version}"
    name = f"etcd-{tool.version}-linux-{architecture()}"
    return Release(f"{folder}/{name}.tar.gz", f"{folder}/SHA256SUMS", f"{name}/etcd")


def _helm_release(tool: Tool) -> Release:
    url = f"https://get.helm.sh/helm-{tool.version}-linux-{architecture()}.tar.gz"
    return Release(url, f"{url}.sha256sum", f"linux-{architecture()}/helm")


def _coredns_release(tool: Tool) -> Release:
    folder = f"https://github.com/coredns/coredns/releases/download/{tool.version}"
    url = f"{folder}/coredns_{tool.version.removeprefix('v')}_linux_{architecture()}.tgz"
    return Release(url, f"{url}.sha256", "coredns")


_RELEASES = {
    "kubernetes": _kubernetes_release,
    "etcd": _etcd_release,
    "helm": _helm_release,
    "coredns": _coredns_release,
}
_COMPONENT = "k8s.io/component-base/version"
_KUBERNETES_VARIABLES = (
    f"{_COMPONENT}.gitVersion",
    f"{_COMPONENT}.gitMajor",
    f"{_COMPONENT}.gitMinor",
)
_KUBERNETES_PROGRAMS = (
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "kubectl",
)
TOOLS = {
    "etcd": Tool(
        "etcd", "etcd", "kubernetes", "go.etcd.io/etcd/server/v3", "go.etcd.io/etcd/server/v3"
    ),
    **{
        name: Tool(
            name,
            "kubernetes",
            "kubernetes",
            "k8s.io/kubernetes",
            f"k8s.io/kubernetes/cmd/{name}",
            _KUBERNETES_VARIABLES,
        )
        for name in _KUBERNETES_PROGRAMS
    },
    "helm": Tool(
        "helm",
        "helm",
        "helm",
        "helm.sh/helm/v3",
        "helm.sh/helm/v3/cmd/helm",
        ("helm.sh/helm/v3/internal/version.version",),
    ),
    "coredns": Tool("coredns", "coredns", "coredns", "github.com/coredns/coredns", "."),
}
"""All programs by name."""
