"""A RAGEngine on a real API server: from its creation to a service that answers, and to its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from ragengine_cluster import EnginePods, RagCluster
from workspace_cluster import Process, eventually

from apis.kaito.v1beta1.ragengine import RAG_ENGINES
from apis.kaito.v1beta1.workspace import WORKSPACES
from apis.karpenter.v1.nodeclaim import NODE_CLAIMS
from kube import config
from kube.client import Client
from kube.errors import ForbiddenError
from kube.meta import Manifest
from kube.objects import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PODS,
    SECRETS,
    SERVICES,
)
from tests import builders
from tests.builders import NODE_CLASSES
from workspace_controller.manifests.nodepool import POOLS
from workspace_controller.settings import Settings

pytestmark = pytest.mark.integration

KEPT = {"persistentVolume": {"persistentVolumeClaim": "indexes"}}
SERVICE = {"url": "http://llm.example/v1", "accessSecret": "llm", "contextWindowSize": 4096}
TERMINATION = {"metadata": {"finalizers": ["karpenter.sh/termination"]}}
CREATION_WRITES = 9
END_WRITES = 6
BYO = builders.settings(byo=True)


@asynccontextmanager
async def answering(rag: RagCluster, settings: Settings | None = None, **given: object):
    """An engine that answers, with whoever makes its pods."""
    await rag.create_engine(**given)
    node = await rag.bring_up(await rag.engine_claim(), gpus=0)
    async with EnginePods(rag, node).at_work() as pods:
        await rag.told("ServiceReady", "True", "RAGEngineServiceSuccess")
        yield pods


async def test_from_claim_to_node_to_service(rag: RagCluster) -> None:
    async with rag.both() as process:
        await rag.create_engine()
        claim = await rag.engine_claim()
        engine = await rag.told("NodeClaimReady", "Unknown", "CreateNodeClaimPending")
        assert engine.condition("ResourceReady").reason == "ragengineResourceStatusFailed"
        assert engine.condition("RAGEngineSucceeded").reason == "ragenginePending"
        assert engine.status.state == "Pending"
        assert list(engine.metadata.finalizers) == ["ragengine.finalizer.kaito.sh"]
        assert ("Normal", "NodeClaimCreated") in process.events.told
        assert await rag.deployment() is None

        await rag.complain(claim, "QuotaExceeded", "24 more cores")
        words = "QuotaExceeded: 24 more cores"
        await rag.told("NodeClaimReady", "False", "checkNodeClaimStatusFailed", words)

        node = await rag.bring_up(claim, gpus=0)
        engine = await rag.told("ResourceReady", "True", "ragengineResourceStatusSuccess")
        await rag.told("ServiceReady", "False", "RAGEngineServicePending")
        assert engine.condition("NodeClaimReady").reason == "installNodePluginsSuccess"

        async with EnginePods(rag, node).at_work():
            engine = await rag.told("ServiceReady", "True", "RAGEngineServiceSuccess")
            await rag.told("RAGEngineSucceeded", "True", "ragengineSucceeded")
        assert engine.status.state == "Ready"
        assert engine.status.endpoint == f"http://docs.{rag.namespace}.svc.cluster.local"
        assert list(engine.status.worker_nodes) == [node]
        endpoint = await rag.endpoint()
        assert endpoint is not None
        assert endpoint.spec["selector"] == {"kaito.sh/ragengine": "docs"}
        assert not endpoint.spec.get("publishNotReadyAddresses")
        await _touch_in_vain(rag, process)


async def test_a_pod_that_fails_is_told_under_both_types(rag: RagCluster) -> None:
    """Upstream says it under the second alone, so that the printed column never turns False."""
    async with rag.both():
        await rag.create_engine(compute=None)
        async with EnginePods(rag, "machine", good=False).at_work() as pods:
            engine = await rag.told("ServiceReady", "False", "ImagePullError", "no such image")
            failed = engine.condition("RAGEngineServiceReady")
            assert (failed.status, failed.reason) == ("False", "RAGEngineServiceStatusFailed")
            assert engine.condition("RAGEngineSucceeded").reason == "ragengineFailed"
            assert engine.condition("ResourceReady").status == "True"
            pods.good = True
            engine = await rag.told("ServiceReady", "True", "RAGEngineServiceSuccess")
            kinds = {each.type for each in engine.status.conditions}
            assert "RAGEngineServiceReady" not in kinds
            assert "NodeClaimReady" not in kinds


async def test_a_pod_that_nobody_can_make_is_told(rag: RagCluster) -> None:
    """Its Deployment alone says so, while users look for a pod that never comes."""
    async with rag.both():
        await rag.create_engine(compute=None)
        await eventually(rag.deployment)
        words = 'pods "docs-1" is forbidden: violates PodSecurity "baseline:latest"'
        refused = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate"}
        for conditions, reason in (
            ([{**refused, "message": words}], "PodCreationFailed"),
            ([], "RAGEngineServicePending"),
        ):
            status = {"status": {"conditions": conditions}}
            await rag.client.patch(
                DEPLOYMENTS, "docs", status, namespace=rag.namespace, subresource="status"
            )
            found = await rag.told("ServiceReady", "False", reason)
            assert (words in found.condition("ServiceReady").message) == bool(conditions)


async def test_an_edit_is_applied_whole_and_answers_all_the_while(rag: RagCluster) -> None:
    await rag.volume_claim()
    async with rag.both() as process, answering(rag, storage=KEPT) as pods:
        await rag.secret("llm", LLM_ACCESS_SECRET="s")
        await rag.config_map("policy", **{"guardrails.yaml": "scanners: [{type: secrets}]"})
        policy = {"enabled": True, "configMapRef": {"name": "policy"}}
        embedding = {"local": {"modelID": "BAAI/bge-small-en-v1.5"}}
        spec = {"inferenceService": SERVICE, "guardrails": policy, "embedding": embedding}
        await rag.edit_engine({"spec": spec})
        await eventually(lambda: _has_volume(rag, "guardrails"))
        await eventually(lambda: _rolled(rag, pods, 2))
        assert pods.unserved == 0
        assert ("Normal", "EmbeddingChanged") in process.events.told
        await rag.edit_engine({"spec": {"guardrails": None, "storage": None}})
        await eventually(lambda: _lacks_volume(rag, "guardrails"))
        found = await rag.deployment()
        assert found is not None
        (indexes,) = (
            each for each in found.spec["template"]["spec"]["volumes"] if each["name"] == "indexes"
        )
        assert "persistentVolumeClaim" not in indexes
        assert ("Warning", "StorageChanged") in process.events.told
        await eventually(lambda: _rolled(rag, pods, 3))
        await rag.edit_engine({"spec": {"inferenceService": None}})
        await eventually(lambda: _rolled(rag, pods, 4))
        assert ("Warning", "IndexesNotKept") in process.events.told


async def test_where_no_second_pod_comes_up_a_gap_is_told(rag: RagCluster) -> None:
    await rag.volume_claim(mode="ReadWriteOncePod")
    async with rag.both() as process, answering(rag, storage=KEPT) as pods:
        await rag.secret("llm", LLM_ACCESS_SECRET="s")
        await rag.edit_engine({"spec": {"inferenceService": SERVICE}})
        await eventually(lambda: _rolled(rag, pods, 2))
        assert pods.unserved > 0
        assert ("Warning", "ServiceGap") in process.events.told


async def test_what_a_hand_sets_on_the_deployment_stays(rag: RagCluster) -> None:
    async with rag.both() as process:
        await rag.create_engine(compute=None)
        await eventually(rag.deployment)
        await process.quiet()
        found = await rag.deployment()
        assert found is not None
        patch = {"spec": {"revisionHistoryLimit": 7}}

        await rag.client.patch(DEPLOYMENTS, "docs", patch, namespace=rag.namespace)
        words = "edited by hand: Deployment/docs spec.revisionHistoryLimit"
        await rag.told("ServiceReady", "False", "RAGEngineServicePending", words)
        await process.quiet()
        found = await rag.deployment()
        assert found is not None
        assert found.spec["revisionHistoryLimit"] == 7


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"inferenceService": SERVICE}, "SecretNotFound"),
        ({"storage": KEPT}, "PersistentVolumeClaimNotFound"),
        (
            {"guardrails": {"enabled": True, "configMapRef": {"name": "policy"}}},
            "GuardrailsPolicyNotFound",
        ),
        ({"guardrails": {"enabled": True}}, "GuardrailsPolicyNotFound"),
    ],
    ids=["Secret", "claim", "policy", "policy of the release"],
)
async def test_what_it_names_and_lacks_is_told_and_waited_for(
    rag: RagCluster, given: Manifest, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workspace_controller.ragengine.references._AGAIN_SECONDS", 0.3)
    async with rag.both() as process:
        await rag.create_engine(**given)
        await rag.told("ServiceReady", "False", reason)
        await rag.told("RAGEngineSucceeded", "False", "ragengineFailed")
        assert ("Warning", reason) in process.events.told
        assert await rag.engine_claims() == []
        if reason == "SecretNotFound":
            await rag.secret("llm", other="s")
            await rag.told("ServiceReady", "False", "SecretKeyNotFound")

            await rag.client.delete(SECRETS, "llm", namespace=rag.namespace)
            await rag.secret("llm", LLM_ACCESS_SECRET="s")
        elif reason == "PersistentVolumeClaimNotFound":
            await rag.volume_claim()
        else:
            name = "policy" if "configMapRef" in given["guardrails"] else TEMPLATE
            await rag.config_map(name, **{"guardrails.yaml": "scanners: [{type: secrets}]"})
        assert await rag.engine_claim()


TEMPLATE = "ragengine-guardrails-policy-template"


async def test_the_releases_policy_follows_its_template(rag: RagCluster) -> None:

    await rag.config_map(TEMPLATE, **{"guardrails.yaml": "action: redact"})
    async with rag.both():
        await rag.create_engine(compute=None, guardrails={"enabled": True})

        async def says(text: str) -> bool:
            found = await rag.client.get(CONFIG_MAPS, "docs-guardrails", rag.namespace)
            return found is not None and found.data == {"guardrails.yaml": text}

        await eventually(lambda: says("action: redact"))
        patch = {"data": {"guardrails.yaml": "action: block"}}
        await rag.client.patch(CONFIG_MAPS, TEMPLATE, patch, namespace=rag.namespace)
        await eventually(lambda: says("action: block"))
        await rag.client.delete(CONFIG_MAPS, "docs-guardrails", namespace=rag.namespace)
        await eventually(lambda: says("action: block"))


async def test_what_past_a_webhook_cannot_be_is_told(rag: RagCluster) -> None:
    async with rag.both():
        await rag.create_engine(annotations={"kaito.sh/use-local-weights": "perhaps"})
        await rag.told("ServiceReady", "False", "InvalidRAGEngine", "use-local-weights")


async def test_what_the_api_server_refuses_is_told(rag: RagCluster) -> None:
    async with rag.both() as process:

        async def refuse(*_: object, **__: object) -> None:
            raise ForbiddenError(403, "Forbidden", "no more of those")

        create, apply = process.client.create, process.client.apply
        process.client.create = refuse  # type: ignore[method-assign,assignment]
        await rag.create_engine()
        words = "(last reconcile error: 403 Forbidden: no more of those)"
        await rag.told("NodeClaimReady", "False", "nodeClaimFailedCreation", words)
        process.client.create = create  # type: ignore[method-assign]
        process.client.apply = refuse  # type: ignore[method-assign,assignment]
        await rag.bring_up(await rag.engine_claim(), gpus=0)
        await rag.told("RAGEngineSucceeded", "False", "ragEngineFailed", "no more of those")
        process.client.apply = apply  # type: ignore[method-assign]
        await rag.told("RAGEngineSucceeded", "False", "ragenginePending")


async def test_what_is_not_applied_is_not_told_of_as_done(rag: RagCluster) -> None:
    """Each try would tell it again."""
    async with rag.both() as process:
        await rag.create_engine(compute=None)
        await rag.told("RAGEngineSucceeded", "False", "ragenginePending")

        async def refuse(*_: object, **__: object) -> None:
            raise ForbiddenError(403, "Forbidden", "no more of those")

        apply = process.client.apply
        process.client.apply = refuse  # type: ignore[method-assign,assignment]
        embedding = {"local": {"modelID": "BAAI/bge-small-en-v1.5"}}
        await rag.edit_engine({"spec": {"embedding": embedding}})
        await rag.told("RAGEngineSucceeded", "False", "ragEngineFailed", "no more of those")
        assert ("Normal", "EmbeddingChanged") not in process.events.told
        process.client.apply = apply  # type: ignore[method-assign]
        await rag.told("RAGEngineSucceeded", "False", "ragenginePending")
        assert process.events.told.count(("Normal", "EmbeddingChanged")) == 1


async def test_by_pools_too(rag: RagCluster) -> None:
    settings = builders.settings(node_classes=NODE_CLASSES)
    async with rag.both(settings) as process:
        await rag.create_engine()
        await rag.told("NodeClaimReady", "False", "checkNodeClaimStatusFailed", "ubuntu")
        await _classes_ready(process.client)
        await eventually(lambda: rag.client.get(POOLS, f"rag-{rag.namespace}-docs"))
        pool = await rag.client.get(POOLS, f"rag-{rag.namespace}-docs")
        assert pool is not None
        assert pool.spec["replicas"] == 1
        await rag.client.delete(RAG_ENGINES, "docs", namespace=rag.namespace)
        await rag.told("RAGEngineDeleting", "True", "ragengineDeleted", "waiting for NodePools")
        # The garbage collector, which is not run here: the pool's last claim is gone.
        free = {"metadata": {"finalizers": None}}
        await rag.client.patch(POOLS, f"rag-{rag.namespace}-docs", free)
        await eventually(rag.engine_gone)
        assert await rag.client.get(POOLS, f"rag-{rag.namespace}-docs") is None
        for name in NODE_CLASSES.names:
            await process.client.delete(NODE_CLASSES.resource, name)


async def test_the_end_is_pods_then_nodes_then_nothing(rag: RagCluster) -> None:
    await rag.volume_claim()
    async with rag.both() as process, answering(rag, storage=KEPT) as pods:
        claim = (await rag.engine_claims())[0].metadata.name
        await rag.client.patch(NODE_CLAIMS, claim, TERMINATION)
        pods.ends = False
        await process.quiet()
        before = len(process.writes)
        await rag.client.delete(RAG_ENGINES, "docs", namespace=rag.namespace)
        words = f"waiting for pods to end: {pods.made[0]}"
        await rag.told("RAGEngineDeleting", "True", "ragengineDeleted", words)
        found = await rag.client.get(NODE_CLAIMS, claim)
        assert found is not None
        assert not found.deleting
        pods.ends = True
        words = f"waiting for NodeClaims to end: {claim}"
        await rag.told("RAGEngineDeleting", "True", "ragengineDeleted", words)
        assert process.writes[before:] == [
            "patch Deployment metadata",
            "patch RAGEngine status",
            "delete NodeClaim",
            "patch RAGEngine status",
        ]
        await rag.client.patch(NODE_CLAIMS, claim, {"metadata": {"finalizers": None}})
        await eventually(rag.engine_gone)

    kept = await rag.client.get(PERSISTENT_VOLUME_CLAIMS, "indexes", rag.namespace)
    assert kept is not None
    assert kept.metadata.deletion_timestamp is None


async def test_a_deployment_of_kaitos_controller_is_taken_over(rag: RagCluster) -> None:
    """It has no label of its own, and its variables are KAITO's."""
    await rag.create_engine(compute=None)
    engine = await rag.engine()
    pod_labels = {"kaito.sh/ragengine": "docs"}
    owner = {"apiVersion": "kaito.sh/v1beta1", "kind": "RAGEngine", "name": "docs"}
    container = {"name": "ragengine", "image": "kaito/ragengine:0.12", "env": [{"name": "OLD"}]}
    manifest = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "docs",
            "namespace": rag.namespace,
            "ownerReferences": [{**owner, "uid": engine.metadata.uid, "controller": True}],
        },
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": pod_labels},
            "strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
            "template": {"metadata": {"labels": pod_labels}, "spec": {"containers": [container]}},
        },
    }
    endpoint = config.kubeconfig(str(rag.kubeconfig))
    async with Client(endpoint, field_manager="manager") as kaito:
        await kaito.create(manifest)
    async with rag.both():

        async def taken_over() -> bool:
            found = await rag.deployment()
            assert found is not None
            (container,) = found.spec["template"]["spec"]["containers"]
            named = {each["name"] for each in container["env"]}
            surge = found.spec["strategy"]["rollingUpdate"]["maxSurge"]
            ours = container["image"].endswith("kaito-rag:0.1.0") and "OLD" not in named
            return ours and surge == 1 and found.metadata.labels == pod_labels

        await eventually(taken_over)
        engine = await rag.told("ServiceReady", "False", "RAGEngineServicePending")
        assert "edited by hand" not in engine.condition("ServiceReady").message


