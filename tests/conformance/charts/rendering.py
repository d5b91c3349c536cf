"""Charts rendered by helm, and the questions that tests ask of the objects."""

from __future__ import annotations

import copy
import json
import os
import re
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
NAMES = ("gpu-provisioner", "kaito-crds", "karpenter-crds", "workspace")
KUBE_VERSION = "1.35.4"
Object = dict[str, Any]
VALUES_FILES = sorted([*CHARTS.glob("*/ci/*-values.yaml"), *CHARTS.glob("*/values/*.yaml")])
"""Those for tests, with every option at once, and those for users, one a cloud."""

LOCAL: Object = {
    "cloudProviderName": "local",
    "localMachines": {"url": "http://10.88.0.1:10700", "tokenSecret": {"name": "machines"}},
}
WEBHOOKS = {
    "ValidatingWebhookConfiguration": "validation",
    "MutatingWebhookConfiguration": "defaulting",
}
"""What their names begin with; the kind follows."""
WEBHOOK_NAMES = [
    (kind, f"{verb}.{what}.kaito.sh")
    for kind, verb in WEBHOOKS.items()
    for what in ("workspace", "ragengine")
]


@cache
def binary(name: str) -> Path:
    return Binaries(cache_directory(os.environ), assets_directory(os.environ)).path(name)


@cache
def helm_program() -> str:
    return shutil.which("helm") or str(binary("helm"))


def helm(*arguments: str, values: Mapping[str, Any] | None = None) -> subprocess.CompletedProcess:
    command = [helm_program(), *arguments]
    if values is not None:
        command += ["--values", "-"]
    return subprocess.run(
        command, input=json.dumps(values or {}), capture_output=True, text=True, check=False
    )


def filled_in(file: Path) -> Object:
    """A values file as a user would have it: REPLACE-CLUSTER, say, is cluster."""

    def given(found: re.Match[str]) -> str:
        return "us-central1" if found[1] == "REGION" else found[1].lower()

    filled = re.sub(r"REPLACE-([A-Z0-9-]*[A-Z0-9])", given, file.read_text())
    values: Object = yaml.safe_load(filled)
    return values


def render(
    chart: str, values: Mapping[str, Any] | None = None, release: str = "", file: Path | None = None
) -> list[Object]:
    """With a values file, filled in, or with values."""
    told = filled_in(file) if file else values or {}
    return copy.deepcopy(_rendered(chart, release or chart, json.dumps(told)))


@cache
def _rendered(chart: str, release: str, values: str) -> list[Object]:
    result = helm(
        *("template", release, str(CHARTS / chart), "--namespace", "kaito-system"),
        *("--kube-version", KUBE_VERSION),
        values=json.loads(values),
    )
    assert result.returncode == 0, result.stderr
    return parsed(result.stdout)


def parsed(manifests: str) -> list[Object]:
    """By libyaml: CRDs are long."""
    return [item for item in yaml.load_all(manifests, yaml.CSafeLoader) if item]


def refusal(chart: str, values: Mapping[str, Any]) -> str:
    result = helm(
        *("template", "x", str(CHARTS / chart), "--kube-version", KUBE_VERSION), values=values
    )
    assert result.returncode != 0, "helm took it"
    return result.stderr


def only(objects: list[Object], kind: str, name: str = "") -> Object:
    """The one of that kind, or of that kind and name."""
    (found,) = (
        item for item in objects if item["kind"] == kind and name in ("", item["metadata"]["name"])
    )
    return found


def bound_role(objects: list[Object], kind: str = "ClusterRole") -> Object:
    """The controller's own, beside those that aggregate into others."""
    return only(objects, kind, only(objects, f"{kind}Binding")["roleRef"]["name"])


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
