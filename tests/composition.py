"""Workspaces as `kaito compose` is asked for them: one of each kind that a pod can have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from apis.container import CONFIG_KEY, TUNING_CONFIG_KEY
from apis.gpu import GPU, NO_GPU
from kaito.compose.project import Asked
from kube.meta import Manifest
from workspace_controller.nodes.provisioner import NodeShape

CPU = NodeShape("", NO_GPU, cpus=4, memory_gib=12.0)
LARGE = NodeShape("", NO_GPU, cpus=32, memory_gib=128.0)
A100 = NodeShape("", GPU(1, "NVIDIA A100", 80.0, "8.0"), cpus=24, memory_gib=220.0)
FOUR = NodeShape("", GPU(4, "NVIDIA A100", 80.0, "8.0"), cpus=96, memory_gib=880.0)
OPENED = {"modelAccessSecret": "hub"}
GEMMA = {"preset": {"name": "gemma-3-270m", "presetOptions": OPENED}}
PHI = {"preset": {"name": "phi-4-mini-instruct"}}
DIGEST = "sha256:" + "0123456789abcdef" * 4
PICTURE = f"oci://registry.example/models/phi@{DIGEST}/weights"


def a_config(text: str, name: str = "options", key: str = CONFIG_KEY) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name},
        "data": {key: text},
    }


def asked(
    machine: NodeShape,
    inference: Mapping[str, Any] | None = None,
    *,
    config: Manifest | None = None,
    installation: Mapping[str, str] | None = None,
    **annotations: str,
) -> Asked:
    """A Workspace `ws` on nodes that are brought along; annotations without their `kaito.sh/`."""
    part = dict(inference or GEMMA)
    if config is not None:
        part["config"] = config["metadata"]["name"]
    said = {f"kaito.sh/{key.replace('_', '-')}": value for key, value in annotations.items()}
    workspace: Manifest = {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {"name": "ws", "annotations": said},
        "resource": {"labelSelector": {"matchLabels": {"apps": "ws"}}},
        ("tuning" if "input" in part else "inference"): part,
    }
    maps = () if config is None else (config,)
    installed = {"CLOUD_PROVIDER": "local", **(installation or {})}
    return Asked(workspace, maps, machine, installed)


def adapter(name: str, **source: Any) -> Manifest:
    return {"source": {"name": name, **source}, "strength": "0.5"}


TEMPLATE: Manifest = {
    "spec": {
        "terminationGracePeriodSeconds": 5,
        "securityContext": {"runAsUser": 7, "runAsGroup": 8, "supplementalGroups": [9]},
        "initContainers": [
            {
                "name": "first",
                "image": "registry.example/first:1",
                "args": ["--to=$(WHERE)"],
                "env": [{"name": "WHERE", "value": "/data"}],
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            }
        ],
        "containers": [
            {
                "name": "server",
                "image": "registry.example/server",
                "command": ["serve", "$$5", "$(UNKNOWN)"],
                "workingDir": "/srv",
                "env": [
                    {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
                    {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                ],
                "securityContext": {
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"], "add": ["IPC_LOCK"]},
                },
                "resources": {
                    "requests": {"cpu": "500m", "memory": "1000000"},
                    "limits": {"nvidia.com/gpu": "1", "cpu": "2", "memory": "3Gi"},
                },
                "readinessProbe": {"httpGet": {"path": "/ok", "port": 8080}, "periodSeconds": 3},
                "volumeMounts": [
                    {"name": "data", "mountPath": "/data", "readOnly": True, "subPath": "in"},
                    {"name": "scratch", "mountPath": "/scratch"},
                    {"name": "files", "mountPath": "/files"},
                    {"name": "keys", "mountPath": "/keys"},
                ],
            },
            {
                "name": "beside",
                "image": "registry.example/beside:1",
                "readinessProbe": {"exec": {"command": ["test", "-e", "/ok"]}},
            },
        ],
        "volumes": [
            {"name": "data", "emptyDir": {}},
            {"name": "scratch", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
            {"name": "files", "hostPath": {"path": "/srv/files", "type": "DirectoryOrCreate"}},
            {"name": "keys", "secret": {"secretName": "keys"}},
        ],
    }
}

CLAIM = {"persistentVolumeClaim": {"claimName": "disk"}}
_ADAPTERS = [
    adapter("hub", huggingFace="owner/adapter@" + "a" * 40),
    adapter("disk", volumeSource=CLAIM),
    adapter("image", image="registry.example/adapter:1", imagePullSecrets=["pull"]),
]
_GATED = {
    "preset": {
        "name": "phi-4-mini-instruct",
        "presetOptions": {"modelAccessSecret": "hub", "imagePullSecrets": ["pull"]},
    }
}
_OWN_IMAGE = {
    "preset": {
        "name": "phi-4-mini-instruct",
        "presetOptions": {"image": "registry.example/server:1"},
    }
}
_TUNING = {
    **GEMMA,
    "method": "lora",
    "input": {"image": "registry.example/data:1", "imagePullSecrets": ["pull"]},
    "output": {"volumeSource": CLAIM},
}

CASES: Mapping[str, Asked] = {
    "llamacpp": asked(CPU),
    "llamacpp with options": asked(CPU, config=a_config("llamacpp:\n  ctx-size: 4096 # a $5\n")),
    "vllm on a CPU": asked(CPU, runtime="vllm"),
    "vllm": asked(A100, PHI),
    "vllm with options": asked(A100, PHI, config=a_config("vllm:\n  max-model-len: 4096\n")),
    "vllm on four GPUs": asked(
        FOUR, {"preset": {"name": "llama-3.3-70b-instruct", "presetOptions": OPENED}}
    ),
    "tgi": asked(A100, PHI, runtime="tgi"),
    "tgi with options": asked(
        A100, PHI, config=a_config("tgi:\n  quantize: eetq\n"), runtime="tgi"
    ),
    "transformers": asked(A100, _OWN_IMAGE, runtime="transformers"),
    "an image of one's own": asked(A100, _OWN_IMAGE),
    "adapters, hot": asked(A100, PHI | {"adapters": _ADAPTERS}),
    "adapters at start": asked(A100, PHI | {"adapters": _ADAPTERS}, runtime="tgi"),
    "a gated model": asked(A100, _GATED),
    "weights of a pod": asked(A100, PHI, installation={"WEIGHTS_CACHE": "pod"}),
    "weights on the node": asked(A100, PHI, use_local_weights="true"),
    "weights on a claim": asked(A100, PHI, model_weights="pvc://disk/phi"),
    "weights of a registry": asked(
        A100, PHI, model_weights=PICTURE, model_weights_pull_secrets="pull"
    ),
    "weights of an image": asked(
        A100, PHI, model_weights=PICTURE, installation={"IMAGE_VOLUMES": "true"}
    ),
    "a mirror": asked(A100, PHI, installation={"HF_ENDPOINT": "http://mirror.example"}),
    "a load balancer": asked(CPU, enablelb="True"),
    "a pod of one's own": asked(A100, {"template": TEMPLATE}),
    "a tuning": asked(LARGE, _TUNING),
    "a tuning with options": asked(
        LARGE,
        _TUNING,
        config=a_config(
            "training_config:\n  LoraConfig:\n    r: 4\n", "training", TUNING_CONFIG_KEY
        ),
    ),
}
