"""Weights in a pod: the volume they lie in, and who downloads them.

Weights are downloaded before the engine starts, by an init container of the engine's own image,
and the engine then reads a directory that it cannot write to, without a network.
"""

from __future__ import annotations

from collections.abc import Mapping

from apis import container
from kube.meta import Manifest
from workspace_controller.manifests import environment, security
from workspace_controller.manifests.volumes import Volumes, mounted
from workspace_controller.workspace.weights import DOWNLOADS_VOLUME, Source

NVME_STORAGE_CLASS = "kaito-local-nvme-disk"
"""Upstream's, of its local CSI driver."""

_READ_VOLUME = "model-weights"
_DOCKER_CONFIG = ".dockerconfigjson"


def volumes(
    source: Source, *, image: str, endpoint: str = "", insecure_registries: str = ""
) -> Volumes:
    """Volume, mount and, where something is to be downloaded, its init container."""
    if source.cache == "":
        return _mounted(source)
    return _downloaded(source, image, _environment(source, endpoint, insecure_registries))


def _mounted(source: Source) -> Volumes:
    found = mounted(
        _READ_VOLUME, _read(source), container.WEIGHTS_DIR, read_only=True, inside=source.path
    )
    return found + Volumes(pull_secrets=source.pull_secrets)


def claim_templates(source: Source, labels: Mapping[str, str]) -> list[Manifest]:
    """The claim of each pod on an NVMe disk of its node."""
    if source.cache != "nvme":
        return []
    return [
        {
            "metadata": {"name": DOWNLOADS_VOLUME, "labels": dict(labels)},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": NVME_STORAGE_CLASS,
                "resources": {"requests": {"storage": f"{source.disk_gib}Gi"}},
            },
        }
    ]


def _read(source: Source) -> Manifest:
    if source.kind == "image":
        return {"image": {"reference": source.location, "pullPolicy": "IfNotPresent"}}
    if source.kind == "claim":
        return {"persistentVolumeClaim": {"claimName": source.location, "readOnly": True}}
    return {"hostPath": {"path": source.location, "type": "Directory"}}


def _downloaded(source: Source, image: str, variables: list[Manifest]) -> Volumes:
    credentials = Volumes()
    for at, secret in enumerate(source.pull_secrets):
        credentials += mounted(
            f"weights-credentials-{at}",
            {
                "secret": {
                    "secretName": secret,
                    "items": [{"key": _DOCKER_CONFIG, "path": "config.json"}],
                }
            },
            f"{container.WEIGHTS_CREDENTIALS_DIR}/{at}",
            read_only=True,
        )
    where: Manifest = {"name": DOWNLOADS_VOLUME, "mountPath": container.WEIGHTS_DIR}
    return Volumes(
        volumes=(*_room(source), *credentials.volumes),
        mounts=({**where, "readOnly": True},),
        init_containers=(_init_container(source, image, variables, (where, *credentials.mounts)),),
    )


def _room(source: Source) -> tuple[Manifest, ...]:
    """None for NVMe: the StatefulSet adds the volume of each claim."""
    if source.cache == "nvme":
        return ()
    if source.cache == "node":
        kept = {"path": source.host_path, "type": "DirectoryOrCreate"}
        return ({"name": DOWNLOADS_VOLUME, "hostPath": kept},)
    return ({"name": DOWNLOADS_VOLUME, "emptyDir": {}},)


def _init_container(
    source: Source, image: str, variables: list[Manifest], mounts: tuple[Manifest, ...]
) -> Manifest:
    found: Manifest = {
        "name": "weights",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-m", "serving.weights"],
        "args": _arguments(source),
        "volumeMounts": list(mounts),
        "securityContext": _security(source),
        # What it said last is the reason that status and `kubectl describe` show.
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    if variables:
        found["env"] = variables
    return found


def _arguments(source: Source) -> list[str]:
    if source.kind == "registry":
        path = [f"--path={source.path}"] if source.path else []
        return ["registry", f"--reference={source.location}", *path]
    arguments = ["hub", f"--repository={source.location}"]
    for flag, value in (
        ("revision", source.revision),
        ("file", source.file),
        ("load-format", source.load_format),
    ):
        if value:
            arguments.append(f"--{flag}={value}")
    return arguments


def _environment(source: Source, endpoint: str, insecure_registries: str) -> list[Manifest]:
    if source.kind == "registry":
        return environment.registries(insecure_registries)
    return environment.hub(endpoint=endpoint, token_secret=source.token_secret)


def _security(source: Source) -> Manifest:
    """Directories of nodes and fresh disks belong to root. Root without any capability may write
    there, since it owns them, and nowhere else; the engine, which is not root, reads."""
    found = security.serving(known_image=True)
    if source.cache in ("node", "nvme"):
        found |= {"runAsNonRoot": False, "runAsUser": 0, "runAsGroup": 0}
    return found
