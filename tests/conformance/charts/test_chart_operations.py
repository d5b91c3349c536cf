"""What both charts offer to who operates them: monitoring, traces, networks, certificates."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from tests.conformance.charts.rendering import (
    CHARTS,
    KUBE_VERSION,
    LOCAL,
    Object,
    allows,
    bound_role,
    container,
    environment,
    helm,
    only,
    parsed,
    render,
)

BOTH = [pytest.param("gpu-provisioner", LOCAL, id="gpu-provisioner"), pytest.param("workspace", {})]
CERT_MANAGER: Object = {"webhook": {"certManager": {"enabled": True}}}


def kinds(objects: list[Object]) -> set[str]:
    return {each["kind"] for each in objects}


@pytest.mark.parametrize(("chart", "values"), BOTH)
def test_two_replicas_that_a_drain_takes_one_at_a_time(chart: str, values: Object) -> None:
    objects = render(chart, values)
    assert only(objects, "Deployment")["spec"]["replicas"] == 2
    assert environment(objects)["LEADER_ELECT"] == "true"
    assert only(objects, "PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    spec = only(objects, "Deployment")["spec"]["template"]["spec"]
    assert {each["topologyKey"] for each in spec["topologySpreadConstraints"]} == {
        "topology.kubernetes.io/zone",
        "kubernetes.io/hostname",
    }
    assert spec["priorityClassName"] == "system-cluster-critical"


@pytest.mark.parametrize(("chart", "values"), BOTH)
def test_every_pod_gets_the_pull_secrets_and_the_controllers_their_nodes(
    chart: str, values: Object
) -> None:
    more = {"imagePullSecrets": [{"name": "registry"}], "nodeSelector": {"pool": "system"}}
    objects = render(chart, {**values, **more})
    for each in (each for each in objects if each["kind"] in ("Deployment", "DaemonSet")):
        assert each["spec"]["template"]["spec"]["imagePullSecrets"] == [{"name": "registry"}]
    spec = only(objects, "Deployment")["spec"]["template"]["spec"]
    assert spec["nodeSelector"] == {"kubernetes.io/os": "linux", "pool": "system"}


@pytest.mark.parametrize(("chart", "values"), BOTH)
def test_the_time_to_end_is_the_operators(chart: str, values: Object) -> None:
    def spec(more: Object) -> Object:
        template = only(render(chart, {**values, **more}), "Deployment")["spec"]["template"]
        found: Object = template["spec"]
        return found

    assert "terminationGracePeriodSeconds" not in spec({})
    assert spec({"terminationGracePeriodSeconds": 90})["terminationGracePeriodSeconds"] == 90


GOOGLE: Object = {
    "cloudProviderName": "gcp",
    "settings": {"gcp": {"project": "p", "location": "l", "clusterName": "c"}},
}


@pytest.mark.parametrize(
    ("chart", "values"),
    [("gpu-provisioner", GOOGLE), ("workspace", {"cloudProviderName": "gcp"})],
)
def test_gke_lets_the_pods_have_their_priority(chart: str, values: Object) -> None:
    """It admits pods of a system class outside kube-system only where a quota names the class."""
    objects = render(chart, values)
    given = only(objects, "Deployment")["spec"]["template"]["spec"]["priorityClassName"]
    quota = only(objects, "ResourceQuota")["spec"]
    assert quota["hard"] == {"pods": "1G"}  # no limit that anybody reaches
    assert quota["scopeSelector"]["matchExpressions"] == [
        {"scopeName": "PriorityClass", "operator": "In", "values": [given]}
    ]
    for each in ("", "mine"):
        assert "ResourceQuota" not in kinds(render(chart, {**values, "priorityClassName": each}))


@pytest.mark.parametrize(("chart", "values"), BOTH)
def test_only_gke_needs_a_quota_for_it(chart: str, values: Object) -> None:
    assert "ResourceQuota" not in kinds(render(chart, values))


@pytest.mark.parametrize(("chart", "values"), BOTH)
def test_nothing_of_others_is_asked_for_by_default(chart: str, values: Object) -> None:
    """Where the operators' CRDs are absent, the charts install."""
    apis = {each["apiVersion"].partition("/")[0] for each in render(chart, values)}
    assert not apis & {"monitoring.coreos.com", "cert-manager.io"}


