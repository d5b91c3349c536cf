"""Wrong values are refused, and what helm then prints can be read as a sentence."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.charts.rendering import (
    CHARTS,
    KUBE_VERSION,
    LOCAL,
    NAMES,
    VALUES_FILES,
    Object,
    environment,
    helm,
    refusal,
    render,
)

_KEYWORDS = {
    *("additionalProperties", "description", "enum", "items", "maximum", "minimum"),
    *("properties", "required", "title", "type", "uniqueItems", "$schema", "$defs", "$ref"),
}
"""helm turns these into sentences, with the value's path: "at '/replicas': got string, want
integer". Of `pattern` it shows the pattern, which of a quantity can be read; of `if`, `oneOf` and
`minLength` riddles."""

ROLLING = {"leaderElect": False, "replicaCount": 2}
CERT_MANAGER = {"enabled": True}
WITHOUT_LEADER = [{"name": "LEADER_ELECT", "value": "false"}]
NO_FLAG = [{"name": "LEADER_ELECT", "value": "0"}]


@pytest.mark.parametrize(
    ("chart", "values", "sentence"),
    [
        pytest.param("workspace", {"presetRegistry": "x"}, "'presetRegistry' not allowed", id="no"),
        pytest.param(
            "gpu-provisioner",
            {**LOCAL, "controller": {"imge": {}}},
            "at '/controller': additional properties 'imge' not allowed",
            id="misspelt-inside",
        ),
        pytest.param(
            "workspace",
            {"featureGates": {"vllm": True}},
            "at '/featureGates': additional properties 'vllm' not allowed",
            id="unknown-gate",
        ),
        pytest.param(
            "workspace",
            {"nodeProvisioner": "magic"},
            "at '/nodeProvisioner': value must be one of 'nodeclaim', 'azure-gpu-provisioner'",
            id="unknown-provisioner",
        ),
        pytest.param(
            "gpu-provisioner",
            {},
            "at '/cloudProviderName': value must be one of 'arc', 'aws'",
            id="no-cloud",
        ),
        pytest.param(
            "workspace", {"tracing": {"sampleRatio": 2}}, "maximum: got 2, want 1", id="too-much"
        ),
        pytest.param(
            "workspace",
            {"gpuQuota": {"default": "many"}},
            "at '/gpuQuota/default': got string, want integer or null",
            id="no-number",
        ),
        pytest.param(
            "workspace", {"imagePullSecrets": [{}]}, "missing property 'name'", id="no-name"
        ),
    ],
)
def test_the_schema_refuses(chart: str, values: Object, sentence: str) -> None:
    said = refusal(chart, values)
    assert "don't meet the specifications of the schema" in said
    # helm's own order of alternatives
    assert sentence in said or sentence.replace("integer or null", "null or integer") in said


@pytest.mark.parametrize(
    ("chart", "values", "sentence"),
    [
        pytest.param(
            "gpu-provisioner",
            {"cloudProviderName": "local"},
            '- localMachines.url is ""; cloudProviderName local needs the address of the machines',
            id="no-address",
        ),
        pytest.param(
            "gpu-provisioner",
            {**LOCAL, "localMachines": {"url": "http://a", "tokenSecret": {"name": ""}}},
            "- localMachines.tokenSecret.name is empty; cloudProviderName local needs the Secret",
            id="no-token",
        ),
        pytest.param(
            "gpu-provisioner",
            {"cloudProviderName": "gcp", "settings": {"gcp": {"project": "p", "location": "l"}}},
            "- settings.gcp.clusterName is missing; cloudProviderName gcp needs it",
            id="no-cluster",
        ),
        pytest.param(
            "gpu-provisioner",
            {**LOCAL, "nodeClasses": ["EC2NodeClass"]},
            '- nodeClasses has "EC2NodeClass"; write Kind.group, such as',
            id="no-group",
        ),
        pytest.param(
            "gpu-provisioner",
            {**LOCAL, "controller": {"leaderElect": False}},
            "- controller.leaderElect is false with replicas 2; without a leader all of them would",
            id="two-workers",
        ),
        pytest.param(
            "workspace",
            ROLLING,
            "- leaderElect is false with replicaCount 2; without a leader all of them would ask",
            id="two-controllers",
        ),
        pytest.param(
            "gpu-provisioner",
            {**LOCAL, "controller": {"env": [{"name": "LEADER_ELECT", "value": "false"}]}},
            '- controller.env has LEADER_ELECT="false" with replicas 2; without a leader all',
            id="two-workers-by-the-environment",
        ),
        pytest.param(
            "workspace",
            {"env": [{"name": "LEADER_ELECT", "value": "False"}]},
            '- env has LEADER_ELECT="False" with replicaCount 2; without a leader all of them',
            id="two-controllers-by-the-environment",
        ),
        pytest.param(
            "gpu-provisioner",
            {**LOCAL, "replicas": 1, "controller": {"env": NO_FLAG}},
            '- controller.env has LEADER_ELECT="0"; the program takes true or false, and would end',
            id="no-flag",
        ),
        pytest.param(
            "workspace",
            {"replicaCount": 1, "env": [{"name": "WEBHOOK", "value": "off"}]},
            '- env has WEBHOOK="off"; the program takes true or false, and would end at once',
            id="no-flag-of-the-workspaces",
        ),
        pytest.param(
            "workspace",
            {"karpenterProvider": "azur"},
            '- karpenterProvider is "azur"; write one of karpenterProviders: aws, azure, gcp, kait',
            id="no-provider",
        ),
        pytest.param(
            "gpu-provisioner",
            {**LOCAL, "terminationGracePeriodSeconds": 22},
            "- terminationGracePeriodSeconds is 22; write more than 22: reconciles have 20 s",
            id="killed-at-work",
        ),
        pytest.param(
            "workspace",
            {"terminationGracePeriodSeconds": 27},
            "- terminationGracePeriodSeconds is 27; write more than 27: reconciles have 20 s",
            id="killed-while-it-answers",
        ),
        pytest.param(
            "workspace",
            {"env": [{"name": "SHUTDOWN_DELAY", "value": "20"}]},
            "- terminationGracePeriodSeconds is 30; write more than 42: reconciles have 20 s",
            id="a-longer-delay",
        ),
        pytest.param(
            "workspace",
            {"image": {"repository": "Foo Bar"}},
            '- image.repository is "Foo Bar"; write registry and path, such as registry.example/',
            id="no-image",
        ),
        pytest.param(
            "gpu-provisioner",
            {**LOCAL, "controller": {"image": {"repository": "r.example/c", "tag": "a b"}}},
            '- controller.image.tag is "a b"; write at most 128 letters, digits,',
            id="no-tag",
        ),
        pytest.param(
            "workspace",
            {"presetRegistryName": "https://registry.example"},
            '- presetRegistryName is "https://registry.example"; write the registry and path of',
            id="no-registry",
        ),
        pytest.param(
            "workspace",
            {"priorityClassName": "A_B"},
            '- priorityClassName is "A_B"; write the name of a PriorityClass, lower-case letters,',
            id="no-class",
        ),
        pytest.param(
            "workspace",
            {"endpointNetworkPolicy": {"enabled": True, "from": [{}]}},
            "- endpointNetworkPolicy.from has an empty entry, which would be nobody; give it a",
            id="nobody",
        ),
        pytest.param(
            "workspace",
            {
                "endpointNetworkPolicy": {
                    "enabled": True,
                    "from": [{"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}],
                }
            },
            "- endpointNetworkPolicy.from has an ipBlock beside a selector; make two entries of it",
            id="an-address-that-is-a-pod",
        ),
        pytest.param(
            "workspace",
            {"metrics": {"port": 9443}},
            "- webhook.port is 9443, which is metrics.port already; a pod needs a port for each.",
            id="one-port-twice",
        ),
        pytest.param(
            "workspace",
            {"webhook": {"caBundle": "Q0E="}},
            "- webhook.caBundle is given without webhook.certSecretName; the controller's own",
            id="ca-without-certificate",
        ),
        pytest.param(
            "workspace",
            {"webhook": {"certManager": CERT_MANAGER, "certSecretName": "mine"}},
            "- webhook.certSecretName is given and webhook.certManager.enabled true; cert-manager",
            id="two-certificates",
        ),
        pytest.param(
            "workspace",
            {"webhook": {"certManager": {**CERT_MANAGER, "duration": "90 days"}}},
            '- webhook.certManager.duration is "90 days"; write a time such as 2160h.',
            id="no-time",
        ),
        pytest.param(
            "workspace",
            {"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}},
            "- serviceMonitor.enabled and podMonitor.enabled are both true; every sample would be",
            id="two-monitors",
        ),
        pytest.param(
            "workspace",
            {"tracing": {"endpoint": "collector:4317"}},
            '- tracing.endpoint is "collector:4317"; write the collector\'s address for OTLP over',
            id="no-url",
        ),
        pytest.param(
            "gpu-provisioner",
            {**LOCAL, "tracing": {"headersSecret": {"key": "token"}}},
            "- tracing.headersSecret has a key alone; it takes the Secret's name and the key in it",
            id="half-a-secret",
        ),
        pytest.param(
            "workspace",
            {"endpointNetworkPolicy": {"from": [{"podSelector": {}}]}},
            "- endpointNetworkPolicy.from is given and endpointNetworkPolicy.enabled false; no",
            id="a-door-that-stays-open",
        ),
        pytest.param(
            "workspace",
            {"fullnameOverride": "Kaito_1"},
            '- fullnameOverride is "Kaito_1"; write at most 63 lower-case letters, digits,',
            id="no-name",
        ),
        pytest.param(
            "workspace",
            {"image": {"digest": "sha256:12"}},
            '- image.digest is "sha256:12"; write sha256: and 64 hexadecimal digits.',
            id="no-digest",
        ),
        pytest.param(
            "workspace",
            {"podDisruptionBudget": {"maxUnavailable": "half"}},
            '- podDisruptionBudget.maxUnavailable is "half"; write a number of pods, or a share',
            id="no-share",
        ),
        pytest.param(
            "workspace",
            {"weightsCachePath": "../weights"},
            '- weightsCachePath is "../weights"; write an absolute path on the nodes, such as',
            id="no-path",
        ),
        pytest.param(
            "workspace",
            {"serviceAccount": {"create": False}},
            "- serviceAccountName is empty and serviceAccount.create false; name the account that",
            id="no-account",
        ),
    ],
)
def test_values_that_do_not_fit_are_told_in_a_sentence(
    chart: str, values: Object, sentence: str
) -> None:
    assert sentence in refusal(chart, values)


@pytest.mark.parametrize(
    ("chart", "values"),
    [
        ("gpu-provisioner", {**LOCAL, "replicas": 1, "controller": {"env": WITHOUT_LEADER}}),
        ("workspace", {"replicaCount": 1, "env": WITHOUT_LEADER}),
        ("workspace", {"env": [{"name": "LEADER_ELECT", "value": "true"}]}),
    ],
)
def test_one_alone_may_do_without_a_leader(chart: str, values: Object) -> None:
    assert "LEADER_ELECT" in environment(render(chart, values))


def test_all_mistakes_are_told_at_once() -> None:
    values = {**ROLLING, "metrics": {"port": 9443}, "huggingFaceEndpoint": "hub"}
    said = [line for line in refusal("workspace", values).splitlines() if line.startswith("- ")]
    assert [line.split()[1] for line in said] == [
        "leaderElect",
        "webhook.port",
        "huggingFaceEndpoint",
    ]
    assert all(line.endswith(".") for line in said)


@pytest.mark.parametrize("path", VALUES_FILES, ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_what_a_user_must_fill_in_cannot_be_forgotten(path: Path) -> None:
    chart, left = path.parent.parent.name, "REPLACE-" in path.read_text()
    as_it_is = ("template", "x", str(CHARTS / chart), "--values", str(path))
    result = helm(*as_it_is, "--kube-version", KUBE_VERSION)
    assert (result.returncode != 0) is left
    assert (
        "placeholders of the values file are still to be replaced: REPLACE-" in result.stderr
    ) is left


@pytest.mark.parametrize("chart", NAMES)
def test_the_schema_has_no_keyword_whose_refusal_is_a_riddle(chart: str) -> None:
    schema = json.loads((CHARTS / chart / "values.schema.json").read_text())
    schema.get("$defs", {}).get("quantity", {}).pop("pattern", None)
    assert set(_keywords(schema)) <= _KEYWORDS


def _keywords(schema: Object) -> Iterator[str]:
    for keyword, inside in schema.items():
        yield keyword
        children = inside.values() if keyword in ("properties", "$defs") else [inside]
        for child in children:
            if isinstance(child, dict):
                yield from _keywords(child)


@pytest.mark.parametrize("chart", NAMES)
def test_no_place_of_the_schema_takes_unknown_names(chart: str) -> None:
    """Maps of the user's own names, and parts of objects that others define, apart."""
    schema = json.loads((CHARTS / chart / "values.schema.json").read_text())
    parts = [schema, *schema.get("$defs", {}).values()]
    open_places = {path for part in parts for path in _open(part, "")}
    assert all(path.rpartition(".")[2] in FREE for path in open_places), open_places


FREE = {"endpointConfig", "extraVolumes", "global", "nodeClasses", "scanners", "spec"}


def _open(schema: Object, path: str) -> Iterator[str]:
    if schema.get("type") == "object" and "additionalProperties" not in schema:
        yield path
    for name, inside in schema.get("properties", {}).items():
        yield from _open(inside, f"{path}.{name}")
    for keyword in ("items", "additionalProperties"):
        if isinstance(schema.get(keyword), dict):
            yield from _open(schema[keyword], path)


def test_values_that_0_1_0_took_are_taken() -> None:
    """A user's file of the version before."""
    values = {
        "cloudProviderName": "aws",
        "replicaCount": 1,
        "leaderElect": False,
        "podDisruptionBudget": {"maxUnavailable": "50%"},
        "webhook": {
            "certSecretName": "mine",
            "annotations": {"cert-manager.io/inject-ca-from": "a/b"},
        },
    }
    assert render("workspace", values)
