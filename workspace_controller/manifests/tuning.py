"""The Job of a Workspace that tunes: check, weights and data before it, then the trainer."""

from __future__ import annotations

from typing import Any

from apis import container, reports
from apis.kaito.v1beta1.labels import WORKSPACE_REVISION_ANNOTATION
from apis.kaito.v1beta1.workspace import PresetOptions, TuningSpec, Workspace
from kube.meta import Manifest
from presets import tuning
from workspace_controller.manifests import (
    containers,
    environment,
    ownership,
    scheduling,
    security,
    tuningdata,
    volumes,
    weights,
)
from workspace_controller.manifests.volumes import Volumes
from workspace_controller.settings import Settings
from workspace_controller.workspace.tuningsize import Tuned

RUN_ANNOTATION = "kaito.sh/tuning-run"
"""On the Job: which data, configuration and weights it is for (`workspace.tuningrun`)."""

RETRIES = 3
"""Pods that may fail before the tuning has: each costs the time since the last checkpoint."""
_CHECKPOINT_SECONDS = 120
"""From SIGTERM to the end: for a step, and for the checkpoint after it."""
_IN_VAIN = (
    reports.EXIT_BAD_DATA,
    reports.EXIT_BAD_MODEL,
    reports.EXIT_OUT_OF_MEMORY,
    reports.EXIT_PUSH_REFUSED,
    reports.EXIT_BAD_CONFIG,
)
"""What another pod would end with as well."""

_METRICS_PORT = {"name": "metrics", "containerPort": container.PORT, "protocol": "TCP"}


def tuning_job(
    workspace: Workspace,
    work: TuningSpec,
    tuned: Tuned,
    settings: Settings,
    *,
    run: str,
    number: int,
) -> Manifest:
    """As it is made, for good: of a Job nearly nothing can be changed.

    What takes a pod away from outside (a drain, a preemption, a lost node) counts for nothing;
    a new pod follows once the old one is gone, so that no two write to one volume.
    """
    noted = {WORKSPACE_REVISION_ANNOTATION: str(number), RUN_ANNOTATION: run}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": ownership.child_metadata(workspace, workspace.metadata.name, noted),
        "spec": {
            "completions": 1,
            "parallelism": 1,
            "backoffLimit": RETRIES,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {
                "rules": [
                    {
                        "action": "Ignore",
                        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                    },
                    {
                        "action": "FailJob",
                        "onExitCodes": {"operator": "In", "values": sorted(_IN_VAIN)},
                    },
                ]
            },
            "template": {
                "metadata": {"labels": ownership.pod_labels(workspace)},
                "spec": _Pod(workspace, work, tuned, settings).spec(),
            },
        },
    }


class _Pod:
    """The parts of the pod, which share image, variables and mounts."""

    def __init__(
        self, workspace: Workspace, work: TuningSpec, tuned: Tuned, settings: Settings
    ) -> None:
        self._workspace = workspace
        self._work = work
        self._tuned = tuned
        self._settings = settings
        self._options = work.preset.preset_options if work.preset else PresetOptions()
        ours = containers.Images(settings.registry, settings.image_tag).tuning
        self._image = self._options.image or ours
        self._config = volumes.config(work.config)
        self._pushing = tuningdata.pushing(work.output)
        self._data = tuningdata.data(
            work.input,
            endpoint=settings.weights.endpoint,
            token_secret=self._options.model_access_secret,
        )

    def spec(self) -> Manifest:
        shape = self._tuned.need.shape
        fetched = weights.volumes(
            self._tuned.source,
            image=self._image,
            endpoint=self._settings.weights.endpoint,
            insecure_registries=self._settings.insecure_registries,
        )
        results = tuningdata.results(self._work.output, self._tuned.output_dir)
        shared = volumes.shared_memory(containers.shared_memory_mib(shape, self._tuned.fit))
        trains = self._config + self._data.volumes + results + fetched + shared + self._pushing
        pod: Manifest = {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": _CHECKPOINT_SECONDS,
            "affinity": self._affinity(),
            "tolerations": scheduling.tolerations(self._settings.cloud.tolerations),
            **self._security(),
            "initContainers": [self._check(), *fetched.init_containers, *self._fetch()],
            "containers": [self._train(trains)],
            "volumes": [*trains.volumes, *self._data.fetched.volumes],
        }
        secrets = dict.fromkeys((*self._options.image_pull_secrets, *fetched.pull_secrets))
        if secrets:
            pod["imagePullSecrets"] = [{"name": name} for name in secrets]
        return pod

    def _affinity(self) -> Manifest:
        found = scheduling.node_affinity(self._settings.nodes.reach(self._workspace))
        return {} if found is None else {"nodeAffinity": found}

    def _security(self) -> Manifest:
        """Volumes of the user's belong to whoever made them; the trainer writes by its group."""
        found = security.pod()
        if self._work.output.volume_source is None:
            return found
        return {**found, "securityContext": {**found["securityContext"], **security.WRITES}}

    def _check(self) -> Manifest:
        """Configuration and push access, before anything is downloaded."""
        mounts = self._config + self._pushing
        return self._container("check", ["python", "-m", "tuning.check"], self._told(), mounts)

    def _fetch(self) -> list[Manifest]:
        if not self._data.variables:
            return []
        variables = [_set(container.ENV_DATA_DIR, container.DATA_DIR), *self._data.variables]
        if self._work.input.image:
            variables += self._registries()
        command = ["python", "-m", "tuning.data"]
        return [self._container("data", command, variables, self._data.fetched)]

    def _train(self, mounts: Volumes) -> Manifest:
        variables = [
            *self._told(),
            _set(container.ENV_DATA_DIR, container.DATA_DIR),
            _set(container.ENV_WEIGHTS, self._tuned.source.directory),
        ]
        if self._tuned.need.shape.gpu:
            variables.append(_set("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True"))
        name, command = self._workspace.metadata.name, ["python", "-m", "tuning"]
        return {
            **self._container(name, command, variables, mounts),
            "ports": [_METRICS_PORT],
            "resources": containers.resources(self._tuned.need.shape, self._tuned.fit),
        }

    def _told(self) -> list[Manifest]:
        """What the check and the trainer must agree on."""
        model = self._tuned.model
        found = {
            container.ENV_MODEL: model.hf_id or model.name,
            container.ENV_MODEL_REVISION: self._tuned.source.revision,
            container.ENV_TUNING_METHOD: self._tuned.recipe.method,
            container.ENV_TUNING_OUTPUT: self._work.output.image,
            container.ENV_TUNING_CONFIG_FILE: container.TUNING_CONFIG_FILE
            if self._work.config
            else "",
            container.ENV_TARGET_MODULES: tuning.target_modules(model),
        }
        return [*(_set(name, value) for name, value in found.items() if value), *self._registries()]

    def _registries(self) -> list[Manifest]:
        """For what pulls and what pushes."""
        return environment.registries(self._settings.insecure_registries)

    def _container(
        self, name: str, command: list[str], variables: list[Manifest], mounts: Volumes
    ) -> dict[str, Any]:
        return {
            "name": name,
            "image": self._image,
            "imagePullPolicy": "IfNotPresent",
            "command": command,
            "env": variables,
            "securityContext": security.serving(known_image=not self._options.image),
            # What it said last is the reason that the status shows.
            "terminationMessagePolicy": "FallbackToLogsOnError",
            **({"volumeMounts": list(mounts.mounts)} if mounts.mounts else {}),
        }


def _set(name: str, value: str) -> Manifest:
    return {"name": name, "value": value}
