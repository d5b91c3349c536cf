"""Both charts installed by helm, and their controllers run as processes: with the environment of
the charts' Deployments, and as the charts' ServiceAccounts."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from localcluster.controlplane import ControlPlane
from localcluster.processes import wait_until

CHARTS = Path(__file__).parents[3] / "charts"
SPACE = "kaito-system"
KUBERNETES = "1.35.0"
NODE_CLASSES = ("KaitoNodeClass", "AKSNodeClass", "EC2NodeClass", "GCENodeClass")
RELEASES = ("gpu-provisioner", "workspace")
Run = Callable[..., str]


def install(run: Run, name: str, *values: str) -> None:
    """Or upgrade, to just these values. Their pods are not to run: processes do instead."""
    given = [part for value in values for part in ("--set", value)]
    run(
        *("helm", "upgrade", "--install", name, str(CHARTS / name), *given),
        *("--namespace", SPACE, "--create-namespace"),
    )
    if name in RELEASES:
        run("kubectl", "scale", "deployment", name, "--replicas=0", "--namespace", SPACE)


def install_crds(run: Run) -> None:
    """Those of nodes, and all node classes."""
    install(run, "karpenter-crds", f"nodeClasses={{{','.join(NODE_CLASSES)}}}")
    assert wait_until(lambda: served(run), 20)


def served(run: Run) -> bool:
    """Whether the API server knows all kinds that it was told of."""
    found = json.loads(run("kubectl", "get", "crd", "-o", "json"))["items"]
    return all(
        {"type": "Established", "status": "True"}.items() <= condition.items()
        for each in found
        for condition in each["status"].get("conditions") or [{}]
        if condition.get("type") in (None, "Established")
    )


def uninstall(run: Run, name: str) -> None:
    run("helm", "uninstall", name, "--namespace", SPACE)


def rendered(run: Run, name: str, *values: str, file: Path | None = None) -> list[dict[str, Any]]:
    """`file`: of values, with something in place of each that a user must replace."""
    command = ["helm", "template", name, str(CHARTS / name), "--namespace", SPACE]
    command += ["--kube-version", KUBERNETES]
    command += [part for value in values for part in ("--set", value)]
    told = "" if file is None else file.read_text().replace("REPLACE-", "some-")
    text = run(*command, *(["--values", "-"] if told else []), told=told)
    return [each for each in yaml.safe_load_all(text) if each]


def rules(manifests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the account of a chart may do. Aggregated roles are for people."""
    return [
        rule
        for each in manifests
        if each["kind"] in {"ClusterRole", "Role"}
        and not any("aggregate-to-" in label for label in each["metadata"].get("labels", {}))
        for rule in each["rules"]
    ]


def account(plane: ControlPlane, run: Run, name: str, folder: Path) -> Path:
    """A kubeconfig with a token of the chart's ServiceAccount."""
    token = run("kubectl", "create", "token", name, "--namespace", SPACE).strip()
    document = yaml.safe_load(plane.kubeconfig.read_text())
    document["users"] = [{"name": document["users"][0]["name"], "user": {"token": token}}]
    written = folder / f"{name}.kubeconfig"
    written.write_text(yaml.safe_dump(document))
    return written


def environment(run: Run, name: str) -> dict[str, str]:
    """That of the chart's only container; what the downward API would say is the caller's."""
    found = json.loads(
        run("kubectl", "get", "deployment", name, "--namespace", SPACE, "-o", "json")
    )
    (container,) = found["spec"]["template"]["spec"]["containers"]
    return {each["name"]: each["value"] for each in container["env"] if "value" in each}


def lead_webhooks_to(run: Run, port: int) -> None:
    """What a Service does for the API server, with the address of a process."""
    for kind in ("validating", "mutating"):
        resource = f"{kind}webhookconfigurations"
        found = json.loads(run("kubectl", "get", resource, "-o", "json"))
        for configuration in found["items"]:
            _lead(run, resource, configuration, port)


def forget_webhooks(run: Run) -> None:
    """Once nobody answers any more; the next `install` brings them back."""
    for kind in ("validating", "mutating"):
        run("kubectl", "delete", f"{kind}webhookconfigurations", "--all")


def _lead(run: Run, resource: str, configuration: Mapping[str, Any], port: int) -> None:
    name = configuration["metadata"]["name"]
    service = configuration["webhooks"][0]["clientConfig"].get("service")
    if service is None:
        return
    url = f"https://localhost:{port}{service['path']}"
    patch = [
        {"op": "remove", "path": "/webhooks/0/clientConfig/service"},
        {"op": "add", "path": "/webhooks/0/clientConfig/url", "value": url},
    ]
    run("kubectl", "patch", resource, name, "--type=json", "--patch", json.dumps(patch))
