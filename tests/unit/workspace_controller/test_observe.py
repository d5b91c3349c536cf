"""What is looked up for a Workspace, and whose round a change starts."""

from __future__ import annotations

import dataclasses

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from kube.client import Client
from kube.clock import Clock
from kube.config import Endpoint, Fixed
from kube.meta import Key, ObjectMeta
from kube.objects import Namespace, Unstructured
from kube.store import Store
from tests.builders import (
    NODE_CLASSES,
    NOW,
    UID,
    a_claim,
    a_config,
    a_gpu_node,
    a_node,
    a_pod,
    a_stateful_set,
    a_workspace,
)
from workspace_controller import marks
from workspace_controller.informers import Informers
from workspace_controller.metrics import WorkspaceCollector
from workspace_controller.nodes import candidates
from workspace_controller.nodes.attempts import ATTEMPTS_ANNOTATION, Attempt, claim_name, write
from workspace_controller.nodes.departed import Departed
from workspace_controller.nodes.stores import UnreadableClaimError
from workspace_controller.workspace import observe, owner

WORKSPACE = a_workspace(inference={"config": "options"})


def caches(**content) -> observe.Caches:
    unreadable = content.pop("unreadable", {})
    departed = content.pop("departed", Departed())
    stores = {
        "workspaces": Store({observe.BY_CONFIG: observe.named_config}),
        "node_claims": Store(
            {
                observe.BY_OWNER: marks.index(owner.of_cluster_scoped),
                observe.BY_NODE: candidates.claim_node,
            }
        ),
        "nodes": Store(
            {
                observe.BY_OWNER: marks.index(owner.of_cluster_scoped),
                observe.BY_UNMANAGED: candidates.is_unmanaged,
            }
        ),
        "stateful_sets": Store(),
        "services": Store(),
        "pods": Store(
            {observe.BY_OWNER: marks.index(owner.of_child), observe.BY_NODE: candidates.pod_node}
        ),
        "config_maps": Store(),
        "namespaces": Store(),
        "benchmarks": Store({observe.BY_OWNER: marks.index(owner.of_benchmark)}),
        "loaders": Store({observe.BY_OWNER: marks.index(owner.of_loader)}),
    }
    for name, items in content.items():
        for item in items:
            stores[name].put(item)
    return observe.Caches(**stores, departed=departed, unreadable_claims=lambda: unreadable)


def look(workspace=WORKSPACE, *, byo=False, **content):
    return observe.observe(workspace, caches(**content), NOW, byo=byo)


def unlabelled(node):
    metadata = msgspec.structs.replace(node.metadata, labels={})
    return msgspec.structs.replace(node, metadata=metadata)


def test_nothing_is_there():
    seen = look()
    assert (seen.claims, seen.nodes, seen.pods, seen.services) == ((), (), (), {})
    assert seen.stateful_set is None
    assert seen.config is None


def test_everything_of_the_workspace_and_nothing_of_others():
    foreign = ObjectMeta(name="falcon", namespace="other")
    service = Unstructured(metadata=ObjectMeta(name="falcon-headless", namespace="default"))
    seen = look(
        node_claims=[a_claim("ws1", node="bare")],
        nodes=[a_node("labelled"), unlabelled(a_node("bare")), unlabelled(a_node("foreign"))],
        stateful_sets=[a_stateful_set(), Unstructured(metadata=foreign)],
        services=[service, Unstructured(metadata=foreign)],
        pods=[a_pod()],
        config_maps=[a_config(), a_config(name="another")],
    )
    assert [claim.metadata.name for claim in seen.claims] == ["ws1"]
    assert [node.metadata.name for node in seen.nodes] == ["bare", "labelled"]
    assert seen.stateful_set == a_stateful_set()
    assert seen.services == {"falcon-headless": service}
    assert [pod.metadata.name for pod in seen.pods] == ["falcon-0"]
    assert seen.config == a_config()


def test_what_the_namespace_enforces():
    labels = {"pod-security.kubernetes.io/enforce": "baseline"}
    found = [Namespace(metadata=ObjectMeta(name=name)) for name in ("other",)]
    found.append(Namespace(metadata=ObjectMeta(name="default", labels=labels)))
    assert look(namespaces=found).namespace_labels == labels
    assert look().namespace_labels == {}


