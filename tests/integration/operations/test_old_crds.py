"""An installation of KAITO's that knew v1alpha1 alone comes to our CRDs: its objects are read,
served and written back as v1beta1, and nothing of them is lost."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import installation
import pytest
import yaml
from installation import Run
from programs import eventually, program

import apis
from apis.kaito.v1beta1.ragengine import RAG_ENGINES
from apis.kaito.v1beta1.workspace import WORKSPACES
from apis.karpenter.v1.nodeclaim import NODE_CLAIMS
from kube import config
from kube.client import Client
from kube.errors import InvalidError
from kube.meta import Manifest, Resource
from kube.objects import CUSTOM_RESOURCE_DEFINITIONS
from localcluster.controlplane import ControlPlane

OLD = Path(__file__).with_name("old_crds")
NEW = Path(apis.__file__).parent / "crds"
KINDS = ("workspaces", "ragengines")
SPACE = "default"
CONDITION = {
    "type": "ResourceReady",
    "status": "False",
    "reason": "Old",
    "message": "said by the old controller",
    "lastTransitionTime": "2025-01-01T00:00:00Z",
}
WORKSPACE: Manifest = {
    "apiVersion": "kaito.sh/v1alpha1",
    "kind": "Workspace",
    "metadata": {
        "name": "old",
        "namespace": SPACE,
        "labels": {"team": "search"},
        "annotations": {"kaito.sh/use-local-weights": "true"},
    },
    "resource": {
        "instanceType": "local-gpu-1",
        "labelSelector": {"matchLabels": {"apps": "old"}},
        "preferredNodes": ["a-node"],
    },
    "inference": {
        "preset": {
            "name": "gemma-3-270m",
            "accessMode": "public",
            "presetOptions": {"image": "registry.example/old:1", "imagePullSecrets": ["pull"]},
        },
        "adapters": [
            {
                "source": {"name": "legal", "image": "registry.example/legal:1"},
                "strength": "0.5",
            }
        ],
    },
}
ENGINE: Manifest = {
    "apiVersion": "kaito.sh/v1alpha1",
    "kind": "RAGEngine",
    "metadata": {"name": "docs", "namespace": SPACE},
    "spec": {
        "compute": {
            "instanceType": "local-cpu-2",
            "labelSelector": {"matchLabels": {"apps": "docs"}},
        },
        "storage": {"persistentVolumeClaim": "indexes", "mountPath": "/data"},
        "embedding": {"local": {"modelID": "sentence-transformers/all-MiniLM-L6-v2"}},
        "inferenceService": {"url": "http://old/v1/chat/completions", "contextWindowSize": 2048},
        "queryServiceName": "query",
        "indexServiceName": "index",
    },
}
VOLUME_CLAIM: Manifest = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "indexes", "namespace": SPACE},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
}
OBJECTS = {"workspaces": WORKSPACE, "ragengines": ENGINE}
NEVER_USED = ("queryServiceName", "indexServiceName")
"""Of RAGEngines: fields of v1alpha1 that no version of KAITO has read, and ours does not have."""


@pytest.fixture(scope="module")
def run(runner: Callable[[ControlPlane], Run], plane: ControlPlane) -> Run:
    return runner(plane)


@pytest.fixture
async def client(plane: ControlPlane) -> AsyncIterator[Client]:
    endpoint = config.kubeconfig(str(plane.kubeconfig))
    kinds = (WORKSPACES, RAG_ENGINES, NODE_CLAIMS)
    async with Client(endpoint, field_manager="users", kinds=kinds) as client:
        yield client


@pytest.fixture
async def old(run: Run, client: Client) -> AsyncIterator[None]:
    """The old CRDs, with an object of each, of which a controller has told something."""
    installation.install_crds(run)
    for plural in KINDS:
        run("kubectl", "create", "-f", str(OLD / f"{plural}.yaml"))
    assert installation.wait_until(lambda: installation.served(run), 20)
    run("kubectl", "apply", "-f", "-", told=json.dumps(VOLUME_CLAIM))
    for plural, manifest in OBJECTS.items():
        run("kubectl", "create", "-f", "-", told=json.dumps(manifest))
        name = manifest["metadata"]["name"]
        told = json.dumps({"status": {"conditions": [CONDITION], "workerNodes": ["a-node"]}})
        patch = ("--subresource=status", "--type=merge", "--patch", told)
        run("kubectl", "patch", f"{plural}.v1alpha1.kaito.sh", name, *patch)
    yield
    await _clear(client)


def _apply(run: Run) -> None:
    for plural in KINDS:
        crd = str(NEW / f"kaito.sh_{plural}.yaml")
        run("kubectl", "apply", "--server-side", "--force-conflicts", "-f", crd)


def _by_chart(run: Run) -> None:
    run(
        *("helm", "install", "kaito-crds", str(installation.CHARTS / "kaito-crds")),
        "--take-ownership",
    )


@pytest.mark.parametrize(
    "upgrade", [pytest.param(_apply, id="kubectl"), pytest.param(_by_chart, id="helm")]
)
@pytest.mark.usefixtures("old")
async def test_objects_of_v1alpha1_alone_are_served_as_v1beta1(
    run: Run, plane: ControlPlane, client: Client, upgrade: Callable[[Run], None], tmp_path: Path
) -> None:
    before = {plural: _get(run, plural, "v1alpha1") for plural in KINDS}
    upgrade(run)
    await eventually(lambda: _reads(client))
    for plural in KINDS:
        crd = await client.get(CUSTOM_RESOURCE_DEFINITIONS, f"{plural}.kaito.sh")
        assert crd is not None
        assert crd.status["storedVersions"] == ["v1alpha1", "v1beta1"]
        assert _stored(plane, plural)["apiVersion"] == "kaito.sh/v1alpha1"  # nobody wrote it yet
        _says_as_much(before[plural], _get(run, plural, "v1beta1"))
    await _reconcile(plane, client, tmp_path)
    for plural in KINDS:
        assert _stored(plane, plural)["apiVersion"] == "kaito.sh/v1beta1"
        for version in ("v1alpha1", "v1beta1"):
            _says_as_much(before[plural], _get(run, plural, version), status=False)
    _users_write_back_what_they_read(run, before)
    await _the_old_crd_is_refused(client)


async def _reads(client: Client) -> bool:
    for resource in (WORKSPACES, RAG_ENGINES):
        with suppress(Exception):
            if not (await client.list(resource)).items:
                return False
            continue
        return False
    return True


async def _reconcile(plane: ControlPlane, client: Client, logs: Path) -> None:
    """The new controller takes both up, with nodes for them."""
    environment = {
        "KUBECONFIG": str(plane.kubeconfig),
        "CLOUD_PROVIDER": "local",
        "POD_NAMESPACE": SPACE,
        "HF_HUB_OFFLINE": "1",
        "WEBHOOK": "false",
    }
    async with program("workspace_controller", "workspace-0", environment, logs) as running:

        async def taken_up() -> bool:
            claims = (await client.list(NODE_CLAIMS)).items
            owners = {
                value
                for claim in claims
                for key, value in claim.metadata.labels.items()
                if key in {"kaito.sh/workspace", "kaito.sh/ragengine"}
            }
            return owners == {"old", "docs"}

        try:
            await eventually(taken_up)
        except AssertionError as error:
            told = [
                f"{each.metadata.name}: {condition.type}={condition.status} {condition.message}"
                for resource in (WORKSPACES, RAG_ENGINES)
                for each in (await client.list(resource)).items
                for condition in each.status.conditions
            ]
            raise AssertionError("\n".join(told)) from error

        async def told_anew() -> bool:
            workspace = await client.get(WORKSPACES, "old", SPACE)
            engine = await client.get(RAG_ENGINES, "docs", SPACE)
            assert workspace is not None
            assert engine is not None
            found = (workspace.condition("ResourceReady"), engine.condition("ResourceReady"))
            return all(each.reason not in {"", "Old"} for each in found)

        await eventually(told_anew)
        await running.terminate()


def _users_write_back_what_they_read(run: Run, before: dict[str, Manifest]) -> None:
    """In either version, as an editor does."""
    for plural in KINDS:
        for version in ("v1alpha1", "v1beta1"):
            shown = _get(run, plural, version)
            shown["metadata"].setdefault("annotations", {})["written"] = version
            run("kubectl", "replace", "-f", "-", told=json.dumps(shown))
            now = _get(run, plural, "v1beta1")
            assert now["metadata"]["annotations"]["written"] == version
            _says_as_much(before[plural], now, status=False)


async def _the_old_crd_is_refused(client: Client) -> None:
    """Going back to it would leave in the store what nobody could read."""
    for plural in KINDS:
        live = await client.get(CUSTOM_RESOURCE_DEFINITIONS, f"{plural}.kaito.sh")
        assert live is not None
        former = yaml.safe_load((OLD / f"{plural}.yaml").read_text())
        with pytest.raises(InvalidError, match="storedVersions"):
            await client.patch(
                CUSTOM_RESOURCE_DEFINITIONS,
                live.metadata.name,
                {"spec": {"versions": former["spec"]["versions"]}},
            )


def _says_as_much(before: Manifest, after: Manifest, *, status: bool = True) -> None:
    """All that was said before is still said; of the metadata what users write."""
    kept = {key: before[key] for key in before if key in {"resource", "inference", "tuning"}}
    if "spec" in before:
        fields = before["spec"].items()
        kept["spec"] = {key: value for key, value in fields if key not in NEVER_USED}
    if status:
        kept["status"] = before["status"]
    for key in ("labels", "annotations", "uid", "creationTimestamp"):
        if key in before["metadata"]:
            kept.setdefault("metadata", {})[key] = before["metadata"][key]
    assert _within(kept, after) == []


def _within(wanted: Any, found: Any, path: str = "") -> list[str]:
    """Where something is missing, or other."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return [
            where
            for key in wanted
            for where in _within(wanted[key], found.get(key), f"{path}.{key}")
        ]
    return [] if wanted == found else [f"{path}: {wanted!r} became {found!r}"]


