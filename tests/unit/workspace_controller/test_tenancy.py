"""What a namespace may have: ResourceQuotas worked out, and who reaches an endpoint."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from kube.meta import Manifest, ObjectMeta
from kube.objects import LimitRange, ResourceQuota, Unstructured
from tests import builders, ragengines
from tests.builders import a_claim, a_node, a_pod, a_stateful_set, a_workspace, a_world
from workspace_controller.manifests import networkpolicy
from workspace_controller.ragengine.plan import make_plan as engine_plan
from workspace_controller.settings import SettingsError, process
from workspace_controller.tenancyisolation import to_ask_for
from workspace_controller.tenancyquotas import Wanted, lack
from workspace_controller.workspace.plan import make_plan
from workspace_controller.workspace.rollout import SURGING

GOLDEN = Path(__file__).parents[2] / "golden" / "tenants"
SETTINGS = builders.settings()
GPU = {"limits": {"nvidia.com/gpu": "2"}}
MONITORING: Manifest = {
    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}},
    "podSelector": {"matchLabels": {"app.kubernetes.io/name": "prometheus"}},
}


def pod(*resources: Manifest, **more: Any) -> Manifest:
    return {"containers": [{"name": "a", "resources": each} for each in resources], **more}


def quota(used: dict[str, str] | None = None, *, scopes: Any = (), **hard: str) -> ResourceQuota:
    """`gpu` stands for requests.nvidia.com/gpu."""
    names = {"gpu": "requests.nvidia.com/gpu"}
    spelled = {names.get(name, name.replace("_", ".")): amount for name, amount in hard.items()}
    return msgspec.convert(
        {
            "metadata": {"name": "team", "namespace": "default"},
            "spec": {"hard": spelled, **({"scopes": scopes} if scopes else {})},
            "status": {"hard": spelled, "used": used or {}},
        },
        ResourceQuota,
    )


@pytest.mark.parametrize(
    ("template", "pods", "found", "never"),
    [
        pytest.param(pod(GPU), 1, quota(gpu="2"), None, id="just enough"),
        pytest.param(pod(GPU), 2, quota(gpu="2"), True, id="two pods"),
        pytest.param(pod(GPU, GPU), 1, quota(gpu="3"), True, id="two containers"),
        pytest.param(
            pod(GPU), 1, quota({"requests.nvidia.com/gpu": "1"}, gpu="2"), False, id="one is used"
        ),
        pytest.param(pod(GPU), 0, quota(gpu="0"), None, id="nothing is still to be made"),
        pytest.param(pod({}), 3, quota(pods="2"), True, id="pods"),
        pytest.param(pod({}), 3, quota(**{"count/pods": "3"}), None, id="pods, as objects"),
        pytest.param(pod({}), 1, quota(limits_cpu="9"), True, id="what must be said and is not"),
        pytest.param(pod({"limits": {"cpu": "1"}}), 1, quota(cpu="500m"), True, id="by its limit"),
        pytest.param(
            pod({"requests": {"memory": "1Gi"}}), 1, quota(memory="1024Mi"), None, id="units"
        ),
        pytest.param(pod(GPU), 1, quota(gpu="0", scopes=["BestEffort"]), None, id="other pods"),
        pytest.param(pod(GPU), 1, quota(gpu="0", scopes=["NotTerminating"]), True, id="such pods"),
        pytest.param(pod(GPU), 1, quota(gpu="0", scopes=["Strange"]), None, id="unknown scope"),
        pytest.param(
            pod(GPU, initContainers=[{"resources": {"limits": {"nvidia.com/gpu": "3"}}}]),
            1,
            quota(gpu="2"),
            True,
            id="before the others",
        ),
    ],
)
def test_a_quota_is_worked_out_as_the_api_server_does(
    template: Manifest, pods: int, found: ResourceQuota, never: bool | None
) -> None:
    said = lack(Wanted(template, pods), [found], [])
    assert (said.never if said else None) is never
    if said:
        assert 'ResourceQuota "team" of namespace "default"' in said.message
        assert "kubectl -n default edit resourcequota team" in said.message


def test_a_limit_range_says_what_the_pod_does_not() -> None:
    limits: Any = {"type": "Container", "default": {"cpu": "2"}, "defaultRequest": {"cpu": "1"}}
    given = msgspec.convert({"spec": {"limits": [limits]}}, LimitRange)
    wanted = Wanted(pod(GPU), 1)
    assert lack(wanted, [quota(limits_cpu="2", requests_cpu="1")], [given]) is None
    assert lack(wanted, [quota(limits_cpu="1")], [given]) is not None


def test_priority_classes_are_told_apart() -> None:
    expressions = [{"scopeName": "PriorityClass", "operator": "In", "values": ["low"]}]
    found = msgspec.convert(
        {"spec": {"hard": {"pods": "0"}, "scopeSelector": {"matchExpressions": expressions}}},
        ResourceQuota,
    )
    assert lack(Wanted(pod({}), 1), [found], []) is None
    assert lack(Wanted(pod({}, priorityClassName="low"), 1), [found], []) is not None


def test_other_objects_are_counted() -> None:
    found = quota(**{"count/statefulsets.apps": "0"})
    assert lack(Wanted(pod({}), 0, {"count/statefulsets.apps": 1}), [found], []) is not None


def test_an_engine_without_room_asks_for_no_node() -> None:
    full = (quota(pods="0"),)
    plan = engine_plan(ragengines.an_engine(), ragengines.a_world(resource_quotas=full), SETTINGS)
    assert not any(each["kind"] == "NodeClaim" for each in plan.create)
    assert plan.waits_for == "ResourceQuotaExceeded"


def test_without_room_for_a_second_pod_the_first_is_replaced_in_place() -> None:
    ready = a_pod(ready=True, phase="Running", conditions=())
    full = quota({"pods": "1"}, pods="1")
    seen = a_world(
        claims=(a_claim("ws1", node="node-1", ready=True),),
        nodes=(a_node(),),
        stateful_set=a_stateful_set(template={"spec": {"containers": []}}),
        pods=(ready,),
    )
    surging = make_plan(a_workspace(), seen, SETTINGS)
    in_place = make_plan(
        a_workspace(), dataclasses.replace(seen, resource_quotas=(full,)), SETTINGS
    )

    def replicas(plan: Any) -> int:
        return next(e["spec"]["replicas"] for e in plan.apply if e["kind"] == "StatefulSet")

    assert SURGING
    assert (replicas(surging), replicas(in_place)) == (2, 1)


@pytest.mark.parametrize("name", ["endpoint-alone", "endpoint-scraped", "endpoint-of-a-ragengine"])
def test_policies_are_as_the_golden_file_shows_them(name: str) -> None:
    owner: Any = ragengines.an_engine() if "ragengine" in name else a_workspace()
    beside = (MONITORING,) if name == "endpoint-scraped" else ()
    made = networkpolicy.network_policy(owner, beside)
    assert made == yaml.safe_load((GOLDEN / f"{name}.yaml").read_text())


def test_a_policy_of_somebody_else_is_not_taken_away() -> None:
    theirs = Unstructured(metadata=ObjectMeta(name="falcon-endpoint", namespace="default"))
    plan = make_plan(a_workspace(), a_world(policy=theirs), SETTINGS)
    assert not any(each.resource.kind == "NetworkPolicy" for each in plan.delete)


def test_a_policy_of_somebody_else_is_not_written_over() -> None:
    theirs = Unstructured(metadata=ObjectMeta(name="falcon-endpoint", namespace="default"))
    isolating = dataclasses.replace(SETTINGS, endpoint_peers=())
    seen = a_world(policy=theirs)
    plans = (
        make_plan(a_workspace(), seen, isolating),
        engine_plan(ragengines.an_engine(), ragengines.a_world(network_policy=theirs), isolating),
    )
    for plan in plans:
        assert not any(each["kind"] == "NetworkPolicy" for each in plan.apply)
        assert not any(each["kind"] == "NodeClaim" for each in plan.create)
        assert plan.blocked is not None
        assert plan.blocked.look_again is not None
        assert 'NetworkPolicy "falcon-endpoint" exists and is not this' in plan.blocked.message
    assert make_plan(a_workspace(), seen, SETTINGS).blocked is None, "it is off"


def test_what_serves_is_not_called_unready_for_a_policy_of_somebody_else() -> None:
    theirs = Unstructured(metadata=ObjectMeta(name="falcon-endpoint", namespace="default"))
    ready = a_pod(ready=True, phase="Running")
    seen = a_world(policy=theirs, stateful_set=a_stateful_set(), pods=(ready,))
    plan = make_plan(a_workspace(), seen, dataclasses.replace(SETTINGS, endpoint_peers=()))
    assert {each.type: each.status for each in plan.conditions} == {
        "InferenceReady": "True",
        "ResourceReady": "False",
    }


@pytest.mark.parametrize(
    ("live", "asked"),
    [pytest.param(False, "falcon-endpoint", id="none is seen"), pytest.param(True, "", id="one")],
)
def test_only_where_no_policy_is_seen_the_api_server_is_asked(live: bool, asked: str) -> None:
    found = Unstructured(metadata=ObjectMeta(name="falcon-endpoint")) if live else None
    isolating = dataclasses.replace(SETTINGS, endpoint_peers=())
    assert to_ask_for(a_workspace(), found, isolating) == asked
    assert to_ask_for(a_workspace(), found, SETTINGS) == ""


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        pytest.param("DEFAULT_GPU_QUOTA", "many", "a whole number", id="quota"),
        pytest.param("DEFAULT_GPU_QUOTA", "-1", "a whole number", id="negative"),
        pytest.param("ENDPOINT_NETWORK_POLICY", "{", "is no JSON", id="no JSON"),
        pytest.param("ENDPOINT_NETWORK_POLICY", "{}", "is no list", id="no list"),
        pytest.param("ENDPOINT_NETWORK_POLICY", "[{}]", "[0] is empty", id="everybody"),
        pytest.param("ENDPOINT_NETWORK_POLICY", '[{"podSelectr":{}}]', "podSelectr", id="misspelt"),
        pytest.param("ENDPOINT_NETWORK_POLICY", '[{"ipBlock":{}}]', "without cidr", id="no CIDR"),
    ],
)
def test_settings_that_cannot_be_name_the_variable(name: str, text: str, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        process({name: text})
    assert name in str(caught.value)
    assert words in str(caught.value)


def test_settings_off_and_on() -> None:
    assert process({}).gpu_quota is None
    assert process({}).endpoint_peers is None
    told = process({"DEFAULT_GPU_QUOTA": "0", "ENDPOINT_NETWORK_POLICY": "[]"})
    assert (told.gpu_quota, told.endpoint_peers) == (0, ())


def write() -> None:
    """The golden files, to be read line by line."""
    for name in ("endpoint-alone", "endpoint-scraped", "endpoint-of-a-ragengine"):
        owner: Any = ragengines.an_engine() if "ragengine" in name else a_workspace()
        beside = (MONITORING,) if name == "endpoint-scraped" else ()
        made = networkpolicy.network_policy(owner, beside)
        text = yaml.dump(msgspec.json.decode(msgspec.json.encode(made)), sort_keys=False)
        (GOLDEN / f"{name}.yaml").write_text(text)
