"""What users and operators do with both controllers, from the first Workspace to the last delete,
so that each does all of its work. Assertions only wait for one step to be done before the next."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from programs import eventually

from apis.kaito.v1beta1.ragengine import RAG_ENGINES
from apis.kaito.v1beta1.workspace import WORKSPACES
from apis.karpenter.v1.nodeclaim import NODE_CLAIMS, NodeClaim
from apis.karpenter.v1.nodepool import NODE_POOLS
from kube.client import Client
from kube.errors import ConflictError, NotFoundError
from kube.meta import Manifest, Resource
from kube.objects import (
    DEPLOYMENTS,
    JOBS,
    NODES,
    PODS,
    SERVICES,
    VOLUME_ATTACHMENTS,
)
from tests import builders, ragengines, tuning_worlds
from tests.fakes import objects

SPACE = "default"
LOCAL = {"kaito.sh/use-local-weights": "true", "kaito.sh/model-streaming": "disabled"}
KEPT_REVISIONS = 10


class Users:
    """Their hands."""

    def __init__(self, client: Client, instance_type: str) -> None:
        self.client = client
        self.instance_type = instance_type

    async def serve(self, name: str = "serves", **given: Any) -> None:
        """A Workspace that comes to serve, with engine options of its own."""
        config = f"{name}-options"
        options = {"inference_config.yaml": "vllm:\n  max-model-len: 2048\n"}
        metadata = {"name": config, "namespace": SPACE}
        await self.client.create(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": options}
        )
        await self.client.create(
            builders.a_workspace_manifest(
                name=name,
                preset="gemma-3-270m",
                instance_type=self.instance_type,
                annotations=LOCAL,
                inference={"config": config},
                **given,
            )
        )
        await self.is_true(name, "WorkspaceSucceeded")

    async def edit(self, name: str, inference: Manifest) -> None:
        patch = {"inference": inference}
        await self.client.patch(WORKSPACES, name, patch, namespace=SPACE)

    async def take_adapters(self, name: str = "serves") -> None:
        """One more than there were, while it runs; then again and again, and back to the first."""
        for tag in range(KEPT_REVISIONS + 2):
            before = await self._revision(name)
            await self.edit(name, {"adapters": [_adapter(tag)]})
            await eventually(lambda before=before: self._revised(name, before))
        await self.edit(name, {"adapters": [_adapter(KEPT_REVISIONS)]})
        before = await self._revision(name)
        await eventually(lambda: self._revised(name, before))

    async def lose_pod(self, name: str = "serves") -> None:
        """And with it what it had loaded."""
        await self.client.delete(PODS, f"{name}-0", namespace=SPACE)

    async def set_service_back(self, name: str = "serves") -> None:
        """Somebody takes away what the controller then sets again."""
        found = await self.client.get(SERVICES, name, SPACE)
        assert found is not None
        await self.client.delete(SERVICES, name, namespace=SPACE)
        await self.there(SERVICES, name)

    async def tune(self, name: str = "tunes") -> None:
        """A tuning that succeeds, is edited, and so runs again."""
        secret = {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson"}
        await self.client.create(
            {
                **secret,
                "metadata": {"name": "push", "namespace": SPACE},
                "stringData": {".dockerconfigjson": '{"auths": {}}'},
            }
        )
        await self.client.create(
            tuning_worlds.a_tuning_manifest(
                name=name,
                tuning={"preset": {"name": "gemma-3-270m"}},
                instance_type=self.instance_type,
                annotations=LOCAL,
            )
        )
        await self.there(JOBS, name)
        first = await self._uid(JOBS, name)
        data = {"tuning": {"input": {"urls": ["https://data.example/b.jsonl"]}}}
        await self.client.patch(WORKSPACES, name, data, namespace=SPACE)

        async def again() -> bool:
            return await self._uid(JOBS, name) not in {"", first}

        await eventually(again)

    async def answer(self, name: str = "docs") -> None:
        """A RAGEngine with all that it may read."""
        secret = {"apiVersion": "v1", "kind": "Secret"}
        await self.client.create(
            {
                **secret,
                "metadata": {"name": "llm", "namespace": SPACE},
                "stringData": {"LLM_ACCESS_SECRET": "s"},
            }
        )
        spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        volume = {"apiVersion": "v1", "kind": "PersistentVolumeClaim"}
        metadata = {"name": "indexes", "namespace": SPACE}
        await self.client.create({**volume, "metadata": metadata, "spec": spec})
        await self.client.create(
            ragengines.a_manifest(
                name=name,
                annotations=LOCAL,
                compute={**ragengines.COMPUTE, "instanceType": self.instance_type},
                guardrails={"enabled": True},
                inferenceService={
                    "url": "http://serves/v1/chat/completions",
                    "contextWindowSize": 2048,
                    "accessSecret": "llm",
                },
            )
        )
        await self.there(DEPLOYMENTS, name)
        await self.there(SERVICES, name)

    async def stop_answering(self, name: str = "docs") -> None:
        await self.client.delete(RAG_ENGINES, name, namespace=SPACE)
        await self.gone(RAG_ENGINES, name, SPACE)

    async def lose_node(self, name: str = "serves") -> None:
        """Somebody deletes a claim whose node is at work: it is drained, and comes anew."""
        (claim,) = await self.claims(name)
        await self.client.delete(NODE_CLAIMS, claim.metadata.name)
        await self.gone(NODE_CLAIMS, claim.metadata.name)
        await self.is_true(name, "WorkspaceSucceeded")

    async def hurry(self, lingering: set[str], claim: str = "hurried") -> None:
        """A node that must go in time, whatever its pods and volumes think of it."""
        made = objects.claim_manifest(
            claim, instance_type=self.instance_type, terminationGracePeriod="4s"
        )
        await self.client.create(made)
        await self._claim_is_true(claim)
        stays = {"tolerations": [{"operator": "Exists"}], "volumes": [_volume()]}
        for name, spec in (("lingers", {}), ("stays", stays)):
            lingering.add(name)
            spec = {**spec, "automountServiceAccountToken": False}
            await self.client.create(objects.pod_manifest(name, claim, spec=spec, owner=""))
        attachment = {"apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttachment"}
        spec = {"attacher": "x", "nodeName": claim, "source": {"persistentVolumeName": "pv"}}
        metadata = {"name": "attached", "finalizers": ["test.kaito.sh/held"]}
        await self.client.create({**attachment, "metadata": metadata, "spec": spec})
        await self.client.delete(NODE_CLAIMS, claim)
        await eventually(self._is_told_to_go)
        lingering.clear()
        await self.gone(NODE_CLAIMS, claim)
        free = {"metadata": {"finalizers": None}}
        with suppress(NotFoundError):
            await self.client.patch(VOLUME_ATTACHMENTS, "attached", free)
            await self.client.delete(VOLUME_ATTACHMENTS, "attached")

    async def ask_for_what_is_not_sold(self) -> None:
        await self.client.create(objects.claim_manifest("unsold", instance_type="no-such-type"))
        await self.gone(NODE_CLAIMS, "unsold")

    async def keep_warm(self, name: str = "warm") -> None:
        """A pool of nodes that are there before anybody asks, and its end."""
        requirement = {
            "key": "node.kubernetes.io/instance-type",
            "operator": "In",
            "values": [self.instance_type],
        }
        template = {
            "nodeClassRef": objects.KAITO_NODE_CLASS,
            "requirements": [requirement],
            "expireAfter": "Never",
        }
        pool = {"apiVersion": "karpenter.sh/v1", "kind": "NodePool", "metadata": {"name": name}}
        await self.client.create({**pool, "spec": {"replicas": 1, "template": {"spec": template}}})

        async def warm() -> bool:
            labels = f"karpenter.sh/nodepool={name}"
            claims = (await self.client.list(NODE_CLAIMS, labels=labels)).items
            return [claim.is_true("Ready") for claim in claims] == [True]

        await eventually(warm)
        await self.client.patch(NODE_POOLS, name, {"spec": {"replicas": 0}})

        async def cold() -> bool:
            labels = f"karpenter.sh/nodepool={name}"
            return not (await self.client.list(NODE_CLAIMS, labels=labels)).items

        await eventually(cold)
        await self.client.delete(NODE_POOLS, name)
        await self.gone(NODE_POOLS, name)

    async def end(self, *names: str) -> None:
        """Of Workspaces, with their nodes."""
        for name in names:
            await self.client.delete(WORKSPACES, name, namespace=SPACE)
        for name in names:
            await self.gone(WORKSPACES, name, SPACE)

        async def empty() -> bool:
            left = (await self.client.list(NODE_CLAIMS)).items
            return not left and not (await self.client.list(NODES)).items

        await eventually(empty, 60)

    async def claims(self, name: str) -> list[NodeClaim]:
        return (await self.client.list(NODE_CLAIMS, labels=f"kaito.sh/workspace={name}")).items

    async def is_true(self, name: str, kind: str) -> None:
        async def says() -> bool:
            found = await self.client.get(WORKSPACES, name, SPACE)
            assert found is not None
            seen[:] = found.status.conditions
            return found.condition(kind).status == "True"

        seen: list[Any] = []
        try:
            await eventually(says, 45)
        except AssertionError as error:
            told = "\n".join(f"{c.type}={c.status} {c.reason}: {c.message}" for c in seen)
            raise AssertionError(f"{name} is never {kind}:\n{told}") from error

    async def is_ready_with_adapters(self, name: str = "serves") -> None:
        async def ready() -> bool:
            found = await self.client.get(WORKSPACES, name, SPACE)
            assert found is not None
            return {each.state for each in found.status.adapters} == {"Ready"}

        await eventually(ready)

    async def there(self, resource: Resource[Any], name: str, namespace: str = SPACE) -> None:
        await eventually(lambda: self.client.get(resource, name, namespace), 45)

    async def gone(self, resource: Resource[Any], name: str, namespace: str = "") -> None:
        async def absent() -> bool:
            return await self.client.get(resource, name, namespace) is None

        await eventually(absent, 60)

    async def _claim_is_true(self, name: str) -> None:
        async def ready() -> bool:
            found = await self.client.get(NODE_CLAIMS, name)
            return found is not None and found.is_true("Ready")

        await eventually(ready)

    async def _is_told_to_go(self, pod: str = "lingers") -> bool:
        found = await self.client.get(PODS, pod, SPACE)
        return found is None or found.metadata.deletion_timestamp is not None

    async def _revision(self, name: str) -> str:
        found = await self.client.get(WORKSPACES, name, SPACE)
        assert found is not None
        return found.metadata.annotations.get("workspace.kaito.io/revision", "")

    async def _revised(self, name: str, before: str) -> bool:
        with suppress(ConflictError):
            return await self._revision(name) != before
        return False

    async def _uid(self, resource: Resource[Any], name: str) -> str:
        found = await self.client.get(resource, name, SPACE)
        return found.metadata.uid if found is not None else ""


def _adapter(tag: int) -> Manifest:
    return {"source": {"name": "legal", "image": f"registry.example/legal:{tag}"}}


def _volume() -> Manifest:
    return {"name": "data", "persistentVolumeClaim": {"claimName": "data-of-stays"}}
