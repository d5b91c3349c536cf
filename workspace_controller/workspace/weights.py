"""Where a preset's weights come from and where they are kept: one value that volumes, engine
options and status follow. Pure.

What the user asks for is a URL (`apis.kaito.weights`); what the cluster offers for it is looked
up in the settings, the nodes and the namespace.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

from apis import container
from apis.kaito import weights as asks
from apis.kaito.v1beta1.workspace import PresetOptions, Workspace
from apis.kaito.weights import Claim, Hub, Image, OnNode
from kube.meta import Manifest
from kube.objects import Node
from presets.catalog import DISK_HEADROOM_GIB
from presets.engines import registry
from presets.fits import Fit
from presets.model import Model
from workspace_controller.settings import Settings, WeightsSettings
from workspace_controller.workspace import models
from workspace_controller.workspace.observed import Observed

Kind = Literal["hub", "image", "registry", "claim", "node"]
Cache = Literal["", "pod", "node", "nvme"]

DOWNLOADS_VOLUME = "model-weights-volume"
"""What downloads are written to; upstream's name, also of the claims on NVMe disks."""

_ENFORCED = "pod-security.kubernetes.io/enforce"
_FORBID_HOST_PATHS = frozenset({"baseline", "restricted"})
_FORBID_ROOT = frozenset({"restricted"})

_IMAGE_VOLUMES_SINCE = (1, 35)
"""Where the feature gate ImageVolume is on by default."""
_RUNTIMES = {"containerd": (2, 1), "cri-o": (1, 31)}
"""Container runtimes that can mount an image, and since when."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where weights come from, and how they get into the pod."""

    kind: Kind
    """hub: downloaded from Hugging Face. registry: downloaded as an OCI artifact. image: mounted
    as an image volume. claim, node: a volume of the user's, a directory of the node."""
    location: str
    """owner/model; the image's reference; the claim; the node's directory."""
    revision: str = ""
    """A commit or a digest; empty where nobody knows it."""
    path: str = ""
    """A directory inside; empty is all of it."""
    file: str = ""
    """The one file that the engine loads; empty: what it finds."""
    load_format: str = ""
    cache: Cache = ""
    """Where a download is kept: with the pod, on its node for all pods, on an NVMe disk. Empty
    where nothing is downloaded."""
    host_path: str = ""
    """The node's directory for this repository, with cache `node`."""
    disk_gib: int = 0
    """What the NVMe disk is asked for."""
    token_secret: str = ""
    pull_secrets: tuple[str, ...] = ()

    @property
    def directory(self) -> str:
        """Where the serving container finds them."""
        if not self.cache:
            return container.WEIGHTS_DIR
        snapshot = container.snapshot_directory(self.revision)
        return f"{snapshot}/{self.path}" if self.path else snapshot

    def __str__(self) -> str:
        inside = f"/{self.path}" if self.path else ""
        where = {
            "hub": f"Hugging Face {self.location}",
            "image": f"image volume {self.location}{inside}",
            "registry": f"OCI artifact {self.location}{inside}",
            "claim": f"PersistentVolumeClaim {self.location}{inside}, read-only",
            "node": f"directory {self.location} of the node",
        }[self.kind]
        return (f"{self.file} of " if self.file else "") + where + _KEPT[self.cache]


_KEPT: dict[Cache, str] = {
    "": "",
    "pod": ", downloaded by each pod",
    "node": ", downloaded once a node",
    "nvme": ", downloaded to an NVMe disk",
}


def source(
    workspace: Workspace, model: Model, fit: Fit, seen: Observed, settings: Settings, *, nvme: bool
) -> Source:
    """What was asked for, as the cluster can give it. `nvme`: the nodes have such disks.

    The annotations have been judged by `apis.kaito.validation.weights` before.
    """
    formats = registry.ENGINES[fit.engine].formats
    file = (model.gguf_file or "") if formats == {"gguf"} else ""
    wanted = replace(_wanted(workspace, model, seen, settings.weights), file=file)
    if wanted.load_format not in formats:
        wanted = replace(wanted, load_format="")
    if wanted.kind not in ("hub", "registry"):
        return wanted
    cache = _cache(seen, settings.weights, nvme=nvme)
    kept = f"{settings.weights.cache_path}/{_directory_name(wanted)}"
    return replace(
        wanted,
        cache=cache,
        host_path=kept if cache == "node" else "",
        disk_gib=model.disk_gib if cache == "nvme" else 0,
    )


