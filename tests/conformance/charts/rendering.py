"""Charts rendered by helm, and the questions that tests ask of the objects."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from localcluster.binaries import Binaries
from localcluster.paths import assets_directory, cache_directory

ROOT = Path(__file__).parents[3]
CHARTS = ROOT / "charts"
NAMES = ("gpu-provisioner", "karpenter-crds", "workspace")
KUBE_VERSION = "1.35.4"
Object = dict[str, Any]

LOCAL: Object = {
    "cloudProviderName": "local",
    "localMachines": {"url": "http://10.88.0.1:10700", "tokenSecret": {"name": "machines"}},
}
WEBHOOKS = {
    "ValidatingWebhookConfiguration": "validation.workspace.kaito.sh",
    "MutatingWebhookConfiguration": "defaulting.workspace.kaito.sh",
}


@cache
def helm_program() -> str:
    if found := shutil.which("helm"):
        return found
    binaries = Binaries(cache_directory(os.environ), assets_directory(os.environ))
    return str(binaries.path("helm"))


def helm(*arguments: str, values: Mapping[str, Any] | None = None) -> subprocess.CompletedProcess:
    command = [helm_program(), *arguments]
    if values is not None:
        command += ["--values", "-"]
    return subprocess.run(
        command, input=json.dumps(values or {}), capture_output=True, text=True, check=False
    )


def render(
    chart: str, values: Mapping[str, Any] | None = None, release: str = "", file: Path | None = None
) -> list[Object]:
    extra = ["--values", str(file)] if file else []
    result = helm(
        *("template", release or chart, str(CHARTS / chart), "--namespace", "kaito-system"),
        *("--kube-version", KUBE_VERSION, *extra),
        values=values or {},
    )
    assert result.returncode == 0, result.stderr
    return [item for item in yaml.safe_load_all(result.stdout) if item]


def refusal(chart: str, values: Mapping[str, Any]) -> str:
    result = helm(
        *("template", "x", str(CHARTS / chart), "--kube-version", KUBE_VERSION), values=values
    )
    assert result.returncode != 0, "helm took it"
    return result.stderr


def only(objects: list[Object], kind: str) -> Object:
    (found,) = (item for item in objects if item["kind"] == kind)
    return found


def container(objects: list[Object]) -> Object:
    (found,) = only(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    return found


def environment(objects: list[Object]) -> dict[str, str]:
    entries = container(objects)["env"]
    names = [entry["name"] for entry in entries]
    assert len(names) == len(set(names)), f"ambiguous: {names}"
    return {entry["name"]: entry.get("value", "(from the pod)") for entry in entries}


def allows(role: Object, group: str, resource: str, verb: str, name: str = "") -> bool:
    """RBAC's own question; a rule with resourceNames says yes for those names alone."""
    return any(
        group in rule["apiGroups"]
        and resource in rule["resources"]
        and verb in rule["verbs"]
        and ("resourceNames" not in rule or name in rule["resourceNames"])
        for rule in role["rules"]
    )


Rights = list[tuple[str, str, str]]
"""API group, resource, verbs."""


def assert_rights(role: Object, may: Rights, may_not: Rights) -> None:
    """The role allows each verb of the first list, and none of the second."""
    for group, resource, verbs in may:
        for verb in verbs.split():
            assert allows(role, group, resource, verb), f"{verb} {resource}"
    for group, resource, verbs in may_not:
        for verb in verbs.split():
            assert not allows(role, group, resource, verb), f"{verb} {resource}"


def pod_ports(objects: list[Object]) -> dict[str, int]:
    return {port["name"]: port["containerPort"] for port in container(objects)["ports"]}
