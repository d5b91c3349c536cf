"""What becomes of each field of a pod in a Compose file: the whole list. Pure.

A field that is not here is refused by name, so that nothing of a pod is ever lost in silence: who
adds one to the controller's manifests, or has one in a template, is told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


class ComposeError(Exception):
    """There is no Compose file for it; `lines` are for the user, a sentence each."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines = tuple(lines)
        super().__init__("; ".join(self.lines))


@dataclass(frozen=True, slots=True)
class Fate:
    """`said`: the Compose attribute that says the same; else `why` nothing need say it, or, where
    `warns`, what is not the same."""

    said: str = ""
    why: str = ""
    warns: bool = False


_CLUSTER = Fate(why="about nodes and schedulers")
_CHILD = Fate(why="how a cluster keeps count of pods")
_TOLD = Fate(why="what `kubectl` shows of it")


def _said(**fields: str) -> dict[str, Fate]:
    return {name: Fate(said=attribute) for name, attribute in fields.items()}


TABLE: Mapping[str, Mapping[str, Fate]] = {
    "StatefulSet": {
        **_said(template="services", replicas="one; more are refused"),
        **dict.fromkeys(
            (
                "podManagementPolicy",
                "updateStrategy",
                "serviceName",
                "selector",
                "persistentVolumeClaimRetentionPolicy",
            ),
            _CHILD,
        ),
    },
    "Job": {
        "template": Fate(said="services"),
        **dict.fromkeys(("completions", "parallelism", "podReplacementPolicy"), _CHILD),
        "backoffLimit": Fate(
            why="Compose does not try again by itself: `docker compose up` is the next try",
            warns=True,
        ),
        "podFailurePolicy": Fate(why="about when to try again"),
    },
    "template": {"spec": Fate(said="services"), "metadata": _CHILD},
    "pod": {
        **_said(
            containers="services",
            initContainers="services, depends_on",
            volumes="volumes, configs, secrets",
            terminationGracePeriodSeconds="stop_grace_period",
            securityContext="user, security_opt",
            restartPolicy="restart",
        ),
        **dict.fromkeys(("affinity", "tolerations", "nodeSelector"), _CLUSTER),
        **dict.fromkeys(("topologySpreadConstraints", "priorityClassName"), _CLUSTER),
        "automountServiceAccountToken": Fate(why="there is no API server to ask"),
        "enableServiceLinks": Fate(why="Compose sets no variables for other services"),
        "imagePullSecrets": Fate(
            why="images are pulled with what `docker login` has stored on this machine", warns=True
        ),
    },
    "podSecurityContext": {
        **_said(runAsUser="user", runAsGroup="user", supplementalGroups="group_add"),
        **_said(fsGroup="group_add, and the group of volumes"),
        "fsGroupChangePolicy": Fate(why="about how soon a volume is mounted"),
        **_said(seccompProfile="security_opt, unless it is the runtime's own"),
        "runAsNonRoot": Fate(why="the kubelet's check on runAsUser"),
    },
    "container": {
        **_said(
            name="services",
            image="image",
            imagePullPolicy="pull_policy",
            command="entrypoint",
            args="command",
            env="environment",
            ports="ports",
            resources="deploy.resources",
            securityContext="user, cap_drop, cap_add, security_opt, read_only, privileged",
            volumeMounts="volumes, configs, secrets, shm_size, tmpfs",
            workingDir="working_dir",
            startupProbe="healthcheck.start_period, start_interval",
            readinessProbe="healthcheck",
        ),
        "livenessProbe": Fate(
            why="Compose says of a container that it is unhealthy, and does not start it anew as"
            " the kubelet does",
            warns=True,
        ),
        **dict.fromkeys(("terminationMessagePolicy", "terminationMessagePath"), _TOLD),
    },
    "securityContext": {
        **_said(
            allowPrivilegeEscalation="security_opt",
            capabilities="cap_drop, cap_add",
            runAsUser="user",
            runAsGroup="user",
            readOnlyRootFilesystem="read_only",
            privileged="privileged",
            seccompProfile="security_opt, unless it is the runtime's own",
        ),
        "runAsNonRoot": Fate(why="the kubelet's check on runAsUser"),
    },
    "seccompProfile": _said(type="security_opt"),
    "capabilities": _said(drop="cap_drop", add="cap_add"),
    "env": _said(name="environment", value="environment", valueFrom="environment"),
    "valueFrom": _said(
        secretKeyRef="a variable of the shell", fieldRef="the value of the only pod"
    ),
    "secretKeyRef": {
        **_said(optional="whether the variable must be set"),
        **dict.fromkeys(("name", "key"), Fate(why="the variable of the same name is taken")),
    },
    "fieldRef": {**_said(fieldPath="the value of the only pod"), "apiVersion": _TOLD},
    "port": {
        **dict.fromkeys(
            ("name", "containerPort", "protocol"), Fate(why="`ports` are those of the Service")
        ),
    },
    "resources": _said(requests="deploy.resources.reservations", limits="deploy.resources.limits"),
    "probe": _said(
        httpGet="healthcheck.test",
        exec="healthcheck.test",
        periodSeconds="healthcheck.interval",
        timeoutSeconds="healthcheck.timeout",
        failureThreshold="healthcheck.retries",
        initialDelaySeconds="healthcheck.start_period",
    ),
    "httpGet": _said(path="healthcheck.test", port="healthcheck.test"),
    "exec": _said(command="healthcheck.test"),
    "volumeMount": _said(
        name="volumes.source",
        mountPath="volumes.target",
        readOnly="volumes.read_only",
        subPath="volumes.volume.subpath, image.subpath, or the bind's source",
    ),
    "volume": _said(
        name="volumes",
        emptyDir="volumes, named after the pod; shm_size; tmpfs",
        hostPath="volumes, bind",
        configMap="configs with inline content",
        secret="secrets, from files",  # noqa: S106
        persistentVolumeClaim="volumes, external",
        image="volumes, image",
    ),
    "emptyDir": _said(medium="shm_size, tmpfs", sizeLimit="shm_size, tmpfs.size"),
    "hostPath": _said(path="volumes.source", type="volumes.bind.create_host_path"),
    "configMap": _said(name="configs"),
    "secret": _said(secretName="secrets", items="secrets", optional="left out"),
    "secretItem": _said(key="secrets.file", path="secrets.target"),
    "persistentVolumeClaim": _said(claimName="volumes.name", readOnly="volumes.read_only"),
    "image": {
        **_said(reference="volumes.source"),
        "pullPolicy": Fate(why="the reference names a digest, so there is nothing newer"),
    },
}
"""By kind of object, then by field."""


def checked(kind: str, given: Mapping[str, Any], where: str) -> list[str]:
    """What is to be warned of in the fields that are set; ComposeError for one that nobody knows
    how to say."""
    known = TABLE[kind]
    if unknown := sorted(set(given) - set(known)):
        raise ComposeError(
            f"{where}.{name}: a Compose file cannot say it, so what it would run is not what the"
            " cluster runs: leave it out of the Workspace, or run that on a cluster"
            for name in unknown
        )
    return [f"{where}.{name}: {known[name].why}" for name in given if known[name].warns]
