"""Values that are parts of Kubernetes' objects: a misspelt field is refused, none of theirs is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes.client import models

from tests.conformance.charts.rendering import CHARTS, LOCAL, Object, refusal, render

BOTH = ("gpu-provisioner", "workspace")

TYPES = {
    "affinity": "V1Affinity",
    "deploymentStrategy": "V1DeploymentStrategy",
    "env": "V1EnvVar",
    "envFrom": "V1EnvFromSource",
    "labelSelector": "V1LabelSelector",
    "networkPolicyEgressRule": "V1NetworkPolicyEgressRule",
    "networkPolicyPeer": "V1NetworkPolicyPeer",
    "nodeAffinity": "V1NodeAffinity",
    "nodeSelectorRequirement": "V1NodeSelectorRequirement",
    "nodeSelectorTerm": "V1NodeSelectorTerm",
    "podAffinity": "V1PodAffinity",
    "podAffinityTerm": "V1PodAffinityTerm",
    "podDNSConfig": "V1PodDNSConfig",
    "podSecurityContext": "V1PodSecurityContext",
    "policyRule": "V1PolicyRule",
    "profile": "V1SeccompProfile",
    "resources": "V1ResourceRequirements",
    "seLinuxOptions": "V1SELinuxOptions",
    "securityContext": "V1SecurityContext",
    "toleration": "V1Toleration",
    "topologySpreadConstraint": "V1TopologySpreadConstraint",
    "volumeMount": "V1VolumeMount",
    "windowsOptions": "V1WindowsSecurityContextOptions",
}
"""Of each definition, the type in Kubernetes' client, which is made of its OpenAPI."""
_OURS = {"quantity", "quantities"}


def definitions(chart: str) -> Object:
    schema = json.loads((CHARTS / chart / "values.schema.json").read_text())
    found: Object = schema["$defs"]
    return found


def _complete(schema: Object, type_: str) -> Iterator[str]:
    """Where the definition has other fields than the type, down to where another one begins."""
    of = getattr(models, type_)
    fields = {json_: of.openapi_types[name] for name, json_ in of.attribute_map.items()}
    if set(fields) != set(schema["properties"]):
        yield f"{type_}: {sorted(set(fields) ^ set(schema['properties']))}"
    for name, inside in schema["properties"].items():
        inside = inside.get("items", inside)
        if "properties" in inside:
            yield from _complete(inside, fields[name].removeprefix("List[").removesuffix("]"))


@pytest.mark.parametrize("chart", BOTH)
def test_the_definitions_have_all_fields_of_their_types(chart: str) -> None:
    assert set(definitions(chart)) - _OURS <= set(TYPES)
    wrong = [
        each
        for name, schema in definitions(chart).items()
        if name not in _OURS
        for each in _complete(schema, TYPES[name])
    ]
    assert wrong == []


def test_both_charts_mean_the_same_by_a_name() -> None:
    provisioner, workspace = (definitions(chart) for chart in BOTH)
    assert {name: provisioner[name] for name in workspace} == workspace


