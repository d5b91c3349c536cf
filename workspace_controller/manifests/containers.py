"""The serving container: image, command, environment, resources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from apis import container
from apis.kaito.v1beta1 import labels
from apis.kaito.v1beta1.workspace import Workspace
from kube.meta import Manifest
from presets.engines import registry
from presets.engines.options import Executor, Options
from presets.engines.profile import EngineProfile
from presets.engines.vllm import MASTER_PORT
from presets.fits import Fit
from presets.model import Model
from workspace_controller.manifests import adapters, probes, security
from workspace_controller.manifests.service import RAY_PORT, headless_name
from workspace_controller.manifests.volumes import Volumes
from workspace_controller.nodes.provisioner import NodeShape
from workspace_controller.workspace.sizing import Served, Sizing

_POD_INDEX_FIELD = "metadata.labels['apps.kubernetes.io/pod-index']"

# "$@" are the engine's arguments: the leader alone serves, workers lend it their GPUs, and end
# when it does, so that both start anew together.
_RAY_SCRIPT = f"""\
ray=/workspace/vllm/multi-node-serving.sh
if [ "$POD_INDEX" = "0" ]; then
  "$ray" leader --ray_cluster_size="$KAITO_NODES" --ray_port={RAY_PORT}
  exec python -m serving.vllm "$@"
fi
exec "$ray" worker --ray_address="$KAITO_LEADER_ADDRESS" --ray_port={RAY_PORT}
"""
_MP_SCRIPT = f"""\
set -- "$@" --node-rank="$POD_INDEX" --master-addr="$KAITO_LEADER_ADDRESS"
if [ "$POD_INDEX" = "0" ]; then
  exec python -m serving.vllm "$@"
fi
exec python -m serving.vllm.follower --leader="$KAITO_LEADER_ADDRESS" --port={MASTER_PORT} \\
  python -m serving.vllm "$@" --headless
"""

SCRIPTS: Mapping[Executor, str] = {"ray": _RAY_SCRIPT, "mp": _MP_SCRIPT}

_SHM_BASE_GIB = 2
_SHM_GIB_PER_GPU = 2
"""Queues between the engine's processes, NCCL's buffers, Ray's objects; taken as it is filled."""
_SHM_SHARE = 0.5
"""Of the node's RAM at most."""


@dataclass(frozen=True, slots=True)
class Images:
    """Where our serving images come from: `<registry>/kaito-serving-<engine>:<tag>`."""

    registry: str
    tag: str

    def serving(self, engine: str) -> str:
        return f"{self.registry}/kaito-serving-{engine}:{self.tag}"

    @property
    def tuning(self) -> str:
        return f"{self.registry}/kaito-tuning:{self.tag}"

    @property
    def rag(self) -> str:
        return f"{self.registry}/kaito-rag:{self.tag}"

    def tools(self, profile: EngineProfile) -> str:
        """What downloads for the engine: its own image, or where we make none the smallest."""
        return self.serving("llamacpp" if profile.image else profile.name)


def serving(
    workspace: Workspace, sizing: Sizing, served: Served, images: Images, mounts: Volumes
) -> Manifest:
    """The one container of a preset's pod, named as the Workspace."""
    model, fit = served.model, served.fit
    engine = registry.ENGINES[fit.engine]
    chosen = options(workspace, served)
    own = own_image(workspace)
    distributed = fit.nodes > 1
    command = list(engine.command)
    if distributed:
        command = ["/bin/sh", "-c", SCRIPTS[chosen.distributed_executor], "serving"]
    return {
        "name": workspace.metadata.name,
        "image": own or engine.image or images.serving(engine.name),
        "imagePullPolicy": "IfNotPresent",
        "terminationMessagePolicy": "FallbackToLogsOnError",
        **({"command": command} if command else {}),
        "args": engine.argv(model, fit, chosen),
        "env": _environment(workspace, model, fit, engine.environment(model, fit, chosen)),
        "ports": [
            {"name": port.name, "containerPort": port.number, "protocol": "TCP"}
            for port in engine.ports
        ],
        "resources": resources(sizing.need.shape, fit),
        "securityContext": security.serving(known_image=not own),
        "volumeMounts": list(mounts.mounts),
        **(_distributed_probes(workspace, model) if distributed else _probes(engine, model)),
    }