def disk_gib(workspace: Workspace, model: Model) -> int:
    """What a new node's disk needs. A claim brings its own; all else lies on the node, weights in
    its image and mounted images too."""
    if isinstance(asks.asked(workspace.metadata.annotations), Claim):
        return min(model.disk_gib, DISK_HEADROOM_GIB)
    return model.disk_gib


def _wanted(workspace: Workspace, model: Model, seen: Observed, offered: WeightsSettings) -> Source:
    found = asks.asked(workspace.metadata.annotations)
    preset = models.preset(workspace)
    options = preset.preset_options if preset else PresetOptions()
    match found:
        case OnNode():
            # By the preset's name as the user wrote it, alias or not, as upstream does.
            directory = container.local_weights_directory(preset.name if preset else "")
            return Source(kind="node", location=directory)
        case Claim():
            return Source(kind="claim", location=found.name, path=found.path)
        case Image():
            secrets = asks.pull_secrets(workspace.metadata.annotations)
            return Source(
                kind="image" if _image_volumes(seen, offered) else "registry",
                location=found.reference,
                revision=found.digest,
                path=found.path,
                pull_secrets=tuple(dict.fromkeys((*secrets, *options.image_pull_secrets))),
            )
        case Hub():
            return Source(
                kind="hub",
                location=found.repository or model.hf_id,
                revision=found.commit or model.revision,
                load_format=model.load_format,
                token_secret=options.model_access_secret,
            )


def _directory_name(source: Source) -> str:
    """One a repository, whatever its revision: revisions share files. The hub's own name for what
    comes from there, so that its tools read what lies in it."""
    if source.kind == "hub":
        return "models--" + source.location.replace("/", "--")
    name = re.sub(r"(:[^/:]*)?@.*", "", source.location)
    return "oci--" + name.replace("/", "--").replace(":", "--")


def _cache(seen: Observed, offered: WeightsSettings, *, nvme: bool) -> Cache:
    """As the installation has it, but for what can no longer or never be had.

    A StatefulSet's claims are for life: what has them keeps its disk, what has not gets none.
    What the namespace forbids (host paths, root) would leave a StatefulSet that makes no pod.
    """
    enforced = seen.namespace_labels.get(_ENFORCED, "")
    if seen.stateful_set is not None:
        if _has_claims(seen.stateful_set.spec):
            return "nvme"
    elif offered.cache == "nvme" and nvme and enforced not in _FORBID_ROOT:
        return "nvme"
    if offered.cache == "pod" or enforced in _FORBID_HOST_PATHS:
        return "pod"
    return "node"


def _has_claims(spec: Manifest) -> bool:
    templates = spec.get("volumeClaimTemplates") or ()
    return any(each.get("metadata", {}).get("name") == DOWNLOADS_VOLUME for each in templates)


def _image_volumes(seen: Observed, offered: WeightsSettings) -> bool:
    """With `auto` the nodes tell: no kubelet is newer than its API server."""
    if offered.image_volumes == "auto":
        return bool(seen.nodes) and all(map(_mounts_images, seen.nodes))
    return offered.image_volumes == "true"


def _mounts_images(node: Node) -> bool:
    info = node.status.node_info
    runtime, _, version = info.container_runtime_version.partition("://")
    since = _RUNTIMES.get(runtime)
    return (
        since is not None
        and _version(version) >= since
        and _version(info.kubelet_version) >= _IMAGE_VOLUMES_SINCE
    )


def _version(text: str) -> tuple[int, ...]:
    match = re.match(r"v?(\d+)\.(\d+)", text)
    return tuple(map(int, match.groups())) if match else ()
