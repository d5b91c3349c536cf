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
    tags: tuple[str, ...] = ()
    """Of the build, as Go's `-tags`."""

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
            "Version": self.version,
            "gitMajor": major,
            "gitMinor": minor,
        }
        known = [
            f"-X {variable}={values[variable.rpartition('.')[2]]}"
            for variable in self.version_variables
        ]
        return " ".join(["-s", "-w", *known])

    @property
    def release(self) -> Release | None:
        """The official download; None of what is published as source only."""
        published = _RELEASES.get(self.product)
        return None if published is None else published(self)


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


def _prometheus_release(tool: Tool) -> Release:
    """Released as 3.13.5, which is v0.313.5 as a Go module."""
    major_minor, patch = tool.version.removeprefix("v0.").split(".")
    version = f"{major_minor[0]}.{int(major_minor[1:])}.{patch}"
    folder = f"https://github.com/prometheus/prometheus/releases/download/v{version}"
    name = f"prometheus-{version}.linux-{architecture()}"
    return Release(f"{folder}/{name}.tar.gz", f"{folder}/sha256sums.txt", f"{name}/{tool.name}")


def _helm_docs_release(tool: Tool) -> Release:
    folder = f"https://github.com/norwoodj/helm-docs/releases/download/{tool.version}"
    machine = {"amd64": "x86_64"}.get(architecture(), architecture())
    name = f"helm-docs_{tool.version.removeprefix('v')}_Linux_{machine}.tar.gz"
    return Release(f"{folder}/{name}", f"{folder}/checksums.txt", "helm-docs")


def _actionlint_release(tool: Tool) -> Release:
    version = tool.version.removeprefix("v")
    folder = f"https://github.com/rhysd/actionlint/releases/download/{tool.version}"
    name = f"actionlint_{version}_linux_{architecture()}.tar.gz"
    return Release(f"{folder}/{name}", f"{folder}/actionlint_{version}_checksums.txt", "actionlint")


_RELEASES = {
    "actionlint": _actionlint_release,
    "kubernetes": _kubernetes_release,
    "etcd": _etcd_release,
    "helm": _helm_release,
    "helm-docs": _helm_docs_release,
    "coredns": _coredns_release,
    "prometheus": _prometheus_release,
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
    "helm-docs": Tool(
        "helm-docs",
        "helm-docs",
        "helm-docs",
        "github.com/norwoodj/helm-docs",
        "github.com/norwoodj/helm-docs/cmd/helm-docs",
    ),
    "actionlint": Tool(
        "actionlint",
        "actionlint",
        "actionlint",
        "github.com/rhysd/actionlint",
        "github.com/rhysd/actionlint/cmd/actionlint",
        ("github.com/rhysd/actionlint.version",),
    ),
    "coredns": Tool("coredns", "coredns", "coredns", "github.com/coredns/coredns", "."),
    **{
        name: Tool(
            name,
            "prometheus",
            "prometheus",
            "github.com/prometheus/prometheus",
            f"github.com/prometheus/prometheus/cmd/{name}",
            ("github.com/prometheus/common/version.Version",),
            ("remove_all_sd",),  # of service discoveries only files: half the time to build
        )
        for name in ("prometheus", "promtool")
    },
    "karpenter-kwok": Tool(
        "karpenter-kwok",
        "karpenter",
        "karpenter",
        "sigs.k8s.io/karpenter",
        "sigs.k8s.io/karpenter/kwok",
        ("sigs.k8s.io/karpenter/pkg/operator.Version",),
    ),
}
"""All programs by name."""
