"""What is watched for RAGEngines, whose round it starts, and how many of them there are."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import AsyncIterator, Callable

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from apis.kaito.v1beta1.ragengine import RAGEngine
from kube.client import Client
from kube.clock import Clock
from kube.config import Endpoint, Fixed
from kube.meta import Key, ObjectMeta, OwnerReference
from kube.objects import ConfigMap, Node, Pod, Unstructured
from kube.store import Store
from tests import builders, ragengines
from tests.ragengines import an_engine
from workspace_controller import namesakes
from workspace_controller.controllers import ragengine_controller, workspace_controller
from workspace_controller.informers import Informers
from workspace_controller.metrics import RAGEngineCollector
from workspace_controller.nodes.classes import NodeClasses
from workspace_controller.ragengine.observe import observe
from workspace_controller.raginformers import RagInformers
from workspace_controller.workspace import observe as workspaces

Made = Callable[..., RagInformers]
OURS = Key("default", "docs")
FALCON = Key("default", "falcon")
GUARDED = {"guardrails": {"enabled": True}}
KEPT = {"storage": {"persistentVolume": {"persistentVolumeClaim": "indexes"}}}


@pytest.fixture
async def made() -> AsyncIterator[Made]:
    endpoint = Endpoint(server="http://127.0.0.1:1", credentials=Fixed(""))
    async with Client(endpoint, field_manager="tests") as client:

        def of(*, byo: bool = False, node_classes: NodeClasses | None = None) -> RagInformers:
            shared = Informers.of(client, Clock(), byo=byo, node_classes=node_classes)
            return RagInformers.of(client, Clock(), shared, "kaito")

        yield of


@pytest.mark.parametrize(
    ("given", "claims"),
    [
        pytest.param({}, 2, id="claims of each kind by their labels"),
        pytest.param({"node_classes": builders.NODE_CLASSES}, 1, id="all claims, once"),
        pytest.param({"byo": True}, 0, id="no claims"),
    ],
)
async def test_nothing_is_watched_twice(made: Made, given: dict, claims: int) -> None:
    rag = made(**given)
    running = [*rag.shared.all(), *rag.all()]
    scopes = Counter((each.resource.plural, str(each._scope)) for each in running)
    assert set(scopes.values()) == {1}
    kinds = Counter(each.resource.kind for each in running)
    assert kinds["NodeClaim"] == claims
    assert (kinds["Node"], kinds["ConfigMap"]) == (1, 1)


def occupied(name: str, node: str, label: str = "kaito.sh/ragengine") -> Pod:
    pod = ragengines.a_pod(f"{name}-{node}", node=node)
    meta = msgspec.structs.replace(pod.metadata, labels={label: name})
    return msgspec.structs.replace(pod, metadata=meta)


async def test_nodes_that_the_other_kind_fills(made: Made) -> None:
    rag = made(byo=True)
    compute = {"labelSelector": {"matchLabels": {"apps": "llm"}}}
    engine = an_engine(compute=compute)
    for each in (engine, an_engine(name="other", compute=compute)):
        rag.engines.store.put(each)
    rag.engines.store.put(an_engine(name="free", compute=None))
    small = {"labelSelector": {"matchLabels": {}}, "partition": {"mode": "mig"}}
    rag.shared.workspaces.store.put(builders.a_workspace(name="small", resource=small))
    for name in ("mine", "theirs", "free", "small", "falcon", "namesake"):
        rag.shared.nodes.store.put(builders.a_gpu_node(name))
    for owner, node in (("docs", "mine"), ("other", "theirs"), ("free", "free")):
        rag.pods.store.put(occupied(owner, node))
    for owner, node in (("small", "small"), ("falcon", "falcon"), ("docs", "namesake")):
        rag.shared.pods.store.put(occupied(owner, node, "kaito.sh/workspace"))
    seen = observe(engine, rag.caches(), builders.NOW, byo=True)
    assert seen.taken == {"theirs", "small", "falcon", "namesake"}
    with_others = rag.shared.caches()
    known = workspaces.observe(
        builders.a_workspace(),
        dataclasses.replace(with_others, others=(rag.occupants(),)),
        builders.NOW,
        byo=True,
    )
    assert known.taken == {"mine", "theirs", "namesake"}


async def test_a_namesake_of_the_other_kind_shares_nothing(made: Made) -> None:
    """Claims and nodes of the Workspace docs are not those of the RAGEngine docs."""
    rag = made(node_classes=builders.NODE_CLASSES)
    claims = rag.node_claims.store
    claims.put(ragengines.a_claim("ws1", node="n1"))
    other = builders.a_claim("ws2", node="n2")
    labels = {"kaito.sh/workspace": "docs", "kaito.sh/workspacenamespace": "default"}
    meta = msgspec.structs.replace(other.metadata, labels=labels)
    claims.put(other.model_copy(update={"metadata": meta}))
    seen = observe(an_engine(), rag.caches(), builders.NOW, byo=False)
    assert [each.metadata.name for each in seen.claims] == ["ws1"]
    workspace = builders.a_workspace(name="docs")
    known = workspaces.observe(workspace, rag.shared.caches(), builders.NOW, byo=False)
    assert [each.metadata.name for each in known.claims] == ["ws2"]


async def test_whose_round_a_change_starts(made: Made) -> None:
    rag = made()
    for each in (an_engine(**GUARDED), an_engine(name="kept", **KEPT)):
        rag.engines.store.put(each)
    template = ConfigMap(
        metadata=ObjectMeta(name="ragengine-guardrails-policy-template", namespace="kaito")
    )
    assert list(rag.of_config(template)) == [OURS]
    meta = msgspec.structs.replace(template.metadata, namespace="default")
    assert list(rag.of_config(msgspec.structs.replace(template, metadata=meta))) == []
    copy = ObjectMeta(name="docs-guardrails", namespace="default", labels=ragengines.OWNED)
    assert list(rag.of_config(ConfigMap(metadata=copy))) == [OURS]
    chosen = an_engine(name="chosen", annotations={"kaito.sh/rag-settings": "settings"}, **GUARDED)
    rag.engines.store.put(chosen)
    assert list(rag.of_config(ragengines.some_settings())) == [Key("default", "chosen")]
    assert set(rag.of_config(template)) == {OURS, Key("default", "chosen")}
    assert list(rag.of_volume_claim(ragengines.a_volume_claim())) == [Key("default", "kept")]
    assert list(rag.of_volume_claim(ragengines.a_volume_claim("other"))) == []
    rag.node_claims.store.put(ragengines.a_claim("ws1", node="bare"))
    wakes = rag.wakes()
    assert list(wakes.of_node(ragengines.a_node())) == [OURS]
    assert list(wakes.of_node(bare("bare"))) == [OURS]
    assert list(wakes.of_node(bare("foreign"))) == []
    assert list(wakes.of_node(builders.a_node())) == []


def bare(name: str) -> Node:
    return Node(metadata=ObjectMeta(name=name))


async def test_a_node_of_ones_own_wakes_those_that_select_it_and_none_without_compute(
    made: Made,
) -> None:
    rag = made(byo=True)
    compute = {"labelSelector": {"matchLabels": {"apps": "llm"}}}
    rag.engines.store.put(an_engine(compute=compute))
    rag.engines.store.put(an_engine(name="anywhere", compute=None))
    assert list(rag.wakes().of_node(builders.a_gpu_node())) == [OURS]


async def test_a_pod_of_either_kind_wakes_those_beside_it(made: Made) -> None:
    """On nodes of one's own: whoever waits for a node hears that it is left."""
    rag = made(byo=True)
    nobody = builders.settings(byo=True)
    compute = {"labelSelector": {"matchLabels": {"apps": "llm"}}}
    rag.engines.store.put(an_engine(compute=compute))
    rag.shared.workspaces.store.put(builders.a_workspace())
    rag.shared.nodes.store.put(builders.a_gpu_node("own"))
    client, told = rag.engines._client, Silent()
    both = (
        (ragengine_controller(client, rag, nobody, told, Clock()), OURS),
        (workspace_controller(client, rag.shared, nobody, told, Clock(), rag=rag), FALCON),
    )
    for controller, key in both:
        for pods in (rag.pods, rag.shared.pods):
            (keys,) = (
                keys
                for informer, keys, stirs in controller._watched
                if informer is pods and stirs.__name__ == "takes_room_elsewhere"
            )
            assert list(keys(occupied("another", "own"))) == [key]


