"""The environment, as frozen values, or as an error that names the variable."""

from __future__ import annotations

import pytest

import cloudproviders
from apis.kaito import admission
from tests.builders import a_workspace, a_workspace_manifest, settings
from workspace_controller.__main__ import run
from workspace_controller.nodes.byo import BringYourOwn
from workspace_controller.nodes.claims import ClaimProvisioner
from workspace_controller.nodes.pool import PoolProvisioner
from workspace_controller.settings import (
    SettingsError,
    WeightsSettings,
    feature_gates,
    process,
)
from workspace_controller.wiring import settings_of


def test_without_any_word():
    told = process({})
    assert (told.provisioner, told.cloud) == ("nodeclaim", "azure")
    assert (told.metrics_port, told.health_port, told.webhook_port) == (8080, 8081, 9443)
    assert told.webhook
    assert not told.leader_elect
    assert told.lease_name == "workspace-leader-election"
    assert told.api_server == "https://kubernetes.default.svc"


def test_what_the_chart_says():
    told = process(
        {
            "CLOUD_PROVIDER": "local",
            "NODE_PROVISIONER": "byo",
            "PRESET_REGISTRY_NAME": "registry.example/kaito/",
            "SERVING_IMAGE_TAG": "1.2.3",
            "WEBHOOK_PORT": "0",
            "WEBHOOK_SERVICE": "ws",
            "WEBHOOK_CERT_SECRET": "ws-cert",
            "LEADER_ELECT": "true",
            "LEADER_ELECTION_NAME": "ws-leader-election",
            "KUBERNETES_SERVICE_HOST": "10.96.0.1",
            "KUBERNETES_SERVICE_PORT": "443",
            "POD_NAMESPACE": "kaito",
            "LOG_LEVEL": "debug",
            "FEATURE_GATES": "vLLM=false,disableNodeAutoProvisioning=true",
        }
    )
    assert (told.cloud, told.provisioner, told.registry) == (
        "local",
        "byo",
        "registry.example/kaito",
    )
    assert (told.image_tag, told.webhook_port, told.webhook_service) == ("1.2.3", 0, "ws")
    assert (told.leader_elect, told.namespace, told.log_level) == (True, "kaito", "DEBUG")
    assert told.lease_name == "ws-leader-election"
    assert told.api_server == "https://10.96.0.1:443"
    assert told.gates["vLLM"] is False
    assert told.gates["enableMIG"] is False


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"NODE_PROVISIONER": "karpenters"}, "NODE_PROVISIONER"),
        ({"METRICS_PORT": "http"}, "METRICS_PORT"),
        ({"WEIGHTS_CACHE": "disk"}, "WEIGHTS_CACHE is 'disk'; one of: node, pod, nvme"),
        ({"WEIGHTS_CACHE_PATH": "cache"}, "WEIGHTS_CACHE_PATH"),
        ({"WEIGHTS_CACHE_PATH": "/a/../etc"}, "WEIGHTS_CACHE_PATH"),
        ({"IMAGE_VOLUMES": "yes"}, "IMAGE_VOLUMES"),
        ({"INSECURE_REGISTRIES": "https://a.example"}, "INSECURE_REGISTRIES has 'https://a.exa"),
        ({"ESTIMATOR": "guess"}, "ESTIMATOR is 'guess'; one of: fit, kaito"),
        ({"HEALTH_PROBE_PORT": "70000"}, "HEALTH_PROBE_PORT"),
        ({"LEADER_ELECT": "maybe"}, "LEADER_ELECT"),
        ({"FEATURE_GATES": "vllm=true"}, "vllm"),
        ({"FEATURE_GATES": "vLLM"}, "gate=true"),
        ({"FEATURE_GATES": "vLLM=perhaps"}, "perhaps"),
    ],
)
def test_what_is_wrong_is_named(environment, named):
    with pytest.raises(SettingsError, match=named):
        process(environment)


