"""LoRA adapters beside the model: one directory each, from a volume or out of an image."""

from __future__ import annotations

from collections.abc import Iterable

from apis import container
from apis.kaito.v1beta1.workspace import AdapterSpec, DataSource
from kube.meta import Manifest
from workspace_controller.manifests.volumes import Volumes, mounted

_VOLUME = "adapter-volume"
_PULLER_IMAGE = "mcr.microsoft.com/aks/skopeo:1.14.4-6"
_CREDENTIALS_DIR = "/root/.docker/config.d"

# The image's layers are unpacked in order; only what is then under /data is the adapter.
_PULL_SCRIPT = """\
set -eu
work="$(mktemp -d)"
pull() { skopeo copy --dest-decompress "$@" "docker://$ADAPTER_IMAGE" "dir:$work/image"; }
pulled=
for credentials in "$CREDENTIALS_DIR"/*/config.json; do
  if [ -e "$credentials" ] && pull --authfile "$credentials"; then pulled=yes; break; fi
done
[ -n "$pulled" ] || pull
mkdir "$work/root"
tr -d '\\n' < "$work/image/manifest.json" | sed 's/.*"layers"//' | tr ',{}' '\\n\\n\\n' \\
  | sed -n 's/.*"digest": *"sha256:\\([0-9a-f]*\\)".*/\\1/p' | while read -r layer; do
  tar -x -f "$work/image/$layer" -C "$work/root"
done
mkdir -p "$ADAPTER_DIR"
cp -R "$work/root/data/." "$ADAPTER_DIR"
rm -rf "$work"
"""


def adapters(specs: Iterable[AdapterSpec]) -> Volumes:
    """Volumes and pullers for all adapters; their pull secrets are the pod's, too."""
    found = Volumes()
    sources = [spec.source for spec in specs if spec.source is not None]
    for source in sources:
        if source.volume_source is not None:
            found += mounted(_label(_VOLUME, source.name), source.volume_source, _directory(source))
        elif source.image:
            found += _pulled(source)
    if found.init_containers:
        found += mounted(_VOLUME, {"emptyDir": {}}, container.ADAPTERS_DIR)
    return found


def strengths(specs: Iterable[AdapterSpec]) -> list[Manifest]:
    """Environment variables named as the adapters; for engines that merge them."""
    return [
        {"name": spec.source.name, "value": spec.strength}
        for spec in specs
        if spec.source is not None and spec.strength
    ]


def _label(*parts: str) -> str:
    """Adapters and Secrets may have dots in their names, volumes and containers may not."""
    return "-".join(parts).replace(".", "-")[:63].rstrip("-")


def _directory(source: DataSource) -> str:
    return f"{container.ADAPTERS_DIR}/{source.name}"


def _pulled(source: DataSource) -> Volumes:
    credentials = Volumes()
    for secret in source.image_pull_secrets:
        items = [{"key": ".dockerconfigjson", "path": "config.json"}]
        credentials += mounted(
            _label("pull", source.name, secret),
            {"secret": {"secretName": secret, "items": items}},
            f"{_CREDENTIALS_DIR}/{secret}",
            read_only=True,
        )
    puller: Manifest = {
        "name": _label("puller", source.name),
        "image": _PULLER_IMAGE,
        "command": ["/bin/sh", "-c", _PULL_SCRIPT],
        "env": [
            {"name": "ADAPTER_IMAGE", "value": source.image},
            {"name": "ADAPTER_DIR", "value": _directory(source)},
            {"name": "CREDENTIALS_DIR", "value": _CREDENTIALS_DIR},
        ],
        "volumeMounts": [
            {"name": _VOLUME, "mountPath": container.ADAPTERS_DIR},
            *credentials.mounts,
        ],
    }
    return Volumes(
        volumes=credentials.volumes,
        init_containers=(puller,),
        pull_secrets=source.image_pull_secrets,
    )
