"""No secret in what the controllers tell: both run as processes at level debug, with secrets
planted everywhere they may hold one, against services that refuse them and repeat what they were
sent. Their logs, the events and the status of objects are searched afterwards."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

import apis
from apis.kaito.v1beta1 import labels
from apis.kaito.v1beta1.ragengine import RAG_ENGINES
from apis.kaito.v1beta1.workspace import WORKSPACES
from apis.karpenter.v1.nodeclaim import NODE_CLAIMS
from kube import config
from kube.client import Client
from kube.meta import Manifest, Resource
from kube.objects import NAMESPACES, SECRETS, Namespace
from tests.e2e import secrets_in_logs
from tests.fakes.objects import claim_manifest
from tests.integration.gpu_provisioner.world import eventually
from tests.integration.security.nosy import Nosy

pytestmark = pytest.mark.integration

NAMESPACE = "planted"
KINDS = (
    WORKSPACES,
    RAG_ENGINES,
    NODE_CLAIMS,
    SECRETS,
    NAMESPACES,
    Resource("", "v1", "ServiceAccount", "serviceaccounts", Namespace),
    Resource(
        "rbac.authorization.k8s.io",
        "v1",
        "ClusterRoleBinding",
        "clusterrolebindings",
        Namespace,
        namespaced=False,
    ),
)
"""The structs of the last two do not matter: nothing of them is read."""


def _planted(kind: str) -> str:
    """With what must be escaped in JSON, URLs and Base64; another one each time."""
    return f"{kind}-{secrets.token_hex(12)}/+&=%"


@pytest.fixture(scope="module")
def planted() -> dict[str, str]:
    plain = secrets.token_hex(16)
    return {
        "AWS_SECRET_ACCESS_KEY": _planted("aws"),
        "AWS_SESSION_TOKEN": f"session{plain}",
        "AZURE_CLIENT_SECRET": _planted("azure"),
        "GCP token": f"ya29.{plain}",
        "machines token": f"machines{plain}",
        "HF_TOKEN": f"hf_{plain}",
        "registry password": _planted("registry"),
        "endpoint key": f"sk-{plain}",
        "RAG access key": f"rag{plain}",
    }


@pytest.fixture(scope="module")
def token_kubeconfig(kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As the administrator, but by a bearer token, which each request then carries."""
    token = asyncio.run(_prepare(kubeconfig))
    found = yaml.safe_load(kubeconfig.read_text())
    found["users"] = [{"name": found["users"][0]["name"], "user": {"token": token}}]
    path = tmp_path_factory.mktemp("planted") / "kubeconfig"
    path.write_text(yaml.safe_dump(found))
    return path


async def _prepare(kubeconfig: Path) -> str:
    async with _client(kubeconfig) as client:
        for file in sorted((Path(apis.__file__).parent / "crds").glob("*.yaml")):
            await client.apply(yaml.safe_load(file.read_text()))
        await client.apply(_named("Namespace", NAMESPACE))
        await client.apply({**_named("ServiceAccount", "planted"), "metadata": _here("planted")})
        account = {"kind": "ServiceAccount", "name": "planted", "namespace": NAMESPACE}
        role = {"kind": "ClusterRole", "name": "cluster-admin"}
        await client.apply(
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRoleBinding",
                "metadata": {"name": "planted"},
                "subjects": [account],
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", **role},
            }
        )
        path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/planted/token"
        asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        answer = await client._transport.request("POST", path, body=json.dumps(asked).encode())
        token: str = json.loads(answer)["status"]["token"]
        return token


def _named(kind: str, name: str) -> Manifest:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}}


def _here(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "namespace": NAMESPACE, **more}