async def test_what_of_its_name_is_somebody_elses_is_left_alone(
    rag: RagCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workspace_controller.ragengine.references._AGAIN_SECONDS", 0.3)
    service = {"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"port": 8000}]}}
    metadata = {"name": "docs", "namespace": rag.namespace}
    await rag.client.create({**service, "metadata": metadata})
    async with rag.both():
        await rag.create_engine(compute=None)
        words = 'Service "docs" exists and is not this RAGEngine\'s'
        await rag.told("ServiceReady", "False", "ServiceNameTaken", words)
        assert await rag.deployment() is None
        await rag.client.delete(SERVICES, "docs", namespace=rag.namespace)
        await rag.told("ServiceReady", "False", "RAGEngineServicePending")


@pytest.mark.parametrize("writes", range(CREATION_WRITES))
async def test_killed_after_any_write_it_comes_up_with_one_node(
    rag: RagCluster, writes: int
) -> None:
    async with provisioner(rag):
        async with rag.both(dies_after=writes) as process:
            await rag.create_engine()
            async with asyncio.timeout(10):
                while not await process.dead_or_done(writes):
                    pass
        async with rag.both() as process:
            await eventually(rag.deployment)
            await eventually(rag.endpoint)
            await process.quiet()
    assert len(await rag.engine_claims()) == 1


@pytest.mark.parametrize("writes", range(END_WRITES))
async def test_killed_after_any_write_the_end_goes_on(rag: RagCluster, writes: int) -> None:
    async with rag.both() as process, answering(rag) as pods:
        claim = (await rag.engine_claims())[0].metadata.name
        await process.quiet()
    await rag.client.patch(NODE_CLAIMS, claim, TERMINATION)
    async with EnginePods(rag, pods.node).at_work(), terminations(rag, claim):
        await rag.client.delete(RAG_ENGINES, "docs", namespace=rag.namespace)
        async with rag.both(dies_after=writes) as process:

            async def dead_or_done() -> bool:
                return len(process.writes) >= writes or await rag.engine_gone()

            await eventually(dead_or_done)
        async with rag.both():
            await eventually(rag.engine_gone)
    assert await rag.engine_claims() == []
    assert await rag.engine_pods() == []


async def test_three_who_count_on_one_node(rag: RagCluster) -> None:
    """Two RAGEngines and a Workspace; the scheduler gives it to one, and the others say so."""
    labels = {"apps": rag.namespace}
    compute = {"labelSelector": {"matchLabels": labels}}
    node = f"own-{rag.namespace}"
    found = {"nvidia.com/gpu.product": "NVIDIA-A10", "nvidia.com/gpu.count": "1"}
    await rag.ready_node(node, {**labels, **found, "nvidia.com/gpu.memory": "24576"}, gpus=1)
    await rag.allow_pods()
    async with rag.both(BYO):
        await rag.create_engine(name="one", compute=compute)
        await rag.create_engine(name="two", compute=compute)
        await rag.create_workspace(instance_type="", labels=labels)
        for name in ("one", "two"):
            await eventually(lambda name=name: rag.deployment(name))
        await eventually(rag.stateful_set)
        async with EnginePods(rag, node, name="two").at_work():
            await rag.told("ServiceReady", "True", "RAGEngineServiceSuccess", name="two")
            words = f"used by another Workspace or RAGEngine: {node}"
            await rag.told("NodesReady", "False", "NodeNotReady", words, name="one")
            await eventually(lambda: _workspace_says(rag, words))
            engine = await rag.engine("two")
            assert engine.condition("ResourceReady").status == "True"
        await rag.client.delete(RAG_ENGINES, "two", namespace=rag.namespace)
        async with EnginePods(rag, node, name="two").at_work():
            await eventually(lambda: rag.engine_gone("two"))
        # Now a pod of the Workspace is there first.
        stateful_set = await rag.stateful_set()
        assert stateful_set is not None
        await rag.make_pod("falcon-0", stateful_set)
        await rag.place_pod("falcon-0", node)
        await rag.told("NodesReady", "False", "NodeNotReady", words, name="one")
        await eventually(lambda: _workspace_ready(rag))
    await rag.client.delete(PODS, "falcon-0", namespace=rag.namespace, grace_period_seconds=0)
    await rag.client.delete(NODES, node)


async def test_a_workspace_of_the_same_name_waits_for_its_service(rag: RagCluster) -> None:
    async with rag.both():
        await rag.create_engine(compute=None)
        await eventually(rag.endpoint)
        await rag.create_workspace(name="docs")

        async def says() -> bool:
            found = (await rag.workspace("docs")).condition("ResourceReady")
            return (found.status, found.reason) == ("False", "ServiceNameTaken")

        await eventually(says)
        assert await rag.claims("docs") == []
        await rag.client.delete(RAG_ENGINES, "docs", namespace=rag.namespace)
        await eventually(lambda: rag.claims("docs"))
        await rag.create_engine(compute=None)
        await rag.told("ServiceReady", "False", "ServiceNameTaken", "Workspace")
        await rag.client.delete(WORKSPACES, "docs", namespace=rag.namespace)
        await eventually(lambda: rag.workspace_gone("docs"))
        await rag.told("ServiceReady", "False", "RAGEngineServicePending")


async def _touch_in_vain(rag: RagCluster, process: Process) -> None:
    """A round that has nothing to do writes nothing."""
    await process.quiet()
    before = len(process.writes)
    await rag.edit_engine({"metadata": {"labels": {"touched": "yes"}}})
    await process.quiet()
    assert process.writes[before:] == []


async def _volumes(rag: RagCluster) -> set[str]:
    found = await rag.deployment()
    assert found is not None
    return {each["name"] for each in found.spec["template"]["spec"]["volumes"]}


async def _has_volume(rag: RagCluster, name: str) -> bool:
    return name in await _volumes(rag)


async def _lacks_volume(rag: RagCluster, name: str) -> bool:
    return name not in await _volumes(rag)


async def _rolled(rag: RagCluster, pods: EnginePods, number: int) -> bool:
    """Whether the last of so many pods is alone, and ready."""
    there = await rag.engine_pods()
    ready = (await rag.engine()).condition("ServiceReady").status == "True"
    return len(pods.made) == number and len(there) == 1 and ready


async def _workspace_says(rag: RagCluster, words: str) -> bool:
    return words in (await rag.workspace()).condition("NodesReady").message


async def _workspace_ready(rag: RagCluster) -> bool:
    return (await rag.workspace()).condition("ResourceReady").status == "True"


async def _classes_ready(client: Client) -> None:
    """Classes that a provider has looked at."""
    resource = NODE_CLASSES.resource
    for name in NODE_CLASSES.names:
        if await client.get(resource, name) is None:
            await client.create(
                {
                    "apiVersion": resource.api_version,
                    "kind": resource.kind,
                    "metadata": {"name": name},
                    "spec": {},
                }
            )
        ready = {"type": "Ready", "status": "True", "reason": "Ready", "message": ""}
        ready["lastTransitionTime"] = "2026-11-21T12:00:00Z"
        status = {"status": {"conditions": [ready]}}
        await client.patch(resource, name, status, subresource="status")


@asynccontextmanager
async def provisioner(rag: RagCluster) -> AsyncIterator[None]:
    """Brings up a node for every claim at once."""

    async def work() -> None:
        known: set[str] = set()
        while True:
            for claim in await rag.engine_claims():
                if claim.metadata.name not in known:
                    known.add(claim.metadata.name)
                    await rag.bring_up(claim, gpus=0)
            await asyncio.sleep(0.03)

    async with _beside(work()):
        yield


@asynccontextmanager
async def terminations(rag: RagCluster, claim: str) -> AsyncIterator[None]:
    """The claim's instance ends as soon as it is asked to."""

    async def work() -> None:
        while True:
            found = await rag.client.get(NODE_CLAIMS, claim)
            if found is not None and found.deleting:
                await rag.client.patch(NODE_CLAIMS, claim, {"metadata": {"finalizers": None}})
            await asyncio.sleep(0.03)

    async with _beside(work()):
        yield


@asynccontextmanager
async def _beside(work):
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
