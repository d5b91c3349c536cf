"""The serving container: image, command, environment, resources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from apis import container
from apis.kaito.v1beta1 import labels
from apis.kaito.v1beta1.workspace import Workspace
from kube.meta import Manifest
from presets.engines import llamacpp, vllm
from presets.engines.options import Options
from presets.fits import Fit
from presets.model import Model
from workspace_controller.manifests import adapters, probes
from workspace_controller.manifests.service import KV_EVENTS_PORT, RAY_PORT, headless_name
from workspace_controller.manifests.volumes import Volumes
from workspace_controller.workspace import weights
from workspace_controller.workspace.sizing import Sizing

_POD_INDEX_FIELD = "metadata.labels['apps.kubernetes.io/pod-index']"

# "$@" are the engine's arguments: the leader alone serves, workers lend it their GPUs.
_DISTRIBUTED_SCRIPT = f"""\
ray=/workspace/vllm/multi-node-serving.sh
if [ "$POD_INDEX" = "0" ]; then
  "$ray" leader --ray_cluster_size="$KAITO_NODES" --ray_port={RAY_PORT}
  exec python -m serving.vllm "$@"
fi
exec "$ray" worker --ray_address="$KAITO_LEADER_ADDRESS" --ray_port={RAY_PORT}
"""


@dataclass(frozen=True, slots=True)
class Images:
    """Where serving images come from: `<registry>/kaito-serving-<engine>:<tag>`."""

    registry: str
    tag: str

    def serving(self, engine: str) -> str:
        return f"{self.registry}/kaito-serving-{engine}:{self.tag}"


def serving(
    workspace: Workspace, sizing: Sizing, model: Model, fit: Fit, images: Images, mounts: Volumes
) -> Manifest:
    """The one container of a preset's pod, named as the Workspace."""
    engine = vllm if fit.engine == "vllm" else llamacpp
    chosen = options(workspace, model)
    distributed = fit.nodes > 1
    command = ["python", "-m", f"serving.{fit.engine}"]
    if distributed:
        command = ["/bin/sh", "-c", _DISTRIBUTED_SCRIPT, "serving"]
    return {
        "name": workspace.metadata.name,
        "image": images.serving(fit.engine),
        "imagePullPolicy": "IfNotPresent",
        "command": command,
        "args": engine.argv(model, fit, chosen),
        "env": _environment(workspace, model, fit, engine.environment(model, fit, chosen)),
        "ports": _ports(fit),
        "resources": _resources(sizing, fit),
        "volumeMounts": list(mounts.mounts),
        **(_distributed_probes(workspace, model) if distributed else _probes(model)),
    }


def options(workspace: Workspace, model: Model) -> Options:
    """What the Workspace decides about its server."""
    inference = workspace.inference
    annotations = workspace.metadata.annotations
    created_by = workspace.metadata.labels.get(labels.INFERENCESET_CREATED_BY_LABEL, "")
    return Options(
        served_model_name=created_by or model.name,
        weights_dir=container.WEIGHTS_DIR if weights.local_directory(workspace) else "",
        config_file=container.CONFIG_FILE if inference and inference.config else "",
        adapters_dir=container.ADAPTERS_DIR if inference and inference.adapters else "",
        performance_mode=annotations.get(labels.PERFORMANCE_MODE_ANNOTATION, ""),
    )


def leader_address(workspace: Workspace) -> str:
    meta = workspace.metadata
    return f"{meta.name}-0.{headless_name(workspace)}.{meta.namespace}.svc.cluster.local"


def _environment(
    workspace: Workspace, model: Model, fit: Fit, of_engine: dict[str, str]
) -> list[Manifest]:
    plain = {container.ENV_MODEL: model.hf_id, **of_engine}
    entries: list[Manifest] = [{"name": key, "value": value} for key, value in plain.items()]
    if workspace.inference is not None:
        entries += adapters.strengths(workspace.inference.adapters)
    if secret := weights.access_secret(workspace):
        reference = {"name": secret, "key": container.TOKEN_SECRET_KEY, "optional": True}
        entries.append({"name": container.ENV_TOKEN, "valueFrom": {"secretKeyRef": reference}})
    if fit.nodes > 1:
        index = {"fieldRef": {"fieldPath": _POD_INDEX_FIELD}}
        entries += [
            {"name": container.ENV_POD_INDEX, "valueFrom": index},
            {"name": container.ENV_NODES, "value": str(fit.nodes)},
            {"name": container.ENV_LEADER_ADDRESS, "value": leader_address(workspace)},
        ]
    return entries


def _ports(fit: Fit) -> list[Manifest]:
    ports: list[Manifest] = [{"name": "http", "containerPort": container.PORT, "protocol": "TCP"}]
    if fit.engine == "vllm":
        ports.append({"name": "kv-events", "containerPort": KV_EVENTS_PORT, "protocol": "TCP"})
    return ports


def _resources(sizing: Sizing, fit: Fit) -> dict[str, Any]:
    """All GPUs of the node; on a node without any, the RAM and cores that the estimate took.

    No limit on those two: the node is the Workspace's alone, and a limit would only throttle.
    """
    shape = sizing.need.shape
    if shape.gpu.count:
        gpus = {shape.gpu_resource: str(shape.gpu.count)}
        return {"requests": gpus, "limits": dict(gpus)}
    requests = {}
    if fit.cpu:
        requests["cpu"] = f"{int(fit.cpu * 1000)}m"
    if fit.memory_gib:
        requests["memory"] = f"{int(fit.memory_gib * 1024)}Mi"
    return {"requests": requests} if requests else {}


def _probes(model: Model) -> Manifest:
    return {
        "startupProbe": probes.startup(model.startup_seconds),
        "livenessProbe": probes.liveness(),
        "readinessProbe": probes.readiness(),
    }


def _distributed_probes(workspace: Workspace, model: Model) -> Manifest:
    leader = leader_address(workspace)
    return {
        "startupProbe": probes.distributed_startup(leader, model.startup_seconds),
        "livenessProbe": probes.distributed_liveness(leader, RAY_PORT),
        "readinessProbe": probes.distributed_readiness(leader),
    }