def _get(run: Run, plural: str, version: str) -> Manifest:
    name = OBJECTS[plural]["metadata"]["name"]
    text = run("kubectl", "get", f"{plural}.{version}.kaito.sh", name, "-o", "json")
    found: Manifest = json.loads(text)
    return found


def _stored(plane: ControlPlane, plural: str) -> Manifest:
    """What lies in etcd, asked of etcd itself."""
    key = f"/registry/kaito.sh/{plural}/{SPACE}/{OBJECTS[plural]['metadata']['name']}"
    pair = plane.authority.client("etcd-client", "kube-apiserver")
    credentials = grpc.ssl_channel_credentials(
        plane.authority.pair.certificate.read_bytes(),
        pair.key.read_bytes(),
        pair.certificate.read_bytes(),
    )
    # RangeRequest with its first field, key; the value in the answer is the object as JSON.
    request = b"\x0a" + bytes([len(key)]) + key.encode()
    with grpc.secure_channel(f"127.0.0.1:{plane.etcd_port}", credentials) as channel:
        answer: bytes = channel.unary_unary("/etcdserverpb.KV/Range")(request, timeout=10)
    stored: Manifest
    stored, _ = json.JSONDecoder().raw_decode(answer[answer.index(b"{") :].decode(errors="replace"))
    return stored


async def _clear(client: Client) -> None:
    """The CRDs go with all their objects: no controller is there to take finalizers off."""
    free = {"metadata": {"finalizers": None}}
    kinds: list[Resource[Any]] = [NODE_CLAIMS, WORKSPACES, RAG_ENGINES]
    for resource in kinds:
        for each in (await client.list(resource)).items:
            meta = each.metadata
            await client.patch(resource, meta.name, free, namespace=meta.namespace)
            await client.delete(resource, meta.name, namespace=meta.namespace)
    for plural in KINDS:
        await client.delete(CUSTOM_RESOURCE_DEFINITIONS, f"{plural}.kaito.sh")

    async def gone() -> bool:
        found = (await client.list(CUSTOM_RESOURCE_DEFINITIONS)).items
        return not {each.metadata.name for each in found} & {f"{kind}.kaito.sh" for kind in KINDS}

    await eventually(gone)