@asynccontextmanager
async def _program(
    module: str, kubeconfig: Path, log: list[str], **environment: str
) -> AsyncIterator[None]:
    """The program at level debug; what it says on both streams goes to `log` as it comes."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", module),
        env={
            "PATH": os.environ["PATH"],
            "KUBECONFIG": str(kubeconfig),
            "LOG_LEVEL": "debug",
            "LEADER_ELECT": "false",
            "POD_NAMESPACE": NAMESPACE,
            **dict.fromkeys(("METRICS_PORT", "HEALTH_PROBE_PORT", "DEBUG_PORT"), "0"),
            **environment,
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        limit=16 << 20,
    )
    assert process.stdout is not None
    reading = asyncio.create_task(_read(process.stdout, log))
    try:
        yield
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), 20)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await reading


async def _read(stream: asyncio.StreamReader, log: list[str]) -> None:
    async for line in stream:
        log.append(line.decode(errors="replace"))


def _clouds(planted: Mapping[str, str], nosy: Nosy, encrypted: Nosy, folder: Path) -> Manifest:
    """Environments by cloud, each with its secrets and with an endpoint that repeats them."""
    (folder / "gcp").write_text(planted["GCP token"])
    (folder / "machines").write_text(planted["machines token"])
    identity = {
        "TENANT_ID": "00000000-0000-0000-0000-000000000001",
        "CLIENT_ID": "00000000-0000-0000-0000-000000000002",
        "CLIENT_SECRET": planted["AZURE_CLIENT_SECRET"],
        "AUTHORITY_HOST": encrypted.url,
        "RESOURCE_MANAGER_URL": encrypted.url,
        "CA_FILE": str(encrypted.ca_file),
    }
    group = "/subscriptions/00000000-0000-0000-0000-000000000003/resourceGroups/g"
    return {
        "aws": {
            "AWS_REGION": "us-east-1",
            "AWS_CLUSTER_NAME": "a",
            "AWS_INSTANCE_PROFILE": "nodes",
            "AWS_ENDPOINT_URL": nosy.url,
            "AWS_ACCESS_KEY_ID": "AKPLANTED",
            "AWS_SECRET_ACCESS_KEY": planted["AWS_SECRET_ACCESS_KEY"],
            "AWS_SESSION_TOKEN": planted["AWS_SESSION_TOKEN"],
        },
        "azure": {
            "AZURE_SUBSCRIPTION_ID": "00000000-0000-0000-0000-000000000003",
            "AZURE_RESOURCE_GROUP": "g",
            "AZURE_CLUSTER_NAME": "a",
            "AZURE_LOCATION": "eastus",
            **{f"AZURE_{name}": value for name, value in identity.items()},
        },
        "arc": {
            "ARC_CLUSTER_ID": f"{group}/providers/Microsoft.Kubernetes/connectedClusters/a",
            "ARC_CUSTOM_LOCATION_ID": (
                f"{group}/providers/Microsoft.ExtendedLocation/customLocations/l"
            ),
            **{f"ARC_{name}": value for name, value in identity.items()},
        },
        "gcp": {
            "GCP_PROJECT": "a-project",
            "GCP_LOCATION": "us-central1",
            "GCP_CLUSTER_NAME": "a",
            "GCP_ENDPOINT": encrypted.url,
            "GCP_COMPUTE_ENDPOINT": encrypted.url,
            "GCP_TOKEN_FILE": str(folder / "gcp"),
            "SSL_CERT_FILE": str(encrypted.ca_file),
            "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(encrypted.ca_file),
        },
        "local": {
            "LOCAL_MACHINES_URL": nosy.url,
            "LOCAL_MACHINES_TOKEN_FILE": str(folder / "machines"),
        },
    }


INSTANCE_TYPES = {
    "aws": "g5.xlarge",
    "azure": "Standard_NC24ads_A100_v4",
    "arc": "Standard_NC4_A2",
    "gcp": "g2-standard-4",
    "local": "local-gpu-1",
}


@pytest.mark.parametrize("cloud", INSTANCE_TYPES)
async def test_gpu_provisioner_tells_no_secret(
    cloud: str, token_kubeconfig: Path, planted: dict[str, str], tmp_path: Path
) -> None:
    log: list[str] = []
    nosy, encrypted = Nosy(), Nosy(folder=tmp_path)
    with nosy.running(), encrypted.running():
        environment = _clouds(planted, nosy, encrypted, tmp_path)[cloud]
        async with _client(token_kubeconfig) as client:
            claim = claim_manifest(f"planted-{cloud}", instance_type=INSTANCE_TYPES[cloud])
            await client.create(claim)
            asked = nosy if cloud in ("aws", "local") else encrypted
            # gRPC would not begin to talk with a server of HTTP/1.
            told = _failed if cloud == "gcp" else lambda log: asked.asked and _failed(log)
            async with _program(
                "gpu_provisioner", token_kubeconfig, log, CLOUD_PROVIDER=cloud, **environment
            ):
                await eventually(_said(lambda: bool(told(log))), 40)
            logs = {cloud: "".join(log), **await _told(client)}
            await _delete(client, NODE_CLAIMS, f"planted-{cloud}")
    known = {**planted, **secrets_in_logs.of_kubeconfig(token_kubeconfig)}
    assert len(log) > 5, log
    secrets_in_logs.assert_none(logs, known)


async def test_workspace_controller_tells_no_secret(
    token_kubeconfig: Path, planted: dict[str, str]
) -> None:
    """Its hub refuses the token, and repeats it."""
    log: list[str] = []
    hub = Nosy(500)
    with hub.running():
        async with _client(token_kubeconfig) as client:
            for manifest in _objects(planted):
                await client.apply(manifest)
            async with _program(
                "workspace_controller",
                token_kubeconfig,
                log,
                CLOUD_PROVIDER="local",
                HF_ENDPOINT=hub.url,
                WEBHOOK_PORT="0",
                INSECURE_REGISTRIES="127.0.0.1:5000",
            ):
                await eventually(_said(lambda: _heard(hub, planted["HF_TOKEN"])), 40)
                await eventually(_conditions(client), 40)
            logs = {"controller": "".join(log), **await _told(client)}
            for name in ("hub", "registry"):
                await _delete(client, WORKSPACES, name, NAMESPACE)
    known = {**planted, **secrets_in_logs.of_kubeconfig(token_kubeconfig)}
    assert len(log) > 5, log
    secrets_in_logs.assert_none(logs, known)


def _objects(planted: Mapping[str, str]) -> list[Manifest]:
    """Workspaces that name Secrets of each kind; the RAGEngine's, too."""
    basic = base64.b64encode(f"user:{planted['registry password']}".encode()).decode()
    docker = {"auths": {"registry.example": {"auth": basic}}}
    given = {
        "hf": ("Opaque", {"HF_TOKEN": planted["HF_TOKEN"]}),
        "pull": ("kubernetes.io/dockerconfigjson", {".dockerconfigjson": json.dumps(docker)}),
        "keys": ("Opaque", {"key": planted["endpoint key"]}),
        "rag": ("Opaque", {"LLM_ACCESS_SECRET": planted["RAG access key"]}),
    }
    found: list[Manifest] = [
        {**_named("Secret", name), "metadata": _here(name), "type": kind, "stringData": data}
        for name, (kind, data) in given.items()
    ]
    resource = {"labelSelector": {"matchLabels": {"apps": "a"}}, "instanceType": "local-gpu-1"}
    preset = {"name": "owner/model", "presetOptions": {"modelAccessSecret": "hf"}}
    weights = f"oci://registry.example/a/b@sha256:{'0' * 64}"
    annotations = {
        labels.MODEL_WEIGHTS_ANNOTATION: weights,
        labels.MODEL_WEIGHTS_PULL_SECRETS_ANNOTATION: "pull",
        labels.API_KEY_SECRET_ANNOTATION: "keys",
    }
    kinds = {"apiVersion": "kaito.sh/v1beta1", "kind": "Workspace", "resource": resource}
    found += [
        {**kinds, "metadata": _here("hub"), "inference": {"preset": preset}},
        {
            **kinds,
            "metadata": _here("registry", annotations=annotations),
            "inference": {"preset": {"name": "phi-4-mini-instruct"}},
        },
    ]
    spec = {
        "compute": resource,
        "embedding": {"local": {"modelID": "a/b", "modelAccessSecret": "hf"}},
        "inferenceService": {"url": "http://a/v1", "accessSecret": "rag", "contextWindowSize": 99},
    }
    found.append(
        {
            "apiVersion": "kaito.sh/v1beta1",
            "kind": "RAGEngine",
            "metadata": _here("rag"),
            "spec": spec,
        }
    )
    return found