def test_what_is_offered_for_weights():
    assert process({}).weights == WeightsSettings("node", "/var/lib/kaito/weights", "auto", "")
    told = process(
        {
            "WEIGHTS_CACHE": "nvme",
            "WEIGHTS_CACHE_PATH": "/mnt/weights/",
            "IMAGE_VOLUMES": "true",
            "HF_ENDPOINT": "https://hub.example/",
            "HF_HUB_OFFLINE": "1",
        }
    )
    assert told.weights == WeightsSettings(
        "nvme", "/mnt/weights", "true", "https://hub.example", offline=True
    )
    types = cloudproviders.instance_types("local")
    assert settings_of(told, cloudproviders.profile("local"), types).weights == told.weights


def test_registries_without_tls_reach_the_decisions():
    told = process({"INSECURE_REGISTRIES": " plain.example:5000, other.example ,"})
    types = cloudproviders.instance_types("local")
    found = settings_of(told, cloudproviders.profile("local"), types)
    assert found.insecure_registries == "plain.example:5000,other.example"
    assert process({}).insecure_registries == ""


def test_gates_of_upstream_are_known_with_its_defaults():
    gates = feature_gates(" enableMIG=true , ")
    assert gates["enableMIG"]
    assert gates["enableInferenceSetController"]
    assert not gates["ModelStreaming"]


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"NODE_PROVISIONER": "none"}, "NODE_PROVISIONER"),
        ({"CLOUD_PROVIDER": "moon"}, "moon"),
        ({"CLOUD_PROVIDER": "local", "KUBECONFIG": "/does/not/exist"}, "/does/not/exist"),
    ],
)
def test_a_process_that_cannot_work_ends_with_2_and_says_why(environment, named, capsys):
    assert run(environment) == 2
    assert named in capsys.readouterr().err


@pytest.mark.parametrize(
    ("provisioner", "kind"),
    [
        ("nodeclaim", ClaimProvisioner),
        ("azure-gpu-provisioner", ClaimProvisioner),
        ("karpenter", PoolProvisioner),
        ("byo", BringYourOwn),
    ],
)
def test_the_way_to_nodes(provisioner, kind):
    classes = '[{"name": "default", "default": true}]'
    told = process(
        {
            "NODE_PROVISIONER": provisioner,
            "CLOUD_PROVIDER": "local",
            "KARPENTER_NODE_CLASSES": classes,
        }
    )
    made = settings_of(
        told, cloudproviders.profile("local"), cloudproviders.instance_types("local")
    )
    assert isinstance(made.nodes, kind)
    assert made.facts.byo is (provisioner == "byo")
    assert made.facts.node_class_names == (("default",) if provisioner == "karpenter" else ())


@pytest.mark.parametrize(
    ("provisioner", "pool"), [("nodeclaim", None), ("azure-gpu-provisioner", "kaito")]
)
def test_only_claims_in_the_go_controllers_shape_name_a_pool(provisioner, pool):
    told = process({"NODE_PROVISIONER": provisioner, "CLOUD_PROVIDER": "azure"})
    made = settings_of(
        told, cloudproviders.profile("azure"), cloudproviders.instance_types("azure")
    )
    assert made.nodes.cloud.labels.get("karpenter.sh/nodepool") == pool


def test_the_shipped_presets_are_known():
    told = process({"CLOUD_PROVIDER": "azure"})
    made = settings_of(
        told, cloudproviders.profile("azure"), cloudproviders.instance_types("azure")
    )
    assert made.catalog.lookup("phi-4-mini-instruct") is not None
    assert made.facts.preset_known("Phi-4-Mini-Instruct")
    assert made.facts.instance_type("Standard_NC24ads_A100_v4") is not None
    assert made.facts.instance_type_prefixes == ("Standard_N", "Standard_D")


