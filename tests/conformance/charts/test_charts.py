"""What holds for every chart, judged by what the cluster would be told."""

from __future__ import annotations

import copy
import json
from collections.abc import Collection
from pathlib import Path

import pytest
import yaml

import cloudproviders
from tests.conformance.charts.rendering import (
    CHARTS,
    KUBE_VERSION,
    LOCAL,
    NAMES,
    ROOT,
    VALUES_FILES,
    WEBHOOKS,
    Object,
    allows,
    container,
    environment,
    filled_in,
    helm,
    only,
    pod_ports,
    refusal,
    render,
)
from workspace_controller import settings

EXAMPLES = [
    pytest.param(path.parent.parent.name, path, id=f"{path.parent.parent.name}-{path.stem}")
    for path in VALUES_FILES
]


@pytest.mark.parametrize(("chart", "values"), EXAMPLES)
def test_examples_pass_the_linter(chart: str, values: Path) -> None:
    result = helm(
        *("lint", "--strict", str(CHARTS / chart), "--kube-version", KUBE_VERSION),
        values=filled_in(values),
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("chart", NAMES)
def test_the_schema_describes_every_value_and_no_other(chart: str) -> None:
    values = yaml.safe_load((CHARTS / chart / "values.yaml").read_text())
    schema = json.loads((CHARTS / chart / "values.schema.json").read_text())
    assert set(schema["properties"]) - {"global"} == set(values)


@pytest.mark.parametrize(
    ("chart", "path", "known"),
    [
        ("gpu-provisioner", "cloudProviderName", cloudproviders.PROVIDERS),
        ("workspace", "cloudProviderName", cloudproviders.CATALOGUED),
        ("workspace", "nodeProvisioner", settings.PROVISIONERS),
        ("workspace", "weightsCache", settings.WEIGHTS_CACHES),
        ("workspace", "imageVolumes", (*settings.IMAGE_VOLUMES, True, False)),
    ],
)
def test_choices_are_those_of_the_programs(chart: str, path: str, known: Collection[str]) -> None:
    node = json.loads((CHARTS / chart / "values.schema.json").read_text())["properties"]
    for part in path.split("/"):
        node = node[part]
    assert set(node["enum"]) == set(known)


@pytest.mark.parametrize(
    ("chart", "values", "names"),
    [
        pytest.param("gpu-provisioner", {**LOCAL, "replica": 2}, "replica", id="misspelt"),
        pytest.param(
            "gpu-provisioner", {**LOCAL, "controller": {"imge": {}}}, "imge", id="misspelt-inside"
        ),
        pytest.param("gpu-provisioner", {}, "cloudProviderName", id="no-cloud"),
        pytest.param("workspace", {"presetRegistry": "x"}, "presetRegistry", id="misspelt-ws"),
        pytest.param("workspace", {"featureGates": {"vllm": True}}, "vllm", id="unknown-gate"),
        pytest.param(
            "workspace", {"nodeProvisioner": "magic"}, "nodeProvisioner", id="unknown-provisioner"
        ),
    ],
)
def test_wrong_values_are_refused_by_name(chart: str, values: Object, names: str) -> None:
    assert names in refusal(chart, values)


@pytest.mark.parametrize(("chart", "values"), EXAMPLES)
def test_objects_have_a_place_and_an_owner(chart: str, values: Path) -> None:
    cluster_wide = {"ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", *WEBHOOKS}
    for item in render(chart, file=values):
        named = f"{item['kind']}/{item['metadata']['name']}"
        elsewhere = item["kind"] == "DaemonSet"  # where host paths are allowed
        if item["kind"] not in cluster_wide and not elsewhere:
            assert item["metadata"]["namespace"] == "kaito-system", named
        if item["kind"] != "CustomResourceDefinition":
            assert item["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm", named


@pytest.mark.parametrize(("chart", "values"), EXAMPLES)
def test_everything_finds_the_pods(chart: str, values: Path) -> None:
    objects = render(chart, file=values)
    pods = only(objects, "Deployment")["spec"]["template"]
    labels = pods["metadata"]["labels"].items()
    selectors = [
        only(objects, "Deployment")["spec"]["selector"]["matchLabels"],
        only(objects, "Service")["spec"]["selector"],
        only(objects, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        *(
            constraint["labelSelector"]["matchLabels"]
            for constraint in pods["spec"]["topologySpreadConstraints"]
        ),
    ]
    assert all(selector.items() <= labels for selector in selectors)
    assert all(
        port["targetPort"] in pod_ports(objects)
        for port in only(objects, "Service")["spec"]["ports"]
    )


@pytest.mark.parametrize(("chart", "values"), EXAMPLES)
def test_roles_are_bound_to_the_account_that_the_pods_run_as(chart: str, values: Path) -> None:
    objects = render(chart, file=values)
    account = only(objects, "Deployment")["spec"]["template"]["spec"]["serviceAccountName"]
    for kind, role in (("ClusterRoleBinding", "ClusterRole"), ("RoleBinding", "Role")):
        binding = only(objects, kind)
        assert only(objects, role, binding["roleRef"]["name"])
        assert binding["subjects"] == [
            {"kind": "ServiceAccount", "name": account, "namespace": "kaito-system"}
        ]


@pytest.mark.parametrize(("chart", "values"), EXAMPLES)
def test_nothing_may_do_everything(chart: str, values: Path) -> None:
    for item in render(chart, file=values):
        for rule in item.get("rules", []):
            assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]


@pytest.mark.parametrize(("chart", "values"), EXAMPLES)
def test_pods_meet_the_restricted_standard(chart: str, values: Path) -> None:
    objects = render(chart, file=values)
    pod = only(objects, "Deployment")["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (program,) = pod["containers"]
    assert program["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert "/tmp" in [mount["mountPath"] for mount in program["volumeMounts"]]
    assert {mount["name"] for mount in program["volumeMounts"]} == {
        volume["name"] for volume in pod["volumes"]
    }


@pytest.mark.parametrize(("chart", "values"), EXAMPLES)
def test_probes_ask_the_health_port(chart: str, values: Path) -> None:
    objects = render(chart, file=values)
    program = container(objects)
    for probe, path in (("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        assert program[probe]["httpGet"] == {"path": path, "port": "http"}
    assert pod_ports(objects)["http"] == int(environment(objects)["HEALTH_PROBE_PORT"])
    assert pod_ports(objects)["http-metrics"] == int(environment(objects)["METRICS_PORT"])


@pytest.mark.parametrize(
    ("chart", "values", "image"),
    [
        pytest.param("workspace", {}, "localhost/kaito-controllers:0.1.0", id="default"),
        pytest.param(
            "workspace",
            {"image": {"repository": "r.example/c", "tag": "7"}},
            "r.example/c:7",
            id="tag",
        ),
        pytest.param(
            "gpu-provisioner",
            {**LOCAL, "controller": {"image": {"tag": "7", "digest": f"sha256:{'a' * 64}"}}},
            f"localhost/kaito-controllers@sha256:{'a' * 64}",
            id="digest-wins",
        ),
    ],
)
def test_the_image_is_what_the_values_say(chart: str, values: Object, image: str) -> None:
    assert container(render(chart, values))["image"] == image


@pytest.mark.parametrize(
    ("chart", "release", "values", "lease"),
    [
        ("gpu-provisioner", "gpu-provisioner", LOCAL, "gpu-provisioner-leader-election"),
        ("gpu-provisioner", "b", LOCAL, "b-gpu-provisioner-leader-election"),
        ("gpu-provisioner", "b", {**LOCAL, "fullnameOverride": "c"}, "c-leader-election"),
        (
            *("gpu-provisioner", "gpu-provisioner"),
            {**LOCAL, "controller": {"env": [{"name": "LEADER_ELECTION_NAME", "value": "mine"}]}},
            "mine",
        ),
        ("workspace", "workspace", {}, "workspace-leader-election"),
        ("workspace", "b", {}, "b-workspace-leader-election"),
        (
            *("workspace", "workspace"),
            {"env": [{"name": "LEADER_ELECTION_NAME", "value": "mine"}]},
            "mine",
        ),
    ],
)
def test_one_lease_and_no_other(chart: str, release: str, values: Object, lease: str) -> None:
    """The release's own: two in a namespace both work. That of the release named like the chart is
    what the programs take by themselves, and versions before took: an upgrade has one leader."""
    objects = render(chart, values, release)
    assert environment(objects)["LEADER_ELECTION_NAME"] == lease
    role = only(objects, "Role")
    assert allows(role, "coordination.k8s.io", "leases", "create")
    for verb in ("get", "patch"):
        assert allows(role, "coordination.k8s.io", "leases", verb, lease)
        assert not allows(role, "coordination.k8s.io", "leases", verb, "another")


@pytest.mark.parametrize(
    ("folder", "pattern"),
    [
        ("karpenter-crds/files/crds", "karpenter.sh_*.yaml"),
        ("karpenter-crds/files/nodeclasses", "*nodeclasses.yaml"),
        ("workspace/files/crds", "kaito.sh_[wr]*.yaml"),
        ("kaito-crds/files/crds", "kaito.sh_[wr]*.yaml"),
    ],
)
def test_charts_carry_the_generated_crds(folder: str, pattern: str) -> None:
    source = {path.name: path.read_text() for path in (ROOT / "apis/crds").glob(pattern)}
    copied = {path.name: path.read_text() for path in (CHARTS / folder).iterdir()}
    assert source, "no generated CRDs"
    assert copied == source


def test_node_classes_are_defined_where_they_are_asked_for() -> None:
    def kinds(**values: object) -> set[str]:
        found = render("karpenter-crds", values)
        return {each["spec"]["names"]["kind"] for each in found}

    assert kinds() == {"NodeClaim", "NodePool"}
    assert kinds(nodeClasses=["EC2NodeClass"]) == {"NodeClaim", "NodePool", "EC2NodeClass"}
    assert "nodeClasses" in refusal("karpenter-crds", {"nodeClasses": ["Ec2NodeClass"]})


@pytest.mark.parametrize(
    ("chart", "kept", "deleted"),
    [
        ("karpenter-crds", {}, {"keep": False}),
        ("kaito-crds", {}, {"keep": False}),
        ("workspace", {}, {"crds": {"keep": False}}),
    ],
)
def test_crds_outlive_the_release(chart: str, kept: Object, deleted: Object) -> None:
    def policies(values: Object) -> set[str | None]:
        return {
            item["metadata"].get("annotations", {}).get("helm.sh/resource-policy")
            for item in render(chart, values)
            if item["kind"] == "CustomResourceDefinition"
        }

    assert policies(kept) == {"keep"}
    assert policies(deleted) == {None}


def test_rendering_changes_no_crd() -> None:
    for chart in ("kaito-crds", "karpenter-crds", "workspace"):
        for crd in render(chart):
            if crd["kind"] != "CustomResourceDefinition":
                continue
            group, plural = crd["spec"]["group"], crd["spec"]["names"]["plural"]
            source = yaml.safe_load((ROOT / f"apis/crds/{group}_{plural}.yaml").read_text())
            crd = copy.deepcopy(crd)
            del crd["metadata"]["annotations"]["helm.sh/resource-policy"]
            source["metadata"].setdefault("annotations", {})
            assert crd == source


def test_no_chart_of_a_controller_carries_karpenters_crds() -> None:
    carried = {
        item["metadata"]["name"]
        for chart, values in (("gpu-provisioner", LOCAL), ("workspace", {}))
        for item in render(chart, values)
        if item["kind"] == "CustomResourceDefinition"
    }
    assert carried == {"ragengines.kaito.sh", "workspaces.kaito.sh"}


def test_the_workspace_crd_can_be_left_to_another_chart() -> None:
    kinds = {item["kind"] for item in render("workspace", {"crds": {"install": False}})}
    assert "CustomResourceDefinition" not in kinds
