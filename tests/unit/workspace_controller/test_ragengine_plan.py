"""From what is seen of a RAGEngine to what is done for it."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import pytest

from apis.kaito.v1beta1.ragengine import RAGEngine
from kube.meta import Condition, Manifest, find_condition
from kube.objects import Pod, Unstructured
from tests import builders, ragengines
from tests.ragengines import a_ready_world, a_world, an_engine
from workspace_controller.nodes.byo import BringYourOwn
from workspace_controller.nodes.pool import PoolProvisioner
from workspace_controller.plan import Plan
from workspace_controller.ragengine import references
from workspace_controller.ragengine.nodes import nodes
from workspace_controller.ragengine.observed import Observed
from workspace_controller.ragengine.plan import make_plan
from workspace_controller.ragengine.readiness import service_ready
from workspace_controller.ragengine.status import ragengine_status
from workspace_controller.settings import Settings

SETTINGS = builders.settings()
GPU = {"instanceType": "local-gpu-1", "labelSelector": {"matchLabels": {"apps": "rag"}}}
TWO_GPUS = {**GPU, "instanceType": "local-gpu-2"}
KEPT = {"persistentVolume": {"persistentVolumeClaim": "indexes"}}
QDRANT = {"vectorDB": {"engine": "qdrant", "url": "http://qdrant.example:6333"}}
STORE = {"kaito.sh/rag-object-store": "s3://bucket/prefix"}
STORE_KEYS = {**STORE, "kaito.sh/rag-object-store-secret": "bucket"}
CHOSEN = {"kaito.sh/rag-settings": "settings"}
SERVICE = {"url": "http://llm.example/v1", "accessSecret": "llm", "contextWindowSize": 4096}


def plan(
    engine: RAGEngine | None = None, seen: Observed | None = None, settings: Settings = SETTINGS
) -> Plan:
    return make_plan(engine or an_engine(), seen or a_ready_world(), settings)


def told(made: Plan, kind: str) -> tuple[str, str]:
    found = find_condition(made.conditions, kind)
    return (found.status, found.reason) if found else ("", "")


def kinds(made: Plan) -> list[str]:
    return [each["kind"] for each in (*made.create, *made.apply)]


def deployment(made: Plan) -> Manifest:
    return next(each for each in made.apply if each["kind"] == "Deployment")


def running(engine: RAGEngine, **seen: Any) -> Observed:
    """What was applied for it, and a pod that answers."""
    made = plan(engine, a_ready_world(**seen))
    service = next(each for each in made.apply if each["kind"] == "Service")
    return a_ready_world(
        **{
            "deployment": ragengines.stored(deployment(made), observedGeneration=1),
            "service": ragengines.stored(service),
            "pods": (ragengines.a_pod(ready=True),),
            **seen,
        }
    )


class TestNodes:
    @pytest.mark.parametrize("count", [1, 3])
    def test_one_node_whatever_the_count_says(self, count: int) -> None:
        made = plan(an_engine(compute={**ragengines.COMPUTE, "count": count}), a_world())
        (claim,) = made.create
        assert claim["metadata"]["labels"] == {"apps": "rag", **ragengines.OWNED, **_of_cloud()}
        assert "kaito.sh/node-claim-attempts" in made.annotations
        assert made.apply == ()
        assert made.waits_for

    def test_one_by_a_pool_of_a_name_that_no_workspace_has(self) -> None:
        settings = builders.settings(node_classes=builders.NODE_CLASSES)
        assert isinstance(settings.nodes, PoolProvisioner)
        classes = {"ubuntu": _ready_class("ubuntu")}
        made = plan(seen=a_world(node_classes=classes), settings=settings)
        (pool,) = made.apply
        assert pool["metadata"]["name"] == "rag-default-docs"
        assert pool["spec"]["replicas"] == 1
        assert ragengines.OWNED.items() <= pool["spec"]["template"]["metadata"]["labels"].items()

    def test_without_compute_none(self) -> None:
        made = plan(an_engine(compute=None), a_world())
        assert kinds(made) == ["Deployment", "Service"]
        pod = deployment(made)["spec"]["template"]["spec"]
        assert "affinity" not in pod
        assert "tolerations" not in pod

    def test_an_instance_type_that_only_the_cloud_knows(self) -> None:
        """Nothing is laid out by it, so it may be one that the catalogue lacks."""
        compute = {**ragengines.COMPUTE, "instanceType": "Standard_D8_v9"}
        made = plan(an_engine(compute=compute), a_world(), builders.settings(cloud="azure"))
        assert made.blocked is None
        assert kinds(made) == ["NodeClaim"]

    def test_nodes_of_ones_own_that_others_fill_are_not_taken(self) -> None:
        settings = builders.settings(byo=True)
        assert isinstance(settings.nodes, BringYourOwn)
        engine = an_engine(compute={"labelSelector": {"matchLabels": {"apps": "llm"}}})
        node = builders.a_gpu_node("own")
        free = plan(engine, a_world(nodes=(node,)), settings)
        assert kinds(free) == ["Deployment", "Service"]
        taken = plan(engine, a_world(nodes=(node,), taken=frozenset({"own"})), settings)
        assert kinds(taken) == []
        assert "used by another Workspace or RAGEngine: own" in taken.conditions[0].message

    def test_a_pod_that_has_failed_holds_no_surplus_node(self) -> None:
        """KAITO makes as many claims as `count` says, and a Deployment keeps its failed pods."""
        pods = (ragengines.a_pod(ready=True), ragengines.a_pod("docs-abc-0", node="node-2"))
        ended = msgspec.structs.replace(pods[1].status, phase="Failed", reason="Evicted")
        settled = ragengines.stored(
            {"kind": "Deployment", "metadata": {"name": "docs"}, "spec": {"replicas": 1}},
            replicas=1,
            readyReplicas=1,
        )
        for status, gone in ((pods[1].status, []), (ended, ["ws2"])):
            other = msgspec.structs.replace(pods[1], status=status)
            seen = a_world(
                claims=tuple(
                    ragengines.a_claim(f"ws{each}", ordinal=each, node=f"node-{each}", ready=True)
                    for each in (1, 2)
                ),
                nodes=(ragengines.a_node(), ragengines.a_node("node-2")),
                pods=(pods[0], other),
                deployment=settled,
            )
            made = nodes(an_engine(), seen, SETTINGS)
            assert [each.name for each in made.delete] == gone

    def test_its_pod_keeps_others_away(self) -> None:
        pod = deployment(plan())["spec"]["template"]
        terms = pod["spec"]["affinity"]["podAntiAffinity"][_REQUIRED]

        def kept_away(**labels: str) -> bool:
            return any(_matches(term, labels) for term in terms)

        assert kept_away(**{"kaito.sh/workspace": "docs"})
        assert kept_away(**{**pod["metadata"]["labels"], "kaito.sh/ragengine": "other"})
        assert kept_away(**{**pod["metadata"]["labels"], "kaito.sh/ragenginenamespace": "other"})
        assert not kept_away(**pod["metadata"]["labels"])
        assert not kept_away(app="anything")


class TestStrategy:
    @pytest.mark.parametrize(
        ("given", "seen", "surge"),
        [
            pytest.param({}, {}, 1, id="a second pod beside the first"),
            pytest.param({"storage": KEPT}, {}, 1, id="two pods of one node on one claim"),
            pytest.param({"compute": TWO_GPUS}, {}, 1, id="a GPU for each"),
            pytest.param({"compute": GPU}, {}, 0, id="one GPU for both"),
            pytest.param(
                {"compute": GPU, "embedding": {"remote": {"url": "http://e.example"}}},
                {},
                1,
                id="a GPU that nobody needs",
            ),
            pytest.param(
                {"storage": KEPT},
                {"volume_claim": ragengines.a_volume_claim(mode="ReadWriteOncePod")},
                0,
                id="a claim for one pod alone",
            ),
            pytest.param(
                {"annotations": {"kaito.sh/surge": "false"}}, {}, 0, id="the user wants no second"
            ),
        ],
    )
    def test_a_second_pod_comes_up_where_it_can(
        self, given: dict[str, Any], seen: dict[str, Any], surge: int
    ) -> None:
        compute = given.get("compute", ragengines.COMPUTE)
        gpus = {"local-gpu-1": 1, "local-gpu-2": 2}.get(compute["instanceType"], 0)
        node = ragengines.a_node(instance_type=compute["instanceType"], gpus=gpus)
        seen = {"volume_claim": ragengines.a_volume_claim(), "nodes": (node,), **seen}
        found = deployment(plan(an_engine(**given), a_ready_world(**seen)))["spec"]["strategy"]
        assert found["rollingUpdate"] == {"maxSurge": surge, "maxUnavailable": 1 - surge}

    def test_what_an_object_store_alone_keeps_is_read_after_the_pod_before_has_ended(self) -> None:
        """A RollingUpdate makes the next pod while the one before still uploads."""
        made = plan(an_engine(annotations=STORE))
        spec = deployment(made)["spec"]
        assert spec["strategy"] == {"type": "Recreate"}
        assert spec["template"]["spec"]["terminationGracePeriodSeconds"] == 300
        volume = {"volume_claim": ragengines.a_volume_claim()}
        kept = plan(an_engine(annotations=STORE, storage=KEPT), a_ready_world(**volume))
        assert deployment(kept)["spec"]["strategy"]["rollingUpdate"]["maxSurge"] == 1

    def test_on_a_claim_its_pods_keep_together(self) -> None:
        seen = a_ready_world(volume_claim=ragengines.a_volume_claim())
        kept = deployment(plan(an_engine(storage=KEPT), seen))["spec"]["template"]
        (term,) = kept["spec"]["affinity"]["podAffinity"][_REQUIRED]
        assert _matches(term, kept["metadata"]["labels"])
        assert "podAffinity" not in deployment(plan())["spec"]["template"]["spec"]["affinity"]


class TestReferences:
    @pytest.mark.parametrize(
        ("given", "seen", "reason", "words"),
        [
            pytest.param(
                {"inferenceService": SERVICE},
                {"secrets": {"llm": None}},
                "SecretNotFound",
                "kubectl -n default create secret generic llm --from-literal=LLM_ACCESS_SECRET=…",
                id="no Secret",
            ),
            pytest.param(
                {"inferenceService": SERVICE},
                {"secrets": {"llm": frozenset({"key"})}},
                "SecretKeyNotFound",
                'Secret "llm" has no key LLM_ACCESS_SECRET',
                id="a Secret with another key",
            ),
            pytest.param(
                {"storage": KEPT},
                {},
                "PersistentVolumeClaimNotFound",
                'there is no PersistentVolumeClaim "indexes" in namespace "default"',
                id="no claim",
            ),
            pytest.param(
                {"guardrails": {"enabled": True, "configMapRef": {"name": "policy"}}},
                {},
                "GuardrailsPolicyNotFound",
                'there is no ConfigMap "policy"',
                id="no policy",
            ),
            pytest.param(
                {"guardrails": {"enabled": True}},
                {},
                "GuardrailsPolicyNotFound",
                "ragengine-guardrails-policy-template",
                id="no policy of the release",
            ),
            pytest.param(
                {"annotations": CHOSEN},
                {},
                "RAGSettingsNotFound",
                'there is no ConfigMap "settings" in namespace "default"; create it first',
                id="no settings",
            ),
            pytest.param(
                {"annotations": CHOSEN},
                {"settings": ragengines.some_settings(RAG_PORT="80")},
                "InvalidRAGSettings",
                'key RAG_PORT of ConfigMap "settings": cannot be set there',
                id="settings that are not its own",
            ),
            pytest.param(
                {"annotations": STORE_KEYS},
                {"secrets": {"bucket": None}},
                "SecretNotFound",
                "secret generic bucket --from-literal=AWS_ACCESS_KEY_ID=…",
                id="no Secret of the object store",
            ),
            pytest.param(
                {"annotations": STORE_KEYS},
                {"secrets": {"bucket": frozenset({"AWS_ACCESS_KEY_ID", "AWS_REGIN"})}},
                "InvalidObjectStoreSecret",
                'Secret "bucket" has AWS_REGIN, by which none is opened',
                id="a key that no object store reads",
            ),
            pytest.param(
                {"annotations": STORE_KEYS},
                {"secrets": {"bucket": frozenset()}},
                "InvalidObjectStoreSecret",
                'Secret "bucket" is empty: the object store takes AWS_ACCESS_KEY_ID',
                id="an empty Secret of the object store",
            ),
            pytest.param(
                {"annotations": {"kaito.sh/rag-reranker-secret": "rank"}},
                {"secrets": {"rank": frozenset({"key"})}},
                "SecretKeyNotFound",
                'Secret "rank" has no key RAG_RERANKER_ACCESS_SECRET',
                id="no key of the reranker",
            ),
            pytest.param(
                {"embedding": {}}, {}, "InvalidRAGEngine", "embedding", id="past the webhook"
            ),
            pytest.param(
                {},
                {"namesake": "Workspace default/docs"},
                "ServiceNameTaken",
                "create this RAGEngine anew under another name",
                id="a Workspace of its name",
            ),
        ],
    )
    def test_what_is_lacking_is_told_before_a_node_is_paid_for(
        self, given: dict[str, Any], seen: dict[str, Any], reason: str, words: str
    ) -> None:
        made = plan(an_engine(**given), a_world(**seen))
        assert made.blocked is not None
        assert (made.blocked.reason, made.create, made.apply) == (reason, (), ())
        assert words in made.blocked.message
        assert told(made, "ServiceReady") == ("False", reason)

    def test_what_was_said_of_a_node_does_not_outlive_it(self) -> None:
        was = {
            "type": "ResourceReady",
            "status": "True",
            "reason": "ragengineResourceStatusSuccess",
            "message": "",
            "lastTransitionTime": "2026-11-21T12:00:00Z",
        }
        engine = an_engine(conditions=(was,), inferenceService=SERVICE)
        for seen, expected in ((a_world(), "False"), (a_ready_world(), "True")):
            made = plan(engine, dataclasses.replace(seen, secrets={"llm": None}))
            assert made.blocked is not None
            assert made.blocked.reason == "SecretNotFound"
            assert told(made, "ResourceReady")[0] == expected
            assert (made.create, made.apply, made.delete, dict(made.annotations)) == (
                (),
                (),
                (),
                {},
            )

    def test_what_answers_goes_on_answering(self) -> None:
        seen = running(an_engine())
        edited = an_engine(inferenceService=SERVICE, generation=2)
        made = plan(edited, dataclasses.replace(seen, secrets={"llm": None}))
        assert told(made, "ServiceReady") == ("True", "RAGEngineServiceSuccess")
        assert made.apply == ()
        status = ragengine_status(edited, made, now=builders.NOW)
        assert status.state == "Ready"
        said = find_condition(status.conditions, "RAGEngineSucceeded")
        assert said is not None
        assert (said.status, said.reason) == ("False", "ragengineFailed")
        assert 'no Secret "llm"' in said.message

    def test_secrets_are_asked_for_only_where_a_new_pod_may_need_them(self) -> None:
        engine = an_engine(inferenceService=SERVICE)
        seen = running(engine, secrets={"llm": frozenset({"LLM_ACCESS_SECRET"})})
        assert references.to_ask_for(engine, a_world()) == ("llm",)
        ready = {"type": "ServiceReady", "status": "True", "observedGeneration": 1}
        calm = an_engine(inferenceService=SERVICE, conditions=(ready,))
        assert references.to_ask_for(calm, seen) == ()
        annotated = an_engine(
            inferenceService=SERVICE,
            conditions=(ready,),
            annotations={"kaito.sh/api-key-secret": "keys"},
        )
        assert references.to_ask_for(annotated, seen) == ("keys",)

    def test_the_releases_policy_is_given_to_it_and_kept_up_to_date(self) -> None:
        engine = an_engine(guardrails={"enabled": True})
        template = ragengines.a_policy("ragengine-guardrails-policy-template")
        made = plan(engine, a_ready_world(config=template))
        (copy,) = (each for each in made.apply if each["kind"] == "ConfigMap")
        assert (copy["metadata"]["name"], copy["data"]) == ("docs-guardrails", template.data)
        ours = ragengines.a_policy("docs-guardrails", owner=ragengines.UID)
        assert "ConfigMap" not in kinds(plan(engine, a_ready_world(config=template, policy=ours)))
        newer = ragengines.a_policy("template", "action: block\n")
        assert "ConfigMap" in kinds(plan(engine, a_ready_world(config=newer, policy=ours)))
        theirs = ragengines.a_policy("docs-guardrails")
        refused = plan(engine, a_ready_world(config=template, policy=theirs))
        assert refused.blocked is not None


class TestReadiness:
    def test_a_pod_that_answers(self) -> None:
        made = plan(seen=running(an_engine()))
        assert told(made, "ServiceReady") == ("True", "RAGEngineServiceSuccess")
        assert (made.apply, made.worker_nodes) == ((), ("node-1",))

    def test_while_a_change_comes_up_the_earlier_pod_answers(self) -> None:
        late = ragengines.a_pod("docs-abc-2", waiting=("ImagePullBackOff", "no such image"))
        seen = running(an_engine(), pods=(ragengines.a_pod(ready=True), late))
        found = find_condition(plan(seen=seen).conditions, "ServiceReady")
        assert found is not None
        assert found.status == "True"
        assert "the change does not come up: ImagePullError" in found.message

    @pytest.mark.parametrize("said", ["Evicted", "NodeShutdown"])
    def test_of_a_pod_that_was_replaced_nothing_is_said(self, said: str) -> None:
        """Those of a Deployment are kept by thousands once they have failed."""
        ended = ragengines.a_pod("docs-abc-0")
        status = msgspec.structs.replace(ended.status, phase="Failed", reason=said)
        ended = msgspec.structs.replace(ended, status=status)

        def message(*pods: Pod) -> str:
            seen = running(an_engine(), pods=(ended, *pods))
            live = ragengines.stored(
                {"kind": "Deployment", "metadata": {}, "spec": {}},
                observedGeneration=1,
                updatedReplicas=1,
            )
            found = service_ready(dataclasses.replace(seen, deployment=live))
            return f"{found.reason}: {found.message}"

        answers = "RAGEngineServiceSuccess: RAG engine service answers"
        assert message(ragengines.a_pod(ready=True)) == answers
        assert message(ragengines.a_pod()).startswith("RAGEngineServicePending: pod docs-abc-1")
        assert "docs-abc-0" in message()

    def test_the_first_pod_replaces_none(self) -> None:
        node = ragengines.a_node(instance_type="local-gpu-1", gpus=1)
        engine = an_engine(compute=GPU)
        going = ragengines.a_pod("docs-abc-0")
        meta = msgspec.structs.replace(going.metadata, deletion_timestamp=builders.NOW)
        going = msgspec.structs.replace(going, metadata=meta)
        for pods, replaced in (((), False), ((going,), True)):
            seen = running(engine, nodes=(node,), pods=(*pods, ragengines.a_pod()))
            found = find_condition(plan(engine, seen).conditions, "ServiceReady")
            assert found is not None
            assert ("replaced in place" in found.message) == replaced

    def test_a_pod_that_cannot_be_made(self) -> None:
        """As Pod Security refuses one with a directory of its node."""
        engine = an_engine()
        refused = {
            "type": "ReplicaFailure",
            "status": "True",
            "reason": "FailedCreate",
            "message": 'pods "docs-1" is forbidden: violates PodSecurity "baseline:latest"',
        }
        for pods, status in (((), "False"), ((ragengines.a_pod(ready=True),), "True")):
            seen = running(engine, pods=pods)
            assert seen.deployment is not None
            live = msgspec.structs.replace(seen.deployment, status={"conditions": [refused]})
            made = plan(engine, dataclasses.replace(seen, deployment=live))
            found = find_condition(made.conditions, "ServiceReady")
            assert found is not None
            assert found.status == status
            assert "violates PodSecurity" in found.message
            assert "PodCreationFailed" in (found.message if pods else found.reason)

    @pytest.mark.parametrize(
        ("pod", "reason"),
        [
            pytest.param(ragengines.a_pod(), "RAGEngineServicePending", id="it restores"),
            pytest.param(ragengines.a_pod(node=""), "RAGEngineServicePending", id="no node yet"),
            pytest.param(
                ragengines.a_pod(waiting=("ImagePullBackOff", "no")), "ImagePullError", id="image"
            ),
            pytest.param(
                ragengines.a_pod(waiting=("CrashLoopBackOff", "")),
                "ContainerCrashLoopBackOff",
                id="it ends again and again",
            ),
            pytest.param(
                ragengines.a_pod(
                    node="",
                    conditions=(
                        Condition(
                            type="PodScheduled",
                            status="False",
                            reason="Unschedulable",
                            message="0/1 nodes are available",
                        ),
                    ),
                ),
                "Unschedulable",
                id="no room",
            ),
        ],
    )
    def test_why_none_answers(self, pod: Any, reason: str) -> None:
        engine = an_engine()
        made = plan(engine, running(engine, pods=(pod,)))
        assert told(made, "ServiceReady") == ("False", reason)
        status = ragengine_status(engine, made, now=builders.NOW)
        failed = find_condition(status.conditions, "RAGEngineServiceReady")
        pending = reason == "RAGEngineServicePending"
        assert (failed is None) == pending
        assert status.state == "Pending"
        sum_ = find_condition(status.conditions, "RAGEngineSucceeded")
        assert sum_ is not None
        assert sum_.reason == ("ragenginePending" if pending else "ragengineFailed")


class TestEdits:
    def test_one_that_changes_nothing_applies_nothing(self) -> None:
        assert plan(seen=running(an_engine())).apply == ()

    @pytest.mark.parametrize(
        ("storage", "type_", "words"),
        [
            pytest.param(KEPT, "Normal", "embeds all indexes anew", id="files"),
            pytest.param(QDRANT, "Warning", "refuses it until it is deleted", id="database"),
            pytest.param(None, "Normal", "another model embeds", id="nothing is kept"),
        ],
    )
    def test_what_another_model_does_to_indexes(
        self, storage: Manifest | None, type_: str, words: str
    ) -> None:
        given = {"volume_claim": ragengines.a_volume_claim()}
        kept = {"storage": storage} if storage else {}
        other = {"embedding": {"local": {"modelID": "BAAI/bge-small-en-v1.5"}}}
        made = plan(an_engine(**kept, **other), running(an_engine(**kept), **given))
        event = made.events[0]
        assert (event.type, event.reason) == (type_, "EmbeddingChanged")
        assert event.message.endswith(words) if storage is None else words in event.message

    def test_other_settings_are_another_pod(self) -> None:
        engine = an_engine(annotations=CHOSEN, storage=KEPT)
        claim = ragengines.a_volume_claim()
        before = running(
            engine, volume_claim=claim, settings=ragengines.some_settings(RAG_LOG_LEVEL="debug")
        )
        assert plan(engine, before).apply == ()
        for data, reasons in (
            ({"RAG_LOG_LEVEL": "info"}, []),
            ({}, []),
            ({"RAG_LOG_LEVEL": "debug", "REMOTE_EMBEDDING_MODEL": "m"}, ["EmbeddingChanged"]),
        ):
            seen = dataclasses.replace(before, settings=ragengines.some_settings(**data))
            made = plan(engine, seen)
            (container,) = deployment(made)["spec"]["template"]["spec"]["containers"]
            told = {each["name"]: each.get("value") for each in container["env"]}
            assert data.items() <= told.items()
            assert ("RAG_LOG_LEVEL" in told) == ("RAG_LOG_LEVEL" in data)
            assert [each.reason for each in made.events] == reasons

    def test_volumes_come_later_too(self) -> None:
        """Upstream brings only the environment up to date."""
        seen = running(an_engine())
        policy = {"guardrails": {"enabled": True, "configMapRef": {"name": "policy"}}}
        engine = an_engine(storage=KEPT, **policy)
        seen = dataclasses.replace(
            seen, volume_claim=ragengines.a_volume_claim(), config=ragengines.a_policy()
        )
        pod = deployment(plan(engine, seen))["spec"]["template"]["spec"]
        volumes = {each["name"]: each for each in pod["volumes"]}
        assert volumes["indexes"]["persistentVolumeClaim"] == {"claimName": "indexes"}
        assert volumes["guardrails"]["configMap"] == {"name": "policy"}

    @pytest.mark.parametrize(
        ("before", "after", "events"),
        [
            pytest.param({"storage": KEPT}, {"storage": KEPT}, [], id="none"),
            pytest.param(
                {"storage": KEPT},
                {"storage": KEPT, "embedding": {"local": {"modelID": "BAAI/bge-small-en-v1.5"}}},
                ["EmbeddingChanged"],
                id="another model",
            ),
            pytest.param({"storage": KEPT}, {}, ["StorageChanged"], id="the claim is left"),
            pytest.param({}, {"inferenceService": SERVICE}, ["IndexesNotKept"], id="kept nowhere"),
            pytest.param(
                {"annotations": STORE},
                {"annotations": STORE, "inferenceService": SERVICE},
                ["ServiceGap"],
                id="an object store alone",
            ),
            pytest.param(
                {"annotations": STORE},
                {"annotations": {"kaito.sh/rag-object-store": "gs://other"}},
                ["StorageChanged", "ServiceGap"],
                id="another object store",
            ),
            pytest.param(
                {"annotations": STORE, "storage": KEPT},
                {"storage": KEPT},
                [],
                id="a copy elsewhere, of what a claim keeps",
            ),
            pytest.param(
                {"storage": KEPT, "compute": GPU},
                {"storage": KEPT, "compute": GPU, "inferenceService": SERVICE},
                ["ServiceGap"],
                id="one GPU",
            ),
            pytest.param(
                {"storage": KEPT, "inferenceService": SERVICE},
                {"storage": KEPT},
                [],
                id="less than before, on a claim",
            ),
        ],
    )
    def test_what_they_bring_about_is_told(
        self, before: dict[str, Any], after: dict[str, Any], events: list[str]
    ) -> None:
        gpu = "compute" in before
        node = (
            ragengines.a_node(instance_type="local-gpu-1", gpus=1) if gpu else ragengines.a_node()
        )
        given = {"volume_claim": ragengines.a_volume_claim(), "nodes": (node,)}
        made = plan(an_engine(**after), running(an_engine(**before), **given))
        assert [each.reason for each in made.events] == events
        assert bool(made.apply) == (before != after)


def test_conditions_are_in_upstreams_words() -> None:
    engine = an_engine()
    claim = ragengines.a_claim("ws1", launched=("Unknown", "QuotaExceeded", "24 more cores"))
    for seen, expected in (
        (a_world(), ("Unknown", "CreateNodeClaimPending", "0 of 1 NodeClaims are ready")),
        (
            a_world(claims=(claim,)),
            ("False", "checkNodeClaimStatusFailed", "QuotaExceeded: 24 more cores"),
        ),
        (a_ready_world(), ("True", "installNodePluginsSuccess", "Enough NodeClaims are ready")),
    ):
        status = ragengine_status(engine, plan(engine, seen), now=builders.NOW)
        found = find_condition(status.conditions, "NodeClaimReady")
        assert found is not None
        assert (found.status, found.reason, found.message) == expected
        resource = find_condition(status.conditions, "ResourceReady")
        assert resource is not None
        ready = expected[0] == "True"
        assert resource.reason == (
            "ragengineResourceStatusSuccess" if ready else "ragengineResourceStatusFailed"
        )


def test_a_refusal_is_told_where_it_belongs() -> None:
    engine = an_engine()
    for seen, kind, reason in (
        (a_world(), "NodeClaimReady", "nodeClaimFailedCreation"),
        (a_ready_world(), "RAGEngineSucceeded", "ragEngineFailed"),
    ):
        made = plan(engine, seen)
        status = ragengine_status(engine, made, error="403 Forbidden: no", now=builders.NOW)
        found = find_condition(status.conditions, kind)
        assert found is not None
        assert found.reason == reason
        assert "(last reconcile error: 403 Forbidden: no)" in found.message


def test_a_failure_that_is_over_is_no_more() -> None:
    failed = {"type": "RAGEngineServiceReady", "status": "False", "reason": "x", "message": ""}
    engine = an_engine(conditions=(failed,), state="NotReady")
    status = ragengine_status(engine, plan(engine, running(engine)), now=builders.NOW)
    assert find_condition(status.conditions, "RAGEngineServiceReady") is None
    assert status.state == "Ready"
    assert status.endpoint == "http://docs.default.svc.cluster.local"


_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def _of_cloud() -> dict[str, str]:
    return dict(SETTINGS.cloud.labels)


def _ready_class(name: str) -> Unstructured:
    ready = {"type": "Ready", "status": "True", "reason": "Ready", "message": ""}
    return ragengines.stored({"metadata": {"name": name}, "spec": {}}, conditions=[ready])


def _matches(term: Manifest, labels: dict[str, str]) -> bool:
    """As the scheduler compares them."""
    selector = term["labelSelector"]
    if not selector.get("matchLabels", {}).items() <= labels.items():
        return False
    for each in selector.get("matchExpressions", []):
        value = labels.get(each["key"])
        if each["operator"] == "Exists" and value is None:
            return False
        if each["operator"] == "NotIn" and value in each["values"]:
            return False
    return True