def own_image(workspace: Workspace) -> str:
    """The user's image that serves in place of ours; empty where there is none."""
    preset = workspace.inference.preset if workspace.inference else None
    return preset.preset_options.image if preset else ""


def pull_secrets(workspace: Workspace) -> tuple[str, ...]:
    """What the user's image is pulled with."""
    preset = workspace.inference.preset if workspace.inference else None
    return tuple(preset.preset_options.image_pull_secrets) if preset else ()


def shared_memory_mib(shape: NodeShape, fit: Fit) -> int:
    """How large /dev/shm may grow; 0 where the engine is one process without GPUs."""
    if fit.engine == "llamacpp":
        return 0
    wanted = float(_SHM_BASE_GIB + _SHM_GIB_PER_GPU * shape.gpu.count)
    if shape.memory_gib:
        wanted = min(wanted, _SHM_SHARE * shape.memory_gib)
    return int(wanted * 1024)


def options(workspace: Workspace, served: Served) -> Options:
    """What the Workspace decides about its server."""
    inference = workspace.inference
    annotations = workspace.metadata.annotations
    created_by = workspace.metadata.labels.get(labels.INFERENCESET_CREATED_BY_LABEL, "")
    engine = registry.ENGINES[served.fit.engine]
    given = inference.adapters if inference else ()
    joined_by = annotations.get(labels.DISTRIBUTED_EXECUTOR_ANNOTATION)
    hot = adapters.taken_at_run_time(workspace, served.model, served.fit)
    return Options(
        served_model_name=created_by or served.model.name,
        weights_dir=served.source.directory,
        config_file=container.CONFIG_FILE if inference and inference.config else "",
        engine_options={} if engine.reads_config else served.options,
        adapters=tuple(each.source.name for each in given if each.source is not None),
        distributed_executor="mp" if joined_by == "mp" else "ray",
        adapters_dir=container.ADAPTERS_DIR if given or hot else "",
        runtime_adapters=hot,
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
    if workspace.inference is not None and fit.engine != "vllm":
        entries += adapters.strengths(workspace.inference.adapters)
    if fit.nodes > 1:
        index = {"fieldRef": {"fieldPath": _POD_INDEX_FIELD}}
        entries += [
            {"name": container.ENV_POD_INDEX, "valueFrom": index},
            {"name": container.ENV_NODES, "value": str(fit.nodes)},
            {"name": container.ENV_LEADER_ADDRESS, "value": leader_address(workspace)},
        ]
    return entries


def resources(shape: NodeShape, fit: Fit) -> dict[str, Any]:
    """All GPUs of the node, and of its RAM and cores what the estimate took.

    No limit on those two: the node is the Workspace's alone, and a limit would only throttle.
    """
    requests = {}
    if fit.cpu:
        requests["cpu"] = f"{int(fit.cpu * 1000)}m"
    if fit.memory_gib:
        requests["memory"] = f"{int(fit.memory_gib * 1024)}Mi"
    if not shape.gpu.count:
        return {"requests": requests} if requests else {}
    gpus = {shape.gpu_resource: str(shape.gpu.count)}
    return {"requests": {**requests, **gpus}, "limits": gpus}


def _probes(engine: EngineProfile, model: Model) -> Manifest:
    path = engine.health_path
    return {
        "startupProbe": probes.startup(model.startup_seconds, path),
        "livenessProbe": probes.liveness(path),
        "readinessProbe": probes.readiness(path),
    }


def _distributed_probes(workspace: Workspace, model: Model) -> Manifest:
    leader = leader_address(workspace)
    return {
        "startupProbe": probes.distributed_startup(leader, model.startup_seconds),
        "livenessProbe": probes.distributed_liveness(leader, RAY_PORT),
        "readinessProbe": probes.distributed_readiness(leader),
    }