class Silent:
    def event(self, *_: object) -> None: ...


@pytest.mark.parametrize(
    ("engine_has", "workspace_has", "engine_is_older", "engine_waits", "workspace_waits"),
    [
        pytest.param(False, False, True, False, True, id="the elder has it"),
        pytest.param(False, False, False, True, False, id="the elder, and the Workspace of twins"),
        pytest.param(True, False, False, False, True, id="who has it already"),
        pytest.param(False, True, True, True, False, id="the other way round"),
    ],
)
def test_who_has_the_service_of_a_shared_name(
    engine_has: bool,
    workspace_has: bool,
    engine_is_older: bool,
    engine_waits: bool,
    workspace_waits: bool,
) -> None:
    engine, workspace = an_engine(name="falcon"), builders.a_workspace()
    if engine_is_older:
        meta = msgspec.structs.replace(engine.metadata, creation_timestamp=builders.NOW)
        engine = engine.model_copy(update={"metadata": meta})
    service = owned_by(ragengines.UID) if engine_has else owned_by("of-a-dead-one")
    other = owned_by(builders.UID) if workspace_has else None
    assert bool(namesakes.holder(engine, workspace, service=service, others=other)) == engine_waits
    assert (
        bool(namesakes.holder(workspace, engine, service=other, others=service)) == workspace_waits
    )
    assert namesakes.holder(engine, None, service=None, others=None) == ""


def owned_by(uid: str) -> Unstructured:
    reference = OwnerReference(api_version="kaito.sh/v1beta1", kind="X", name="falcon", uid=uid)
    return Unstructured(metadata=ObjectMeta(name="falcon", owner_references=(reference,)))


def test_they_are_counted_by_phase() -> None:
    store: Store[RAGEngine] = Store()
    for name, status, reason in (
        ("a", "True", "ragengineSucceeded"),
        ("b", "False", "ragenginePending"),
        ("c", "False", "ragengineFailed"),
        ("d", "False", "ragEngineFailed"),
    ):
        said = {"type": "RAGEngineSucceeded", "status": status, "reason": reason}
        store.put(an_engine(name=name, conditions=(said,)))
    store.put(an_engine(name="new"))
    registry = CollectorRegistry()
    registry.register(RAGEngineCollector(store))
    counted = {
        phase: registry.get_sample_value("kaito_ragengine_count", {"phase": phase})
        for phase in ("succeeded", "error", "pending", "deleting")
    }
    assert counted == {"succeeded": 1, "error": 2, "pending": 2, "deleting": 0}