@pytest.mark.parametrize(("chart", "values"), BOTH)
def test_pods_can_be_scraped_without_the_service(chart: str, values: Object) -> None:
    monitor = {
        "enabled": True,
        "additionalLabels": {"a": "b"},
        "endpointConfig": {"interval": "9s"},
    }
    objects = render(chart, {**values, "podMonitor": monitor})
    found = only(objects, "PodMonitor")
    labels = only(objects, "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert found["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert found["spec"]["podMetricsEndpoints"] == [
        {"port": "http-metrics", "path": "/metrics", "honorLabels": True, "interval": "9s"}
    ]
    assert found["metadata"]["labels"]["a"] == "b"
    assert "http-metrics" in {port["name"] for port in container(objects)["ports"]}


@pytest.mark.parametrize(("chart", "values"), BOTH)
@pytest.mark.parametrize("kind", ["ServiceMonitor", "PodMonitor"])
def test_samples_keep_the_namespace_that_they_name(chart: str, values: Object, kind: str) -> None:
    """Not the controllers' own, which the operator would put there, and alerts would tell."""

    def honoured(config: Object) -> object:
        monitor = {"enabled": True, "endpointConfig": config}
        objects = render(chart, {**values, f"{kind[0].lower()}{kind[1:]}": monitor})
        spec = only(objects, kind)["spec"]
        (asked,) = spec["endpoints" if kind == "ServiceMonitor" else "podMetricsEndpoints"]
        return asked["honorLabels"]

    assert honoured({}) is True
    assert honoured({"honorLabels": False}) is False


RULES = """# a comment
groups:
  - name: nodes
    rules:
      - alert: Stuck
        expr: up == 0
        annotations: {summary: "{{ $labels.nodepool }} is stuck"}
"""
BOARD = {"title": "Cold start", "panels": [{"legendFormat": "{{stage}}"}]}


@pytest.fixture
def with_files(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A copy of a chart with one file of rules and one dashboard, and none of its own."""
    copy = tmp_path / request.param
    shutil.copytree(CHARTS / request.param, copy)
    for folder in ("rules", "dashboards"):
        shutil.rmtree(copy / "files" / folder, ignore_errors=True)
        (copy / "files" / folder).mkdir(parents=True)
    (copy / "files/rules/nodes.yaml").write_text(RULES)
    (copy / "files/dashboards/cold-start.json").write_text(json.dumps(BOARD))
    return copy


MONITORED: Object = {
    "prometheusRule": {"enabled": True, "additionalLabels": {"release": "prometheus"}},
    "grafanaDashboards": {"enabled": True, "folder": "KAITO", "annotations": {"a": "b"}},
}


def rendered(chart: Path, values: Object) -> list[Object]:
    result = helm(
        *("template", "x", str(chart), "--kube-version", KUBE_VERSION),
        values={"cloudProviderName": "kwok", **values},
    )
    assert result.returncode == 0, result.stderr
    return parsed(result.stdout)


@pytest.mark.parametrize("with_files", ["gpu-provisioner", "workspace"], indirect=True)
def test_a_file_of_rules_is_a_prometheus_rule(with_files: Path) -> None:
    rule = only(rendered(with_files, MONITORED), "PrometheusRule")
    assert rule["metadata"]["name"] == f"x-{with_files.name}-nodes"
    assert rule["metadata"]["labels"]["release"] == "prometheus"
    assert rule["spec"] == yaml.safe_load(RULES)


@pytest.mark.parametrize("chart", ["gpu-provisioner", "workspace"])
def test_runbooks_are_where_the_documentation_is_served(chart: str) -> None:
    base = "https://docs.example.org/kaito/"
    values = {"prometheusRule": {"enabled": True, "runbookBaseURL": base}}
    rule = only(rendered(CHARTS / chart, values), "PrometheusRule")
    found = [
        each["annotations"]["runbook_url"]
        for group in rule["spec"]["groups"]
        for each in group["rules"]
    ]
    assert found
    assert all(each.startswith(f"{base}docs/operations/alerts.md#") for each in found)


@pytest.mark.parametrize("with_files", ["gpu-provisioner", "workspace"], indirect=True)
def test_a_dashboard_is_a_config_map_that_grafanas_sidecar_finds(with_files: Path) -> None:
    name = f"x-{with_files.name}-cold-start"
    board = only(rendered(with_files, MONITORED), "ConfigMap", name)
    assert board["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert board["metadata"]["annotations"] == {"grafana_folder": "KAITO", "a": "b"}
    assert json.loads(board["data"]["cold-start.json"]) == BOARD


@pytest.mark.parametrize("with_files", ["gpu-provisioner", "workspace"], indirect=True)
def test_files_that_nobody_asks_for_or_are_not_there_render_nothing(with_files: Path) -> None:
    assert "PrometheusRule" not in kinds(rendered(with_files, {}))
    shutil.rmtree(with_files / "files/rules")
    shutil.rmtree(with_files / "files/dashboards")
    objects = rendered(with_files, MONITORED)
    assert "PrometheusRule" not in kinds(objects)
    assert not [each for each in objects if each["metadata"]["name"].endswith("cold-start")]


@pytest.mark.parametrize(("chart", "values"), BOTH)
def test_traces_are_off_until_there_is_somewhere_to_send_them(chart: str, values: Object) -> None:
    assert not [name for name in environment(render(chart, values)) if name.startswith("OTEL_")]
    tracing = {
        "endpoint": "http://collector:4318",
        "sampleRatio": 0.1,
        "headersSecret": {"name": "otlp", "key": "headers"},
    }
    objects = render(chart, {**values, "tracing": tracing, "debug": {"port": 0}})
    told = environment(objects)
    assert told["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://collector:4318"
    assert told["OTEL_TRACES_SAMPLER_ARG"] == "0.1"
    assert told["DEBUG_PORT"] == "0"
    (headers,) = (
        each for each in container(objects)["env"] if each["name"] == "OTEL_EXPORTER_OTLP_HEADERS"
    )
    assert headers["valueFrom"] == {"secretKeyRef": {"name": "otlp", "key": "headers"}}


@pytest.mark.parametrize(("chart", "values"), BOTH)
def test_the_debug_port_is_no_port_of_the_pod(chart: str, values: Object) -> None:
    """It listens on the pod's loopback: nothing but kubectl port-forward reaches it."""
    objects = render(chart, values)
    assert environment(objects)["DEBUG_PORT"] == "8082"
    assert 8082 not in [port["containerPort"] for port in container(objects)["ports"]]
    assert 8082 not in [port["port"] for port in only(objects, "Service")["spec"]["ports"]]


def test_quotas_and_doors_of_namespaces_reach_the_program() -> None:
    assert not environment(render("workspace")).keys() & {
        "DEFAULT_GPU_QUOTA",
        "ENDPOINT_NETWORK_POLICY",
    }
    peers = [{"namespaceSelector": {"matchLabels": {"name": "gateway"}}}]
    values = {
        "gpuQuota": {"default": 0},
        "endpointNetworkPolicy": {"enabled": True, "from": peers},
    }
    told = environment(render("workspace", values))
    assert told["DEFAULT_GPU_QUOTA"] == "0"
    assert json.loads(told["ENDPOINT_NETWORK_POLICY"]) == peers


def test_a_certificate_of_cert_managers_is_shown_and_trusted() -> None:
    objects = render("workspace", CERT_MANAGER, release="other")
    certificate = only(objects, "Certificate", "other-workspace-webhook")
    service = only(objects, "Service")["metadata"]["name"]
    assert f"{service}.kaito-system.svc" in certificate["spec"]["dnsNames"]
    assert certificate["spec"]["issuerRef"]["name"] == "other-workspace-webhook-ca"
    (volume,) = (
        volume
        for volume in only(objects, "Deployment")["spec"]["template"]["spec"]["volumes"]
        if "secret" in volume
    )
    assert volume["secret"]["secretName"] == certificate["spec"]["secretName"]
    assert environment(objects)["WEBHOOK_CERT_DIR"] == "/var/run/secrets/webhook"
    for kind in ("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"):
        for each in (each for each in objects if each["kind"] == kind):
            assert each["metadata"]["annotations"] == {
                "cert-manager.io/inject-ca-from": "kaito-system/other-workspace-webhook"
            }
            assert "caBundle" not in each["webhooks"][0]["clientConfig"]


def test_the_authority_outlives_the_certificates_that_it_signs() -> None:
    """Else each renewal would leave pods showing what the API server no longer trusts."""
    objects = render("workspace", CERT_MANAGER)
    authority = only(objects, "Certificate", "workspace-webhook-ca")["spec"]
    assert authority["isCA"] is True
    issuer = only(objects, "Issuer", "workspace-webhook-ca")
    assert issuer["spec"]["ca"]["secretName"] == authority["secretName"]
    assert only(objects, "Issuer", authority["issuerRef"]["name"])["spec"] == {"selfSigned": {}}
    hours = [
        int(each["spec"]["duration"].removesuffix("h"))
        for each in objects
        if each["kind"] == "Certificate"
    ]
    assert max(hours) == 87600


def test_an_issuer_of_the_users_signs_alone() -> None:
    issuer = {"name": "corporate", "kind": "ClusterIssuer"}
    objects = render(
        "workspace", {"webhook": {"certManager": {"enabled": True, "issuerRef": issuer}}}
    )
    assert only(objects, "Certificate")["spec"]["issuerRef"] == {
        "group": "cert-manager.io",
        **issuer,
    }
    assert "Issuer" not in kinds(objects)


def test_who_is_given_a_certificate_may_touch_neither_secret_nor_webhooks() -> None:
    objects = render("workspace", CERT_MANAGER)
    assert not allows(only(objects, "Role"), "", "secrets", "create")
    role = bound_role(objects)
    webhook = "validation.workspace.kaito.sh"
    group, resource = "admissionregistration.k8s.io", "validatingwebhookconfigurations"
    assert not allows(role, group, resource, "patch", webhook)


CLOSED: Object = {"networkPolicy": {"enabled": True, "egress": {"enabled": True}}}


def egress(chart: str, values: Object) -> set[str]:
    """What is left, as ports and addresses."""
    policy = only(render(chart, {**values, **CLOSED}), "NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    return {
        str(each.get("port") or each["ipBlock"]["cidr"])
        for rule in policy["egress"]
        for each in [*rule.get("ports", []), *rule.get("to", [])]
    }


@pytest.mark.parametrize(
    ("chart", "values", "more"),
    [
        ("workspace", {}, set()),
        ("workspace", {"tracing": {"endpoint": "http://collector:4318"}}, {"4318"}),
        ("workspace", {"huggingFaceEndpoint": "http://hub.example:8081"}, {"8081"}),
        ("workspace", {"huggingFaceEndpoint": "https://hub.example/mirror"}, set()),
        ("gpu-provisioner", {"cloudProviderName": "kwok"}, set()),
        ("gpu-provisioner", LOCAL, {"10700"}),
        (
            "gpu-provisioner",
            {
                "cloudProviderName": "aws",
                "settings": {"aws": {"region": "r", "clusterName": "c"}},
                "tracing": {"endpoint": "https://collector"},
            },
            {"169.254.0.0/16"},
        ),
    ],
)
def test_pods_may_be_kept_to_what_they_need(chart: str, values: Object, more: set[str]) -> None:
    assert egress(chart, values) == {"53", "443", "6443", *more}


@pytest.mark.parametrize(("chart", "values"), BOTH)
def test_networks_are_closed_only_where_asked_for(chart: str, values: Object) -> None:
    assert "NetworkPolicy" not in kinds(render(chart, values))
    extra = [{"to": [{"ipBlock": {"cidr": "10.0.0.7/32"}}]}]
    given = {"enabled": True, "egress": {"enabled": True, "extra": extra}}
    policy = only(render(chart, {**values, "networkPolicy": given}), "NetworkPolicy")
    assert policy["spec"]["egress"][-1:] == extra
    ingress_only = {"networkPolicy": {"enabled": True}}
    policy = only(render(chart, {**values, **ingress_only}), "NetworkPolicy")
    assert (policy["spec"]["policyTypes"], "egress" in policy["spec"]) == (["Ingress"], False)


def test_the_uninstallation_leaves_word_of_claims_and_nodes() -> None:
    objects = render("gpu-provisioner", LOCAL, release="gpus")
    note = only(objects, "ConfigMap", "gpus-nodeclaims-and-nodes-are-kept")
    assert note["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert "kubectl get nodeclaims" in note["data"]["README"]
    assert "ConfigMap" not in kinds(render("gpu-provisioner", {**LOCAL, "uninstallNotice": False}))


def test_the_device_plugin_can_live_where_host_paths_are_allowed() -> None:
    values = {"nvidiaDevicePlugin": {"namespace": "kube-system"}}
    objects = render("workspace", values)
    assert only(objects, "DaemonSet")["metadata"]["namespace"] == "kube-system"
    assert only(objects, "Deployment")["metadata"]["namespace"] == "kaito-system"