class TestFacts:
    facts = settings_of(
        process({"CLOUD_PROVIDER": "local"}),
        cloudproviders.profile("local"),
        cloudproviders.instance_types("local"),
    ).facts

    def test_what_does_not_fit_says_why(self):
        workspace = a_workspace(preset="llama-3.3-70b-instruct", instance_type="local-cpu-2")
        assert self.facts.fits is not None
        assert "GiB" in (self.facts.fits(workspace, None) or "")

    @pytest.mark.parametrize(
        ("preset", "type_"),
        [("gemma-3-270m", "local-cpu-2"), ("unheard-of", "local-cpu-2"), ("phi-4", "unheard-of")],
    )
    def test_what_fits_or_nobody_knows_of_is_not_refused(self, preset, type_):
        assert self.facts.fits is not None
        assert self.facts.fits(a_workspace(preset=preset, instance_type=type_), None) is None

    @pytest.mark.parametrize(
        ("text", "complaint"),
        [
            pytest.param("vllm: {gpu-memory-utilization: 0.95}", None, id="as it comes"),
            pytest.param("vllm: {gpu-memory-utilization: 0.05}", "GiB", id="too little of a GPU"),
            pytest.param("vllm: {max-model-len: 999999}", "at most", id="too much context"),
            pytest.param("tgi: {max-total-tokens: 999999}", None, id="of another engine"),
        ],
    )
    def test_what_the_config_map_asks_for_must_fit_too(self, text, complaint):
        workspace = a_workspace(preset="gemma-3-270m", inference={"config": "options"})
        assert self.facts.fits is not None
        found = self.facts.fits(workspace, {"inference_config.yaml": text})
        assert found is None if complaint is None else complaint in (found or "")

    def test_without_the_config_map_nobody_knows(self):
        workspace = a_workspace(
            preset="llama-3.3-70b-instruct",
            instance_type="local-cpu-2",
            inference={"config": "options"},
        )
        assert self.facts.fits is not None
        assert self.facts.fits(workspace, None) is None
        assert self.facts.layout(workspace, None) is None

    def test_the_gate_chooses_the_engine_here_as_it_does_later(self):
        """phi-4 spreads over two such nodes on vLLM, and on no other engine."""
        workspace = a_workspace(preset="phi-4", instance_type="local-gpu-1")
        layout = self.facts.layout(workspace, None)
        assert layout is not None
        assert layout.nodes == 2
        told = process({"CLOUD_PROVIDER": "local", "FEATURE_GATES": "vLLM=false"})
        cloud = cloudproviders.profile("local"), cloudproviders.instance_types("local")
        without = settings_of(told, *cloud).facts
        assert without.layout(workspace, None) is None
        assert without.fits is not None
        assert "on 1 node(s)" in (without.fits(workspace, None) or "")

    def test_a_template_fits_anywhere(self):
        inference = {"preset": None, "template": {"spec": {}}}
        assert self.facts.fits is not None
        assert self.facts.fits(a_workspace(inference=inference), None) is None

    def test_what_is_known_of_a_preset(self):
        assert self.facts.max_model_len("gemma-3-270m") == 32768
        assert self.facts.auth_required("phi-4") is False
        assert 0.4 < (self.facts.weights_gib("gemma-3-270m") or 0) < 0.6
        assert self.facts.max_model_len("unheard-of") is None
        assert self.facts.auth_required("unheard-of") is None
        assert self.facts.weights_gib("unheard-of") is None

    @pytest.mark.parametrize(
        ("preset", "runtime", "served"),
        [
            ("phi-4", "vllm", True),
            ("phi-4", "transformers", True),
            ("gpt-oss-20b", "transformers", False),
            ("unheard-of", "transformers", True),
            ("phi-4", "llamacpp", False),
        ],
    )
    def test_which_runtime_serves_a_preset(self, preset, runtime, served):
        assert self.facts.runtime_refusal is not None
        assert (self.facts.runtime_refusal(preset, runtime) is None) == served


def test_a_manifest_of_the_tests_is_admitted():
    """Or the other tests would speak of Workspaces that cannot exist."""
    assert admission.refusals(a_workspace_manifest(), settings().facts) == []
