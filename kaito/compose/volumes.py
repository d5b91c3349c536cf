"""Volumes of a pod as Compose mounts them, and what the file says of them at its top. Pure."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from apis import container
from kaito.compose.table import ComposeError, checked
from kaito.compose.text import Variable
from kube import quantity
from kube.meta import Manifest

SECRETS = "${KAITO_SECRETS:-./secrets}"
"""A directory for each Secret, a file for each key of it: never in the Compose file."""

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Mounted:
    """`service`: lists and texts for the service that mounts it. `top`: entries by section of the
    file (volumes, configs, secrets). `own`: an emptyDir. `claimed`: a claim that is written to."""

    service: Manifest = field(default_factory=dict)
    top: Mapping[str, Manifest] = field(default_factory=dict)
    own: str = ""
    claimed: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Asked:
    """One mount of one container, with the volume that it names."""

    volume: str
    source: Manifest
    target: str
    read_only: bool
    inside: str
    where: str
    config_maps: Mapping[str, Mapping[str, str]]

    def mount(self, kind: str, source: str, **more: Any) -> Manifest:
        found: Manifest = {"type": kind, "source": source, "target": self.target}
        if self.read_only:
            found["read_only"] = True
        return found | more


def mounted(
    mount: Manifest,
    volumes: Mapping[str, Manifest],
    config_maps: Mapping[str, Mapping[str, str]],
    where: str,
) -> Mounted:
    """ComposeError where Compose has nothing that is the same."""
    checked("volumeMount", mount, where)
    volume = volumes.get(mount["name"])
    if volume is None:
        raise ComposeError([f"{where}: there is no volume {mount['name']!r} in the pod"])
    warnings = checked("volume", volume, f"volumes[{mount['name']}]")
    kind = next((key for key in volume if key != "name"), "emptyDir")
    source = volume.get(kind) or {}
    asked = _Asked(
        volume=mount["name"],
        source=source,
        target=mount["mountPath"],
        read_only=bool(mount.get("readOnly")),
        inside=mount.get("subPath", ""),
        where=f"volumes[{mount['name']}].{kind}",
        config_maps=config_maps,
    )
    warnings += checked(kind, source, asked.where)
    if asked.inside and (kind in ("configMap", "secret") or source.get("medium")):
        raise ComposeError([f"{where}.subPath: Compose mounts all of such a volume: leave it out"])
    found = _KINDS[kind](asked)
    return dataclasses.replace(found, warnings=tuple(warnings))


def _empty_dir(asked: _Asked) -> Mounted:
    limit = asked.source.get("sizeLimit")
    if asked.source.get("medium") == "Memory":
        return _in_memory(asked, limit)
    if limit is not None or asked.source.get("medium"):
        raise ComposeError(
            [f"{asked.where}: Compose cannot bound a volume: leave out medium and sizeLimit"]
        )
    inside = {"volume": {"subpath": asked.inside}} if asked.inside else {}
    return Mounted(
        {"volumes": [asked.mount("volume", asked.volume, **inside)]},
        {"volumes": {asked.volume: {}}},
        own=asked.volume,
    )


def _in_memory(asked: _Asked, limit: str | None) -> Mounted:
    size = None if limit is None else f"{int(quantity.parse(limit)) // _MIB}m"
    if asked.target == container.SHM_DIR and size:
        return Mounted({"shm_size": size})
    mount: Manifest = {"type": "tmpfs", "target": asked.target}
    if asked.read_only:
        mount["read_only"] = True
    return Mounted({"volumes": [mount | ({"tmpfs": {"size": size}} if size else {})]})


def _host_path(asked: _Asked) -> Mounted:
    made = {"": False, "Directory": False, "File": False, "DirectoryOrCreate": True}
    kind = asked.source.get("type", "")
    if kind not in made:
        raise ComposeError([f"{asked.where}.type: Compose has none that is {kind}"])
    path = str(asked.source["path"]) + (f"/{asked.inside}" if asked.inside else "")
    bind = {"create_host_path": made[kind]}
    return Mounted({"volumes": [asked.mount("bind", path, bind=bind)]})


def _claim(asked: _Asked) -> Mounted:
    """A volume that is there before, as a claim is: `docker volume create`, and the data in it."""
    name = str(asked.source["claimName"])
    mount = asked.mount("volume", name)
    if asked.inside:
        mount["volume"] = {"subpath": asked.inside}
    if asked.source.get("readOnly"):
        mount["read_only"] = True
    outside = {"volumes": {name: {"external": True, "name": name}}}
    return Mounted({"volumes": [mount]}, outside, claimed="" if mount.get("read_only") else name)


def _image(asked: _Asked) -> Mounted:
    inside = {"image": {"subpath": asked.inside}} if asked.inside else {}
    mount = asked.mount("image", asked.source["reference"], **inside) | {"read_only": True}
    return Mounted({"volumes": [mount]})


def _config_map(asked: _Asked) -> Mounted:
    name = str(asked.source["name"])
    if name not in asked.config_maps:
        raise ComposeError([f'{asked.where}: there is no ConfigMap "{name}" in the file: add it'])
    data = asked.config_maps[name]
    return Mounted(
        {
            "configs": [
                {"source": config_name(name, key), "target": f"{asked.target}/{key}"}
                for key in sorted(data)
            ]
        },
        {"configs": {config_name(name, key): {"content": data[key]} for key in sorted(data)}},
    )


def config_name(config_map: str, key: str) -> str:
    """Of a key of a ConfigMap, among the file's `configs`."""
    return f"{config_map}--{_plain(key)}"


def _secret(asked: _Asked) -> Mounted:
    """A Secret that may be missing is: the cluster alone has one to give."""
    name = str(asked.source["secretName"])
    if asked.source.get("optional"):
        return Mounted()
    if not (items := asked.source.get("items")):
        found = asked.mount("bind", Variable(f"{SECRETS}/{name}"))
        found |= {"read_only": True, "bind": {"create_host_path": False}}
        return Mounted({"volumes": [found]})
    mounts, files = [], {}
    for item in items:
        checked("secretItem", item, f"{asked.where}.items")
        entry = f"{name}--{_plain(item['key'])}"
        mounts.append({"source": entry, "target": f"{asked.target}/{item['path']}"})
        files[entry] = {"file": Variable(f"{SECRETS}/{name}/{item['key']}")}
    return Mounted({"secrets": mounts}, {"secrets": files})


def _plain(key: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "-", key).strip("-")


_KINDS: Mapping[str, Callable[[_Asked], Mounted]] = {
    "emptyDir": _empty_dir,
    "hostPath": _host_path,
    "persistentVolumeClaim": _claim,
    "image": _image,
    "configMap": _config_map,
    "secret": _secret,
}