AT = [
    ("/podSecurityContext", {"podSecurityContext": {"runAsNonRot": True}}),
    ("/podSecurityContext/seccompProfile", {"podSecurityContext": {"seccompProfile": {"typ": ""}}}),
    ("/tolerations/0", {"tolerations": [{"keyy": "x"}]}),
    (
        "/topologySpreadConstraints/0",
        {
            "topologySpreadConstraints": [
                {
                    **{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"},
                    "labelSelecter": {},
                }
            ]
        },
    ),
    ("/affinity", {"affinity": {"nodeAfinity": {}}}),
    ("/affinity/podAntiAffinity", {"affinity": {"podAntiAffinity": {"required": []}}}),
    ("/networkPolicy/metricsFrom/0", {"networkPolicy": {"metricsFrom": [{"podSelectr": {}}]}}),
    ("/networkPolicy/egress/extra/0", {"networkPolicy": {"egress": {"extra": [{"from": []}]}}}),
]
ONLY_WORKSPACE = [
    ("/resources", {"resources": {"requets": {"cpu": 1}}}),
    ("/securityContext", {"securityContext": {"readOnly": True}}),
    ("/deploymentStrategy", {"deploymentStrategy": {"rolingUpdate": {}}}),
    ("/env/0", {"env": [{"name": "A", "valu": "b"}]}),
    ("/endpointNetworkPolicy/from/0", {"endpointNetworkPolicy": {"from": [{"foo": "b"}]}}),
    (
        "/endpointNetworkPolicy/from/0/podSelector",
        {"endpointNetworkPolicy": {"from": [{"podSelector": {"matchLabel": {}}}]}},
    ),
]
ONLY_PROVISIONER: list[tuple[str, Object]] = [
    ("/controller/resources", {"controller": {"resources": {"limit": {}}}}),
    ("/controller/securityContext", {"controller": {"securityContext": {"runAs": 1}}}),
    (
        "/controller/env/0/valueFrom",
        {"controller": {"env": [{"name": "A", "valueFrom": {"s": 1}}]}},
    ),
    ("/controller/envFrom/0/secretRef", {"controller": {"envFrom": [{"secretRef": {"nam": "s"}}]}}),
    ("/strategy", {"strategy": {"rolling": {}}}),
    ("/dnsConfig", {"dnsConfig": {"nameserver": []}}),
    ("/additionalClusterRoleRules/0", {"additionalClusterRoleRules": [{"verbs": [], "verb": ""}]}),
    (
        "/extraVolumeMounts/0",
        {"extraVolumeMounts": [{"name": "a", "mountPath": "/a", "readonly": True}]},
    ),
]
MISSPELT = [
    *(pytest.param("workspace", *each, id=f"workspace{each[0]}") for each in AT + ONLY_WORKSPACE),
    *(
        pytest.param("gpu-provisioner", place, {**LOCAL, **values}, id=f"provisioner{place}")
        for place, values in AT + ONLY_PROVISIONER
    ),
]


@pytest.mark.parametrize(("chart", "place", "values"), MISSPELT)
def test_a_misspelt_field_is_refused_where_it_stands(
    chart: str, place: str, values: Object
) -> None:
    said = refusal(chart, values)
    assert f"at '{place}': additional properties" in said


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"resources": {"limits": {"memory": "5QQ"}}}, "at '/resources/limits/memory': '5QQ' does"),
        ({"resources": {"limits": {"cpu": -1}}}, "at '/resources/limits/cpu': minimum: got -1"),
        ({"resources": {"limits": ["cpu"]}}, "at '/resources/limits': got array, want object"),
        (
            {"tolerations": [{"operator": "exists"}]},
            "at '/tolerations/0/operator': value must be one of '', 'Exists', 'Equal'",
        ),
        (
            {
                "topologySpreadConstraints": [
                    {"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "Maybe"}
                ]
            },
            "whenUnsatisfiable': value must be one of 'DoNotSchedule', 'ScheduleAnyway'",
        ),
        ({"env": [{"name": "A", "value": 1}]}, "at '/env/0/value': got number, want string"),
    ],
)
def test_a_value_that_kubernetes_would_refuse(values: Object, sentence: str) -> None:
    assert sentence in refusal("workspace", values)


@pytest.mark.parametrize("quantity", ["1", 1, 0.5, "500m", "1.5", ".5", "2Gi", "1e3", "128974848"])
def test_a_quantity_as_kubernetes_writes_it(quantity: Any) -> None:
    values = {"resources": {"limits": {"memory": quantity, "example.com/gpu": 1}}}
    assert render("workspace", values)


def test_what_kubernetes_takes_is_taken() -> None:
    """Each setting once, with what the defaults do not have."""
    term = {"topologyKey": "zone", "labelSelector": {"matchLabels": {"a": "b"}}}
    values: Object = {
        "resources": {"claims": [{"name": "gpu", "request": "one"}]},
        "podSecurityContext": {"supplementalGroups": [1], "sysctls": [{"name": "a", "value": "1"}]},
        "securityContext": {"procMount": "Default", "capabilities": {"add": ["NET_BIND_SERVICE"]}},
        "tolerations": [{"key": "a", "operator": "Gt", "value": "1", "tolerationSeconds": 3}],
        "topologySpreadConstraints": [
            {
                **{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"},
                **{"minDomains": 2, "nodeTaintsPolicy": "Honor", "matchLabelKeys": ["a"]},
            }
        ],
        "affinity": {
            "podAntiAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {"weight": 1, "podAffinityTerm": term}
                ],
                "requiredDuringSchedulingIgnoredDuringExecution": [term],
            }
        },
        "deploymentStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%"}},
        "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
        "endpointNetworkPolicy": {
            "enabled": True,
            "from": [
                {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}},
                {"podSelector": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}},
            ],
        },
    }
    assert render("workspace", values)
