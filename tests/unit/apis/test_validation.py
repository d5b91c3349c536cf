"""Rules on a Workspace: object and facts in, field errors out. Ids are those of the rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from apis.gpu import GPU
from apis.kaito import messages
from apis.kaito.v1beta1.workspace import Workspace
from apis.kaito.validation import Facts, describe, validate_create, validate_update

TYPES = {
    "Standard_NC24ads_A100_v4": GPU(1, "A100", 80),
    "local-cpu-2": GPU(0),
}
CONFIG = {"inference_config.yaml": "vllm:\n  max-model-len: 4096\n  dtype: half\n"}
PRESETS = ("phi-4", "gemma-3-270m")

FACTS = Facts(
    cloud="azure",
    preset_known=lambda name: name.lower() in PRESETS,
    preset_names=PRESETS,
    instance_type=TYPES.get,
    instance_type_names=tuple(TYPES),
    config_map=lambda name: CONFIG if name == "good" else None,
    max_model_len=lambda _: 16384,
    weights_gib=lambda _: 27.3,
)
BYO = replace(FACTS, node_provisioner="byo", feature_gates={"enableMIG": True})
A_NODE = {
    "kubernetes.io/hostname": "n1",
    "nvidia.com/gpu.product": "NVIDIA-A100",
    "nvidia.com/gpu.count": "1",
    "nvidia.com/gpu.memory": "81920",
}


def config(text: str) -> Facts:
    return replace(FACTS, config_map=lambda _: {"inference_config.yaml": text})


def tuning_config(text: str) -> Facts:
    return replace(FACTS, config_map=lambda _: {"training_config.yaml": text})


def served(path: str = "", value: Any = None, *, without: str = "") -> dict[str, Any]:
    """An inference Workspace that is accepted, with the field at `path` set."""
    manifest: dict[str, Any] = {
        "metadata": {"name": "ws", "namespace": "default", "annotations": {}},
        "resource": {
            "instanceType": "Standard_NC24ads_A100_v4",
            "labelSelector": {"matchLabels": {"apps": "phi"}},
        },
        "inference": {"preset": {"name": "phi-4"}},
    }
    return changed(manifest, path, value, without)


def byo(path: str = "", value: Any = None) -> dict[str, Any]:
    return changed(served(without="resource.instanceType"), path, value)


def tuned(path: str = "", value: Any = None, *, without: str = "") -> dict[str, Any]:
    """A tuning Workspace that is accepted, with the field at `path` set."""
    manifest: dict[str, Any] = {
        "metadata": {"name": "ws", "namespace": "default"},
        "resource": {
            "instanceType": "Standard_NC24ads_A100_v4",
            "labelSelector": {"matchLabels": {"apps": "phi"}},
        },
        "tuning": {
            "preset": {"name": "phi-4"},
            "method": "qlora",
            "input": {"name": "data", "urls": ["https://example.com/data.parquet"]},
            "output": {"image": "registry.example.com/out:1", "imagePushSecret": "push"},
        },
    }
    return changed(manifest, path, value, without)


def changed(
    manifest: dict[str, Any], path: str, value: Any = None, without: str = ""
) -> dict[str, Any]:
    for at in filter(None, (path, without)):
        parent = manifest
        *above, last = at.split(".")
        for name in above:
            parent = parent.setdefault(name, {})
        if at == without:
            del parent[last]
        else:
            parent[last] = value
    return manifest


def annotated(key: str, value: str, **others: str) -> dict[str, Any]:
    return served("metadata.annotations", {f"kaito.sh/{key}": value, **others})


def adapter(**fields: Any) -> dict[str, Any]:
    return {"source": {"name": "a", "image": "registry.example.com/a:1", **fields}}


def create(manifest: Mapping[str, Any], facts: Facts = FACTS) -> str:
    return describe(validate_create(Workspace.model_validate(manifest), facts))


def update(old: Mapping[str, Any], new: Mapping[str, Any], facts: Facts = FACTS) -> str:
    before, after = Workspace.model_validate(old), Workspace.model_validate(new)
    return describe(validate_update(before, after, facts))


@pytest.mark.parametrize(
    ("manifest", "facts"),
    [
        pytest.param(served(), FACTS, id="preset on a GPU"),
        pytest.param(served("resource.instanceType", "local-cpu-2"), FACTS, id="CPU-only type"),
        pytest.param(served("inference.preset.name", "PHI-4"), FACTS, id="W-C8 any case"),
        pytest.param(served("inference.preset.name", "org/model"), FACTS, id="W-C8 HF id"),
        pytest.param(annotated("runtime", "llamacpp"), FACTS, id="our runtime"),
        pytest.param(annotated("node-image-family", " Ubuntu "), FACTS, id="W-C4 trimmed"),
        pytest.param(annotated("performance-mode", "balanced"), FACTS, id="W-C5 known"),
        pytest.param(annotated("use-local-weights", "false"), FACTS, id="W-C6 false"),
        pytest.param(annotated("node-class-name", "any"), FACTS, id="W-C7 not karpenter"),
        pytest.param(
            served("metadata.name", "").copy()
            | {"metadata": {"generateName": "ws-", "namespace": "default"}},
            FACTS,
            id="W-C1 generated name",
        ),
        pytest.param(
            served(
                "resource.labelSelector",
                {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]},
            ),
            FACTS,
            id="W-C9 In with one value",
        ),
        pytest.param(
            served("resource.labelSelector.matchLabels", {"kaito.sh/workspace": "x", "apps": "y"}),
            FACTS,
            id="W-C10 some reserved",
        ),
        pytest.param(
            served("resource.instanceType", "standard_nc6s_v3"),
            replace(FACTS, instance_type_prefixes=("Standard_N",)),
            id="W-C15 prefix the cloud takes",
        ),
        pytest.param(byo(), BYO, id="byo, nodes not known"),
        pytest.param(byo(), replace(BYO, nodes=(A_NODE, A_NODE)), id="W-C14 like nodes"),
        pytest.param(
            byo("resource.partition", {"mode": "mig", "profile": "3g.40gb"}), BYO, id="W-C12 mig"
        ),
        pytest.param(
            byo("resource.partition", {"mode": "accelerator", "count": 2}),
            replace(BYO, feature_gates={"enableAccelerator": True}),
            id="W-C13 accelerator",
        ),
        pytest.param(
            annotated("bypass-resource-checks", ""),
            replace(FACTS, fits=lambda *_: "no room"),
            id="W-C16 bypassed",
        ),
        pytest.param(served("inference.config", "good"), FACTS, id="W-C23 good config"),
        pytest.param(
            served("inference.config", "c"), config("vllm: {max-model-len: ''}"), id="W-C23 blank"
        ),
        pytest.param(
            served("inference.config", "any"), replace(FACTS, config_map=None), id="W-C23 no look"
        ),
        pytest.param(served("inference.adapters", [adapter()]), FACTS, id="W-C22 adapter"),
        pytest.param(
            served("inference.adapters", [{**adapter(), "strength": "0.5"}]),
            FACTS,
            id="W-C20 strength",
        ),
        pytest.param(
            annotated("model-streaming", "disabled"),
            replace(FACTS, feature_gates={"ModelStreaming": True}, cloud="aws"),
            id="W-C24 opted out",
        ),
        pytest.param(
            served(),
            replace(FACTS, feature_gates={"ModelStreaming": True}, csi_driver=lambda _: True),
            id="W-C24 driver",
        ),
        pytest.param(
            changed(annotated("runtime", "llamacpp"), "inference.adapters", [adapter()]),
            FACTS,
            id="llama.cpp with adapters",
        ),
        pytest.param(tuned(), FACTS, id="tuning"),
        pytest.param(tuned("tuning.method", "QLoRA"), FACTS, id="W-C27 any case"),
        pytest.param(
            tuned("tuning.config", "c"),
            tuning_config(
                "training_config:\n  QuantizationConfig: {load_in_4bit: true}\n"
                "  TrainingArguments: {output_dir: /mnt/results}\n"
            ),
            id="W-C28 good config",
        ),
        pytest.param(tuned("tuning.method", "full"), FACTS, id="W-C27 full"),
        pytest.param(
            tuned("tuning.input", {"huggingFace": f"owner/data@{'a' * 40}"}),
            FACTS,
            id="W-C29 Hugging Face",
        ),
        pytest.param(
            tuned("tuning.output", {"volumeSource": {"emptyDir": {}}}), FACTS, id="W-C30 volume"
        ),
    ],
)
def test_accepted_on_creation(manifest: dict[str, Any], facts: Facts) -> None:
    assert create(manifest, facts) == ""


MIG = {"mode": "mig", "profile": "1g.10gb"}


@pytest.mark.parametrize(
    ("manifest", "facts", "said"),
    [
        pytest.param(
            served("metadata.name", "Ws.1"), FACTS, f"metadata.name: {messages.NAME}", id="W-C1"
        ),
        pytest.param(
            served("metadata.name", "a" * 64), FACTS, "at most 63 characters", id="W-C1 long"
        ),
        pytest.param(served(without="inference"), FACTS, messages.ONE_WORKLOAD, id="W-C2 neither"),
        pytest.param(
            served("tuning", tuned()["tuning"]), FACTS, messages.ONE_WORKLOAD, id="W-C2 both"
        ),
        pytest.param(
            served(without="resource.instanceType"),
            FACTS,
            "resource.instanceType: must be set: node provisioner nodeclaim creates nodes",
            id="W-C3 empty",
        ),
        pytest.param(
            tuned(without="resource.instanceType"),
            FACTS,
            "resource.instanceType: must be set",
            id="W-C3 tuning",
        ),
        pytest.param(served(), BYO, "byo creates no nodes; leave it out", id="W-C3 byo"),
        pytest.param(served(without="resource"), FACTS, "resource: must be set", id="no resource"),
        pytest.param(
            annotated("node-image-family", "windows"),
            FACTS,
            'node-image-family]: "windows" is not one of "ubuntu" or "azurelinux"',
            id="W-C4",
        ),
        pytest.param(annotated("performance-mode", ""), FACTS, '"" is not one of', id="W-C5 empty"),
        pytest.param(
            annotated("performance-mode", "troughput"),
            FACTS,
            'did you mean "throughput"?',
            id="W-C5 typo",
        ),
        pytest.param(
            annotated("use-local-weights", "True"),
            FACTS,
            '"True" is not one of "true" or "false"',
            id="W-C6",
        ),
        pytest.param(
            annotated("runtime", "lamacpp"),
            FACTS,
            'did you mean "llamacpp"?',
            id="unknown runtime",
        ),
        pytest.param(
            annotated("node-class-name", "b"),
            replace(FACTS, node_provisioner="karpenter", node_class_names=("a",)),
            'node-class-name]: "b" is not one of "a"',
            id="W-C7",
        ),
        pytest.param(
            served("inference.preset.name", "phi-44"),
            FACTS,
            'inference.preset.name: "phi-44" is no preset; did you mean "phi-4"?',
            id="W-C8",
        ),
        pytest.param(served("inference.preset.name", "/x"), FACTS, "is no preset", id="W-C8 slash"),
        pytest.param(
            served("inference.preset.name", "phi-2"), FACTS, "is deprecated", id="W-C8 deprecated"
        ),
        pytest.param(
            served(
                "resource.labelSelector",
                {"matchExpressions": [{"key": "a", "operator": "Exists"}]},
            ),
            FACTS,
            f"resource.labelSelector.matchExpressions[0]: {messages.SELECTOR_PLAIN}",
            id="W-C9",
        ),
        pytest.param(
            served("resource.labelSelector.matchLabels", {"kaito.sh/workspace": "x"}),
            FACTS,
            f"resource.labelSelector: {messages.SELECTOR_RESERVED}",
            id="W-C10",
        ),
        pytest.param(
            served("resource.partition", MIG),
            FACTS,
            "resource.partition: needs nodes of one's own (node provisioner byo), not nodeclaim",
            id="W-C11",
        ),
        pytest.param(
            byo("resource.partition", {**MIG, "count": 1}),
            BYO,
            'resource.partition.count: must not be set with mode "mig"',
            id="W-C12 count",
        ),
        pytest.param(
            byo("resource.partition", {"mode": "mig", "profile": "1g.10gb+me"}),
            BYO,
            f"resource.partition.profile: {messages.MIG_PROFILE}",
            id="W-C12 suffix",
        ),
        pytest.param(
            byo("resource.partition", {"mode": "mig", "profile": "5g.40gb"}),
            BYO,
            f"resource.partition.profile: {messages.MIG_PROFILE}",
            id="W-C12 unknown",
        ),
        pytest.param(
            byo("resource.partition", MIG),
            BYO,
            'has 10 GiB, but the weights of preset "phi-4" take 27.3 GiB',
            id="W-C12 weights",
        ),
        pytest.param(
            byo("resource.partition", MIG),
            replace(BYO, feature_gates={}),
            "needs the feature gate enableMIG",
            id="W-C12 gate",
        ),
        pytest.param(
            byo("resource.partition", {"mode": "accelerator", "profile": "x"}),
            BYO,
            "\n".join(
                [
                    'resource.partition.mode: mode "accelerator" needs the feature gate'
                    " enableAccelerator",
                    'resource.partition.profile: must not be set with mode "accelerator"',
                    'resource.partition.count: must be set with mode "accelerator"',
                ]
            ),
            id="W-C13",
        ),
        pytest.param(byo(), replace(BYO, nodes=()), "no node has the labels", id="W-C14 none"),
        pytest.param(
            byo(),
            replace(BYO, nodes=({"kubernetes.io/hostname": "n1"},)),
            "n1 lacks the label nvidia.com/gpu.product, nvidia.com/gpu.count",
            id="W-C14 unlabelled",
        ),
        pytest.param(
            byo(),
            replace(BYO, nodes=({**A_NODE, "nvidia.com/gpu.memory": "80Gi"},)),
            'nvidia.com/gpu.memory="80Gi", which is no number',
            id="W-C14 no integer",
        ),
        pytest.param(
            byo(),
            replace(BYO, nodes=(A_NODE, {**A_NODE, "nvidia.com/gpu.count": "2"})),
            "matches nodes whose GPUs differ",
            id="W-C14 differ",
        ),
        pytest.param(
            served("resource.instanceType", "Standard_NC24ads_A100_v5"),
            FACTS,
            'is no instance type of cloud "azure"; did you mean "Standard_NC24ads_A100_v4"?',
            id="W-C15",
        ),
        pytest.param(
            served(), replace(FACTS, known_cloud=False), "no instance types", id="W-C15 cloud"
        ),
        pytest.param(
            served(),
            replace(FACTS, fits=lambda *_: "needs 27 GiB of 24 GiB"),
            "resource.instanceType: needs 27 GiB of 24 GiB (annotation kaito.sh/bypass",
            id="W-C16 W-C17",
        ),
        pytest.param(
            served("inference.config", "good"),
            replace(FACTS, fits=lambda _, config: "with it" if config is CONFIG else None),
            "resource.instanceType: with it",
            id="W-C16 with the ConfigMap",
        ),
        pytest.param(
            byo(),
            replace(BYO, fits=lambda *_: "too large"),
            "resource.labelSelector: too large",
            id="W-C16 byo",
        ),
        pytest.param(served("inference", {}), FACTS, messages.ONE_SOURCE, id="W-C18 neither"),
        pytest.param(
            served("inference.template", {"spec": {}}), FACTS, messages.ONE_SOURCE, id="W-C18 both"
        ),
        pytest.param(
            annotated("runtime", "transformers"),
            replace(FACTS, runtime_refusal=lambda preset, engine: f"{preset} not by {engine}"),
            "inference.preset.name: phi-4 not by transformers",
            id="W-C20 model",
        ),
        pytest.param(
            served(),
            replace(
                FACTS,
                feature_gates={"vLLM": False},
                runtime_refusal=lambda preset, engine: f"{preset} not by {engine}",
            ),
            "phi-4 not by transformers",
            id="W-C20 gate off",
        ),
        pytest.param(
            served(),
            replace(FACTS, auth_required=lambda _: True),
            "inference.preset.presetOptions.modelAccessSecret: must be set",
            id="W-C21",
        ),
        pytest.param(
            served("inference.adapters", [adapter(name=f"a{n}") for n in range(11)]),
            FACTS,
            f"inference.adapters: {messages.MANY_ADAPTERS}",
            id="W-C22 many",
        ),
        pytest.param(
            served(),
            replace(FACTS, feature_gates={"ModelStreaming": True}, cloud="aws"),
            'cannot be streamed from blobs on cloud "aws"',
            id="W-C24 cloud",
        ),
        pytest.param(
            served(),
            replace(FACTS, feature_gates={"ModelStreaming": True}, csi_driver=lambda _: False),
            "the CSIDriver blob.csi.azure.com is not installed",
            id="W-C24 driver",
        ),
        pytest.param(
            served("inference.preset.accessMode", "private"),
            FACTS,
            f"inference.preset.presetOptions.image: {messages.PRIVATE_IMAGE}",
            id="a private preset without its image",
        ),
        pytest.param(
            served("inference.adapters", [adapter(), adapter()]),
            FACTS,
            f"inference.adapters: {messages.ADAPTER_NAMES}",
            id="W-C22 twice",
        ),
        pytest.param(
            served("inference.adapters", [{}]),
            FACTS,
            "inference.adapters[0].source: must be set",
            id="W-C22 upstream panics",
        ),
        pytest.param(
            served("inference.config", "missing"),
            FACTS,
            'inference.config: there is no ConfigMap "missing" in namespace "default"',
            id="W-C23 absent",
        ),
        pytest.param(
            served("inference.config", "c"),
            replace(FACTS, config_map=lambda _: {"other": ""}),
            "has no key inference_config.yaml",
            id="W-C23 no key",
        ),
        pytest.param(
            served("inference.config", "c"),
            config("vllm: [\n"),
            "is no YAML, line",
            id="W-C23 YAML",
        ),
        pytest.param(
            served("inference.config", "c"), config("- a"), "must be a map", id="W-C23 no map"
        ),
        pytest.param(
            served("inference.config", "c"),
            config("vllm: {hf-overrides: {a: 1}}"),
            "vllm.hf-overrides must be a single value; quote JSON",
            id="W-C23 nested",
        ),
        pytest.param(
            served("inference.config", "c"),
            config("vllm: {max-model-len: many}"),
            "max-model-len",
            id="W-C23 no number",
        ),
        pytest.param(
            served("inference.config", "c"),
            config("vllm: {max-model-len: 20000}"),
            "20000 exceeds the 16384 tokens",
            id="W-C23 too long",
        ),
        pytest.param(tuned("resource.count", 2), FACTS, messages.TUNING_ONE_NODE, id="W-C25 count"),
        pytest.param(
            tuned(without="resource"), FACTS, "resource: must be set", id="W-C25 upstream panics"
        ),
        pytest.param(
            tuned("resource.partition", MIG), FACTS, "resource.partition: cannot", id="W-C26"
        ),
        pytest.param(
            tuned("tuning.method", "qlor"),
            FACTS,
            f"tuning.method: {messages.TUNING_METHOD}",
            id="W-C27",
        ),
        pytest.param(
            tuned("tuning.config", "missing"), FACTS, "there is no ConfigMap", id="W-C28 absent"
        ),
        pytest.param(
            tuned("tuning.config", "good"), FACTS, "no key training_config.yaml", id="W-C28 key"
        ),
        pytest.param(
            tuned("tuning.input", {"name": "d"}), FACTS, messages.TUNING_INPUT, id="W-C29 nothing"
        ),
        pytest.param(
            tuned("tuning.input.image", "a/b:1"), FACTS, messages.TUNING_INPUT, id="W-C29 two"
        ),
        pytest.param(
            tuned("tuning.input", {"image": "A/B"}), FACTS, "no image reference", id="W-C29 image"
        ),
        pytest.param(
            tuned("tuning.input.urls", ["http://169.254.169.254/"]),
            FACTS,
            "tuning.input.urls[0]:",
            id="W-C29 URL",
        ),
        pytest.param(
            tuned(without="tuning.output.imagePushSecret"),
            FACTS,
            "tuning.output.imagePushSecret: must be set with image",
            id="W-C30 secret",
        ),
        pytest.param(tuned("tuning.output", {}), FACTS, messages.TUNING_OUTPUT, id="W-C30"),
        pytest.param(
            tuned(without="tuning.preset"), FACTS, "tuning.preset: must be set", id="W-C31 missing"
        ),
        pytest.param(
            tuned("tuning.preset.name", "nope"), FACTS, "tuning.preset.name:", id="W-C31 name"
        ),
    ],
)
def test_refused_on_creation(manifest: dict[str, Any], facts: Facts, said: str) -> None:
    assert said in create(manifest, facts)


@pytest.mark.parametrize(
    ("section", "method", "said"),
    [
        pytest.param("- a", "lora", "training_config must be a map", id="no map"),
        pytest.param("Nope: {}", "lora", '"Nope" is no section', id="section"),
        pytest.param("LoraConfg: {}", "lora", 'did you mean "LoraConfig"?', id="typo"),
        pytest.param(
            "QuantizationConfig: {load_in_4bit: 'yes'}", "qlora", "neither true nor", id="type"
        ),
        pytest.param(
            "QuantizationConfig: {load_in_4bit: true, load_in_8bit: true}",
            "qlora",
            "exclude each other",
            id="both",
        ),
        pytest.param(
            "QuantizationConfig: {load_in_8bit: true}", "lora", "use method qlora", id="lora"
        ),
        pytest.param("LoraConfig: {}", "qlora", "needs load_in_4bit or", id="qlora"),
        pytest.param("TrainingArguments: {output_dir: ../x}", "lora", "must lie below", id="dir"),
        pytest.param("TrainingArguments: {output_dir: /}", "lora", "must lie below", id="root"),
        pytest.param("TrainingArguments: {output_dir: 3}", "lora", "must be a text", id="number"),
        pytest.param("LoraConfig: {r: 8}", "full", "leave LoraConfig out", id="full"),
        pytest.param("LoraConfig: {r: 8, r: 9}", "lora", "is there twice", id="twice"),
        pytest.param(
            "TrainingArguments: {learning_rat: 1}", "lora", 'mean "learning_rate"?', id="option"
        ),
    ],
)
def test_tuning_config_is_refused(section: str, method: str, said: str) -> None:
    """W-C28."""
    manifest = changed(tuned("tuning.config", "c"), "tuning.method", method)
    text = f"training_config:\n  {section}\n"
    assert said in create(manifest, tuning_config(text))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        pytest.param({"source": None}, "source: must be set", id="no source"),
        pytest.param(adapter(name=""), messages.ADAPTER_NAME, id="no name"),
        pytest.param(adapter(name="A_b"), messages.ADAPTER_NAME, id="bad name"),
        pytest.param(adapter(image=""), messages.ADAPTER_ONE, id="nothing"),
        pytest.param(adapter(volumeSource={"emptyDir": {}}), messages.ADAPTER_ONE, id="both"),
        pytest.param(adapter(huggingFace="o/m"), messages.ADAPTER_ONE, id="image and Hugging Face"),
        pytest.param(
            adapter(image="", huggingFace="o/m@main"), messages.HUGGING_FACE, id="no commit"
        ),
        pytest.param(adapter(urls=["https://e.com"]), "cannot come from urls", id="urls"),
        pytest.param({**adapter(), "strength": "2"}, messages.STRENGTH, id="strength"),
        pytest.param({**adapter(), "strength": "x"}, messages.STRENGTH, id="strength text"),
    ],
)
def test_adapters_are_judged_on_creation_and_on_change(given: dict[str, Any], said: str) -> None:
    """W-U10; on creation too, or the object could never be written again."""
    new = served("inference.adapters", [given])
    assert said in create(new)
    assert said in update(served(), new)
    assert update(new, new) == ""


@pytest.mark.parametrize(
    ("old", "new", "facts", "said"),
    [
        pytest.param(served(), tuned(), FACTS, "inference: cannot be added", id="W-U1"),
        pytest.param(served(), served("resource.count", 2), FACTS, "resource.count:", id="W-U2"),
        pytest.param(
            byo("resource.partition", MIG), byo(), BYO, "resource.partition: cannot", id="W-U3"
        ),
        pytest.param(
            served(),
            served("resource.instanceType", "local-cpu-2"),
            FACTS,
            f"resource.instanceType: {messages.KEPT}",
            id="W-U4",
        ),
        pytest.param(
            served(), served(without="resource.instanceType"), FACTS, "must be set", id="W-U4 empty"
        ),
        pytest.param(byo(), served(), BYO, "byo creates no nodes", id="W-U4 byo"),
        pytest.param(
            served(),
            served("resource.labelSelector.matchLabels", {"apps": "other"}),
            FACTS,
            "resource.labelSelector: cannot be changed",
            id="W-U5",
        ),
        pytest.param(
            served(),
            served(
                "resource.labelSelector",
                {"matchExpressions": [{"key": "apps", "operator": "Exists"}]},
            ),
            FACTS,
            messages.SELECTOR_PLAIN,
            id="W-U5 not a map",
        ),
        pytest.param(
            annotated("node-class-name", "a"),
            annotated("node-class-name", "b"),
            replace(FACTS, node_provisioner="karpenter", node_class_names=("a",)),
            "node-class-name]:",
            id="W-U6",
        ),
        pytest.param(
            served(),
            annotated("model-streaming", "disabled"),
            replace(FACTS, feature_gates={"ModelStreaming": True}),
            "model-streaming]: cannot be changed",
            id="W-U7",
        ),
        pytest.param(
            served(),
            served("inference.preset.presetOptions", {"modelAccessSecret": "s"}),
            FACTS,
            "inference.preset: cannot be changed",
            id="W-U8",
        ),
        pytest.param(
            served("inference", {"template": {}}),
            served(),
            FACTS,
            "inference.template: cannot be added or removed",
            id="W-U9",
        ),
        pytest.param(
            tuned(), tuned("tuning.preset.name", "o/m"), FACTS, "tuning.preset:", id="W-U11 preset"
        ),
        pytest.param(
            tuned(), tuned("tuning.method", "lora"), FACTS, "tuning.method:", id="W-U11 method"
        ),
        pytest.param(
            tuned(), tuned("tuning.input.name", "x"), FACTS, "tuning.input.name:", id="W-U11 name"
        ),
        pytest.param(
            tuned(),
            tuned("tuning.output.image", "UPPER"),
            FACTS,
            "tuning.output.image:",
            id="W-U11 image",
        ),
        pytest.param(
            served(),
            served("inference.config", "missing"),
            FACTS,
            "inference.config: there is no ConfigMap",
            id="W-C23 on update",
        ),
        pytest.param(
            tuned(),
            tuned("tuning.config", "missing"),
            FACTS,
            "tuning.config: there is no ConfigMap",
            id="W-C28 on update",
        ),
        pytest.param(
            served(),
            annotated("performance-mode", "fast"),
            FACTS,
            "not one of",
            id="W-C5 on update",
        ),
        pytest.param(
            served(),
            annotated("runtime", "transformers"),
            replace(FACTS, runtime_refusal=lambda preset, engine: f"{preset} not by {engine}"),
            "inference.preset.name: phi-4 not by transformers",
            id="W-C20 on update",
        ),
        pytest.param(
            served(),
            annotated("runtime", "ollama"),
            FACTS,
            "kaito.sh/runtime]",
            id="runtime changed",
        ),
    ],
)
def test_refused_on_update(
    old: dict[str, Any], new: dict[str, Any], facts: Facts, said: str
) -> None:
    assert said in update(old, new, facts)


INVALID = served("inference.preset.name", "gone")
EXPRESSED = {"matchExpressions": [{"key": "apps", "operator": "In", "values": ["phi"]}]}


@pytest.mark.parametrize(
    ("old", "new", "facts"),
    [
        pytest.param(INVALID, INVALID, FACTS, id="what has become invalid can be written"),
        pytest.param(served(), byo(), BYO, id="W-U4 cleared in byo"),
        pytest.param(served(), served("resource.labelSelector", EXPRESSED), FACTS, id="W-U5 same"),
        pytest.param(
            served(), served("inference.preset.presetOptions", {}), FACTS, id="W-U8 empty options"
        ),
        pytest.param(
            served("inference", {"template": {"a": 1}}),
            served("inference", {"template": {"a": 2}}),
            FACTS,
            id="W-U9 content",
        ),
        pytest.param(tuned(), tuned("tuning.method", "QLORA"), FACTS, id="W-U11 case"),
        pytest.param(
            served("inference.config", "missing"),
            served("inference.config", "missing"),
            FACTS,
            id="a ConfigMap that is gone since",
        ),
        pytest.param(served(), served("inference.config", "good"), FACTS, id="W-C23 another"),
        pytest.param(
            served(),
            served("inference.adapters", [adapter(image="", huggingFace=f"o/m@{'0' * 40}")]),
            FACTS,
            id="W-U10 Hugging Face",
        ),
    ],
)
def test_accepted_on_update(old: dict[str, Any], new: dict[str, Any], facts: Facts) -> None:
    assert update(old, new, facts) == ""


def test_gated_preset_needs_no_secret_for_weights_on_the_node() -> None:
    """W-C21: nothing is fetched."""
    gated = replace(FACTS, auth_required=lambda _: True)
    assert create(annotated("use-local-weights", "true"), gated) == ""