def test_nodes_of_ones_own_are_those_that_the_labels_select():
    seen = look(byo=True, nodes=[a_gpu_node("mine"), unlabelled(a_gpu_node("theirs"))])
    assert [node.metadata.name for node in seen.nodes] == ["mine"]


def test_a_claim_that_cannot_be_read_is_not_taken_for_absent():
    name = claim_name(UID, 0, 3)
    memory = {ATTEMPTS_ANNOTATION: write({0: Attempt(3, made=True)})}
    with pytest.raises(UnreadableClaimError, match="no nodeClassRef"):
        look(a_workspace(annotations=memory), unreadable={Key("", name): "no nodeClassRef"})


def test_the_last_state_of_a_claim_that_is_gone():
    name = claim_name(UID, 0, 3)
    departed = Departed()
    departed.changed(None, a_claim(name))
    departed.changed(a_claim(name, node="last"), None)
    departed.changed(a_claim("wsffffffff0"), None)
    memory = {ATTEMPTS_ANNOTATION: write({0: Attempt(3)})}
    workspace = a_workspace(annotations=memory)
    seen = look(workspace, departed=departed)
    assert [claim.status.node_name for claim in seen.departed] == ["last"]
    departed.changed(None, a_claim(name))
    assert look(workspace, departed=departed).departed == ()


def test_not_all_that_are_gone_are_remembered_for_ever():
    departed = Departed()
    for number in range(5000):
        departed.changed(a_claim(f"ws{number}"), None)
    assert departed.get("ws0") is None
    assert departed.get("ws4999") is not None


def test_an_unreadable_claim_of_somebody_else_is_no_matter():
    assert look(unreadable={Key("", "wsffffffff0"): "broken"}).claims == ()


@pytest.fixture
async def informers():
    endpoint = Endpoint(server="http://127.0.0.1:1", credentials=Fixed(""))
    async with Client(endpoint, field_manager="tests") as client:
        yield lambda byo, node_classes=None: Informers.of(
            client, Clock(), byo=byo, node_classes=node_classes
        )


OURS = Key("default", "falcon")


def partitioned(name: str):
    resource = {"labelSelector": {"matchLabels": {}}, "partition": {"mode": "mig"}}
    return a_workspace(name=name, resource=resource)


def naming(*nodes: str):
    return {"labelSelector": {}, "preferredNodes": list(nodes)}


def pod_of(workspace: str, node: str, phase: str = "Running"):
    pod = a_pod(node=node, phase=phase)
    labels = {"kaito.sh/workspace": workspace}
    meta = msgspec.structs.replace(pod.metadata, name=f"{workspace}-0-{node}", labels=labels)
    return msgspec.structs.replace(pod, metadata=meta)


def test_nodes_that_another_workspace_fills():
    names = ("mine", "theirs", "shared", "ended", "free", "both")
    seen = look(
        byo=True,
        nodes=[a_gpu_node(name) for name in names],
        workspaces=[a_workspace(name="other"), partitioned("small")],
        pods=[
            pod_of("falcon", "mine"),
            pod_of("other", "theirs"),
            pod_of("small", "shared"),
            pod_of("other", "ended", phase="Succeeded"),
            pod_of("falcon", "both"),
            pod_of("other", "both"),
        ],
    )
    assert seen.taken == {"theirs"}


def test_nodes_that_the_user_names_are_looked_at_without_a_label():
    workspace = a_workspace(resource=naming("named", "absent"))
    nodes = [unlabelled(a_gpu_node("named")), unlabelled(a_gpu_node("other"))]
    for byo in (False, True):
        seen = look(workspace, byo=byo, nodes=nodes)
        assert [node.metadata.name for node in seen.nodes] == ["named"]


def test_where_nodes_come_by_pools():
    pool = Unstructured(metadata=ObjectMeta(name="default-falcon"))
    other = Unstructured(metadata=ObjectMeta(name="default-other"))
    classes = {"ubuntu": Unstructured(metadata=ObjectMeta(name="ubuntu"))}
    mine = {
        "karpenter.kaito.sh/workspace-name": "falcon",
        "karpenter.kaito.sh/workspace-namespace": "default",
    }
    claim = a_claim("ws1", ordinal=None)
    claim = claim.model_copy(
        update={"metadata": msgspec.structs.replace(claim.metadata, labels=mine)}
    )
    node = unlabelled(a_node("bought"))
    node = msgspec.structs.replace(
        node, metadata=msgspec.structs.replace(node.metadata, labels=mine)
    )
    pools = Store()
    for each in (pool, other):
        pools.put(each)
    known = caches(node_claims=[claim], nodes=[node, a_gpu_node("own")])
    known = dataclasses.replace(known, pools=pools, node_classes=lambda: classes)
    seen = observe.observe(WORKSPACE, known, NOW, byo=False)
    assert (seen.pool, seen.node_classes) == (pool, classes)
    assert [each.metadata.name for each in seen.claims] == ["ws1"]
    assert [each.metadata.name for each in seen.nodes] == ["bought", "own"]