def _client(kubeconfig: Path) -> Client:
    return Client(config.kubeconfig(str(kubeconfig)), field_manager="tests", kinds=KINDS)


async def _told(client: Client) -> dict[str, str]:
    """Events and our objects, as anybody who may read them has them."""
    found = {}
    for path in (
        "/api/v1/events",
        "/apis/karpenter.sh/v1/nodeclaims",
        "/apis/kaito.sh/v1beta1/workspaces",
        "/apis/kaito.sh/v1beta1/ragengines",
        "/apis/apps/v1/statefulsets",
        "/apis/apps/v1/deployments",
        "/apis/batch/v1/jobs",
        "/api/v1/configmaps",
    ):
        body = json.loads(await client._transport.request("GET", path))
        found[path] = json.dumps(body, indent=0)
    return found


def _failed(log: list[str]) -> bool:
    return any('"ERROR"' in line or '"WARNING"' in line for line in log)


def _heard(hub: Nosy, token: str) -> bool:
    """Three times: it is asked again, and each try may be logged."""
    return sum(token in each for each in hub.heard) >= 3


def _said(condition: Callable[[], bool]) -> Callable[[], Any]:
    async def check() -> None:
        assert condition()

    return check


def _conditions(client: Client) -> Callable[[], Any]:
    async def check() -> None:
        for name in ("hub", "registry"):
            found = await client.get(WORKSPACES, name, NAMESPACE)
            assert found is not None
            assert found.status.conditions

    return check


async def _delete(client: Client, kind: Any, name: str, namespace: str = "") -> None:
    """Whoever would take the finalizers off has gone."""
    found = await client.get(kind, name, namespace)
    if found is None:
        return
    within = f"/namespaces/{namespace}" if namespace else ""
    path = f"/apis/{kind.group}/{kind.version}{within}/{kind.plural}/{name}"
    await client._transport.request("DELETE", path)
    body = b'{"metadata": {"finalizers": null}}'
    merge = "application/merge-patch+json"
    if await client.get(kind, name, namespace) is not None:
        await client._transport.request("PATCH", path, body=body, content_type=merge)
