"""What serving containers find mounted, each with its volume."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from apis import container
from apis.kaito.v1beta1 import labels
from kube.meta import Manifest
from workspace_controller.marks import Owner


@dataclass(frozen=True, slots=True)
class Volumes:
    """Volumes of the pod, their mounts in the serving container, and who fills them."""

    volumes: tuple[Manifest, ...] = ()
    mounts: tuple[Manifest, ...] = ()
    init_containers: tuple[Manifest, ...] = ()
    pull_secrets: tuple[str, ...] = field(default=())

    def __add__(self, other: Volumes) -> Volumes:
        return Volumes(
            self.volumes + other.volumes,
            self.mounts + other.mounts,
            self.init_containers + other.init_containers,
            tuple(dict.fromkeys(self.pull_secrets + other.pull_secrets)),
        )


def shared_memory(mib: int) -> Volumes:
    """The 64 MiB that a container has by itself are too little for the engine's processes."""
    source = {"emptyDir": {"medium": "Memory", "sizeLimit": f"{mib}Mi"}}
    return mounted("dshm", source, container.SHM_DIR) if mib else Volumes()


def config(config_map: str) -> Volumes:
    """The user's engine options; nothing where there are none."""
    if not config_map:
        return Volumes()
    source = {"configMap": {"name": config_map}}
    return mounted("config-volume", source, container.CONFIG_DIR, read_only=True)


def api_keys(owner: Owner) -> Volumes:
    """The keys that open the server; nothing where nobody needs one. Without the Secret the pod
    waits for it: a server that was meant to be closed must not open meanwhile."""
    secret = owner.metadata.annotations.get(labels.API_KEY_SECRET_ANNOTATION, "")
    if not secret:
        return Volumes()
    source = {"secret": {"secretName": secret}}
    return mounted("api-keys", source, container.API_KEYS_DIR, read_only=True)


def mounted(
    name: str, source: dict[str, Any], path: str, *, read_only: bool = False, inside: str = ""
) -> Volumes:
    """The volume at `path`, or of it the directory `inside`."""
    mount: Manifest = {"name": name, "mountPath": path}
    if read_only:
        mount["readOnly"] = True
    if inside:
        mount["subPath"] = inside
    return Volumes(volumes=({"name": name, **source},), mounts=(mount,))