async def test_whose_round_a_named_node_starts(informers):
    all_ = informers(False)
    all_.workspaces.store.put(a_workspace(resource=naming("named")))
    assert list(all_.wakes().of_node(unlabelled(a_gpu_node("named")))) == [OURS]
    assert list(all_.wakes().of_node(a_gpu_node("selected"))) == []


async def test_with_pools_more_is_watched_and_wakes(informers):
    all_ = informers(False, NODE_CLASSES)
    kinds = {informer.resource.kind for informer in all_.all()}
    assert {"NodePool", "AKSNodeClass", "NodeClaim"} <= kinds
    all_.workspaces.store.put(WORKSPACE)
    assert list(all_.wakes().of_node(a_gpu_node("selected"))) == [OURS]
    assert list(all_.of_node_class(Unstructured(metadata=ObjectMeta(name="ubuntu")))) == [OURS]
    assert all_.caches().node_classes() is None
    mere = dataclasses.replace(NODE_CLASSES, group="kaito.sh", kind="KaitoNodeClass")
    assert "KaitoNodeClass" not in {each.resource.kind for each in informers(False, mere).all()}


async def test_whose_round_a_change_starts(informers):
    all_ = informers(False)
    all_.workspaces.store.put(WORKSPACE)
    all_.node_claims.store.put(a_claim("ws1", node="bare"))
    assert list(owner.of_cluster_scoped(a_claim("ws1"))) == [OURS]
    assert list(all_.wakes().of_node(a_node("labelled"))) == [OURS]
    assert list(all_.wakes().of_node(unlabelled(a_node("bare")))) == [OURS]
    assert list(all_.wakes().of_node(unlabelled(a_node("foreign")))) == []
    assert list(owner.of_child(a_pod())) == [OURS]
    assert list(owner.of_child(Unstructured(metadata=ObjectMeta(name="x")))) == []
    assert list(all_.of_config(a_config())) == [OURS]
    assert list(all_.of_config(a_config(name="another"))) == []


async def test_a_node_of_ones_own_concerns_all_that_select_it(informers):
    all_ = informers(True)
    all_.workspaces.store.put(a_workspace())
    all_.workspaces.store.put(a_workspace(name="other", labels={"apps": "other"}))
    assert list(all_.wakes().of_node(a_gpu_node())) == [OURS]


async def test_where_nodes_are_brought_along_nobody_asks_for_claims(informers):
    def kinds(byo):
        return {informer.resource.kind for informer in informers(byo).all()}

    assert kinds(False) - kinds(True) == {"NodeClaim"}


def conditioned(name: str, status: str, reason: str, **given):
    workspace = a_workspace(name=name, **given)
    condition = {"type": "WorkspaceSucceeded", "status": status, "reason": reason}
    return type(workspace).model_validate(
        {**workspace.manifest(), "status": {"conditions": [condition]}}
    )


def test_workspaces_are_counted_by_phase_and_preset():
    store = Store()
    for workspace in (
        a_workspace(name="new"),
        conditioned("served", "True", "workspaceSucceeded"),
        conditioned("waiting", "False", "workspacePending"),
        conditioned("failed", "False", "workspaceFailed", preset="large-70b"),
        a_workspace(name="going", deleting=True),
    ):
        store.put(workspace)
    registry = CollectorRegistry()
    registry.register(WorkspaceCollector(store))
    phases = {
        phase: registry.get_sample_value("kaito_workspace_count", {"phase": phase})
        for phase in ("succeeded", "pending", "error", "deleting")
    }
    assert phases == {"succeeded": 1, "pending": 2, "error": 1, "deleting": 1}
    presets = {
        preset: registry.get_sample_value("kaito_workspace_preset_count", {"preset_name": preset})
        for preset in ("small-1b", "large-70b")
    }
    assert presets == {"small-1b": 4, "large-70b": 1}
