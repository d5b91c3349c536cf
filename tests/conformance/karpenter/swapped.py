"""A cluster in which Karpenter provisions, and our workspace-controller as its chart deploys it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from apis.kaito.v1beta1.workspace import WORKSPACES, Workspace
from apis.karpenter.v1.nodeclaim import NODE_CLAIMS, NodeClaim
from kube.client import Client
from kube.errors import NotFoundError
from kube.meta import Manifest, Resource
from kube.objects import NODES, PODS, STATEFUL_SETS, Node, Pod, Unstructured
from tests.conformance.charts import rendering
from tests.conformance.karpenter.karpenter_kwok import Karpenter
from tests.conformance.karpenter.programs import eventually, program
from workspace_controller.manifests.nodepool import POOLS

NAMESPACE = "kaito-system"
VALUES = rendering.CHARTS / "workspace/values"
NODE_CLASSES: Resource[Unstructured] = Resource(
    "karpenter.kwok.sh",
    "v1alpha1",
    "KWOKNodeClass",
    "kwoknodeclasses",
    Unstructured,
    namespaced=False,
)
_ACCOUNT_KINDS = {"ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}


@dataclass(frozen=True)
class Swapped:
    """What tests do and see there."""

    karpenter: Karpenter
    client: Client
    directory: Path
    log_start: int
    """How many lines Karpenter had logged before."""

    @asynccontextmanager
    async def controller(self, **values: Any) -> AsyncIterator[Path]:
        """workspace-controller with the environment and the rights that the chart gives it for
        these values; gives its log."""
        file = rendering.filled_in(VALUES / "karpenter-kwok.yaml")
        objects = rendering.render("workspace", {**file, "huggingFaceOffline": True, **values})
        kubeconfig = self._account([each for each in objects if each["kind"] in _ACCOUNT_KINDS])
        log = self.directory / "workspace-controller.log"
        environment = rendering.environment(objects)
        async with program("workspace_controller", environment, kubeconfig, log):
            yield log

    def kubectl(self, *arguments: str, told: str = "") -> str:
        program = str(self.karpenter.binaries.path("kubectl"))
        command = [program, "--kubeconfig", str(self.karpenter.kubeconfig), *arguments]
        result = subprocess.run(command, input=told, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        return result.stdout

    async def create(self, name: str, **resource: Any) -> None:
        """A Workspace; `inference` is taken out of the rest."""
        inference = resource.pop("inference")
        await self.client.create(
            {
                "apiVersion": "kaito.sh/v1beta1",
                "kind": "Workspace",
                "metadata": {"name": name, "namespace": "default"},
                "resource": {"labelSelector": {"matchLabels": {"apps": name}}, **resource},
                "inference": inference,
            }
        )

    async def configure(self, name: str, *, max_model_len: int) -> None:
        """The ConfigMap of that name, for Workspaces to refer to."""
        text = f"vllm:\n  max-model-len: {max_model_len}\n"
        await self.client.apply(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": name, "namespace": "default"},
                "data": {"inference_config.yaml": text},
            }
        )

    async def edit(self, name: str, patch: Manifest) -> None:
        await self.client.patch(WORKSPACES, name, patch, namespace="default")

    async def workspace(self, name: str) -> Workspace:
        found = await self.client.get(WORKSPACES, name, "default")
        assert found is not None
        return found

    async def ready(self, name: str, nodes: int) -> list[Node]:
        """The Workspace's nodes, once it says that so many are ready and all is there."""

        async def is_ready() -> list[Node]:
            found = await self.workspace(name)
            said = {each.type: each for each in found.status.conditions}
            for kind in ("NodeClaimReady", "NodesReady", "ResourceReady"):
                assert kind in said, found.status
                assert said[kind].status == "True", said[kind]
            assert found.status.target_node_count == nodes, found.status
            assert len(found.status.worker_nodes) == nodes, found.status
            there = [await self.client.get(NODES, each) for each in found.status.worker_nodes]
            assert None not in there, found.status
            return [node for node in there if node is not None]

        return await eventually(is_ready)

    async def placed(self, name: str, nodes: list[Node]) -> list[Pod]:
        """The pods of its StatefulSet, once the scheduler has put one on each of the nodes."""

        async def is_placed() -> list[Pod]:
            assert await self.client.get(STATEFUL_SETS, name, "default") is not None
            found = [pod for pod in await self.pods() if _member(pod, name)]
            assert sorted(pod.spec.node_name for pod in found) == sorted(
                node.metadata.name for node in nodes
            )
            return found

        return await eventually(is_placed)

    async def runs_on(self, name: str, node: Node) -> None:
        """A pod of its StatefulSet is there: the first, or one that a rollout puts beside it."""

        async def runs() -> None:
            found = [pod for pod in await self.pods() if _member(pod, name)]
            assert node.metadata.name in [pod.spec.node_name for pod in found]

        await eventually(runs)

    async def pods(self) -> list[Pod]:
        return (await self.client.list(PODS, namespace="default")).items

    async def claims(self) -> list[NodeClaim]:
        return (await self.client.list(NODE_CLAIMS)).items

    async def pools(self) -> list[Unstructured]:
        return (await self.client.list(POOLS)).items

    async def end(self, name: str) -> None:
        """Delete the Workspace, and wait until nothing of it is left."""
        await self.client.delete(WORKSPACES, name, namespace="default")

        async def is_gone() -> None:
            assert await self.client.get(WORKSPACES, name, "default") is None
            left = [*await self.claims(), *await self.pools(), *await self.pods()]
            left += (await self.client.list(NODES)).items
            left += (await self.client.list(STATEFUL_SETS, namespace="default")).items
            assert [each.metadata.name for each in left] == []

        await eventually(is_gone)

    def complaints(self) -> list[dict[str, Any]]:
        """What Karpenter has complained of since. No line is tolerated."""
        return self.karpenter.complaints(self.log_start)

    async def clear(self) -> None:
        """What a test that has failed left behind; Karpenter takes the nodes."""
        for each in (await self.client.list(WORKSPACES)).items:
            name = each.metadata.name
            free = {"metadata": {"finalizers": None}}
            await self.client.delete(WORKSPACES, name, namespace="default")
            with suppress(NotFoundError):
                await self.edit(name, free)
        for kind in (POOLS, NODE_CLAIMS):
            for found in (await self.client.list(kind)).items:
                await self.client.delete(kind, found.metadata.name, propagation="Foreground")

        async def is_clear() -> None:
            assert await self.claims() == []

        await eventually(is_clear)

    def _account(self, objects: list[Mapping[str, Any]]) -> Path:
        """A kubeconfig for the account of the chart, with the rights that it has there."""
        self.kubectl("apply", "-f", "-", told=yaml.safe_dump_all(objects))
        (account,) = (each for each in objects if each["kind"] == "ServiceAccount")
        name = account["metadata"]["name"]
        token = self.kubectl("create", "token", name, "--namespace", NAMESPACE).strip()
        found = yaml.safe_load(self.karpenter.kubeconfig.read_text())
        found["users"][0]["user"] = {"token": token}
        kubeconfig = self.directory / "account.kubeconfig"
        kubeconfig.write_text(json.dumps(found))
        return kubeconfig


def _member(pod: Pod, name: str) -> bool:
    stem, _, ordinal = pod.metadata.name.rpartition("-")
    return stem == name and ordinal.isdigit()
