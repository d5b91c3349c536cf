"""What is made of a RAGEngine, against files that show it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml

from kube.meta import Manifest
from tests import builders, ragengines
from tests.unit.workspace_controller.test_manifests import _Readable, without_hash
from workspace_controller.ragengine.plan import make_plan
from workspace_controller.settings import Settings, WeightsSettings

GOLDEN = Path(__file__).parents[2] / "golden" / "ragengine"
SETTINGS = dataclasses.replace(
    builders.settings(), weights=WeightsSettings(endpoint="http://hub.example")
)
SERVICE = {
    "url": "http://gemma.default.svc.cluster.local/v1/chat/completions",
    "accessSecret": "llm",
    "contextWindowSize": 8192,
}
GPU = {"instanceType": "local-gpu-1", "labelSelector": {"matchLabels": {"apps": "rag"}}}
EVERYTHING = {
    "annotations": {"kaito.sh/api-key-secret": "keys", "kaito.sh/enablelb": "True"},
    "embedding": {
        "local": {"image": "registry.example/minilm:1", "imagePullSecret": "pull"},
    },
    "storage": {
        "persistentVolume": {"persistentVolumeClaim": "indexes", "mountPath": "/mnt/indexes"}
    },
    "inferenceService": SERVICE,
    "guardrails": {"enabled": True, "configMapRef": {"name": "policy"}},
}
REMOTE = {
    "compute": None,
    "embedding": {"remote": {"url": "http://embed.example/v1", "accessSecret": "embed"}},
    "storage": {
        "vectorDB": {
            "engine": "Qdrant",
            "url": "http://qdrant.example:6333",
            "accessSecret": "database",
        }
    },
    "guardrails": {"enabled": True},
}
ON_GPU = {
    "compute": GPU,
    "annotations": {"kaito.sh/use-local-weights": "true"},
    "embedding": {"local": {"modelID": ragengines.MODEL, "modelAccessSecret": "hub"}},
}
IN_BUCKET = {
    "annotations": {
        "kaito.sh/rag-object-store": "s3://indexes/rag",
        "kaito.sh/rag-object-store-secret": "bucket",
        "kaito.sh/rag-settings": "settings",
        "kaito.sh/rag-reranker-secret": "reranker",
    },
    "embedding": {"remote": {"url": "http://embed.example/v1"}},
}
CHOSEN = ragengines.some_settings(
    RAG_RERANKER_MODEL="BAAI/bge-reranker-base",
    RAG_CHUNK_TOKENS="256",
    RAG_LANGUAGE="german",
    RAG_REQUESTS_PER_MINUTE="60",
    REMOTE_EMBEDDING_MODEL="bge-m3",
)
GPU_NODE = {"nodes": (ragengines.a_node(instance_type="local-gpu-1", gpus=1),)}
CASES = [
    pytest.param("local", {}, {}, SETTINGS, id="a model of its own on a CPU node"),
    pytest.param(
        "everything",
        EVERYTHING,
        {"volume_claim": ragengines.a_volume_claim(), "config": ragengines.a_policy()},
        SETTINGS,
        id="a claim, an image, guardrails, keys",
    ),
    pytest.param(
        "remote",
        REMOTE,
        {"config": ragengines.a_policy("template")},
        SETTINGS,
        id="wherever there is room, all else elsewhere",
    ),
    pytest.param("gpu", ON_GPU, GPU_NODE, SETTINGS, id="on the one GPU of its node"),
    pytest.param(
        "object-store",
        IN_BUCKET,
        {"settings": CHOSEN},
        SETTINGS,
        id="an object store alone, settings, and a reranker of its own",
    ),
]


def manifests(given: dict[str, Any], seen: dict[str, Any], settings: Settings) -> list[Manifest]:
    """What is applied once the node is there."""
    plan = make_plan(ragengines.an_engine(**given), ragengines.a_ready_world(**seen), settings)
    assert plan.blocked is None, plan.blocked
    return without_hash(list(plan.apply))


@pytest.mark.parametrize(("name", "given", "seen", "settings"), CASES)
def test_engines_are_as_the_golden_file_shows_them(
    name: str, given: dict[str, Any], seen: dict[str, Any], settings: Settings
) -> None:
    expected = list(yaml.safe_load_all((GOLDEN / f"{name}.yaml").read_text()))
    assert manifests(given, seen, settings) == expected


@pytest.mark.parametrize(("name", "given", "seen", "settings"), CASES)
def test_no_secret_goes_by_value_and_the_pod_is_restricted(
    name: str, given: dict[str, Any], seen: dict[str, Any], settings: Settings
) -> None:
    """The rules of the Pod Security level `restricted`; a node's directory is the user's wish."""
    pod = next(
        each["spec"]["template"]["spec"]
        for each in manifests(given, seen, settings)
        if each["kind"] == "Deployment"
    )
    (container,) = pod["containers"]
    for each in container["env"]:
        name_of = each["name"].removesuffix("_TOKENS")  # which are counted, and no secret
        secret = "SECRET" in name_of or "TOKEN" in name_of
        assert not (secret and "value" in each)
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "readOnlyRootFilesystem": True,
    }
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["securityContext"]["fsGroup"] == 65532
    kinds = {next(iter(each.keys() - {"name"})) for each in pod["volumes"]}
    allowed = {"emptyDir", "persistentVolumeClaim", "secret", "configMap"}
    assert kinds - allowed == ({"hostPath"} if name == "gpu" else set())
    assert {"tmp"} <= {each["name"] for each in pod["volumes"]}


def write() -> None:
    """`python -m tests.unit.workspace_controller.test_ragengine_manifests` writes the files."""
    for case in CASES:
        name, given, seen, settings = case.values
        with (GOLDEN / f"{name}.yaml").open("w") as file:
            made = manifests(given, seen, settings)
            yaml.dump_all(made, file, _Readable, sort_keys=False, width=1000)


if __name__ == "__main__":
    write()
