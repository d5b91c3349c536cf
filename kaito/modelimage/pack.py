"""A model as an image: layers that versions and fine-tunes share, and what is said of them. The
same files are the same digest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from kaito.modelimage import licence
from kaito.modelimage.source import Source
from oci.image import Image
from oci.layers import Layer, tar_layer

LARGE_BYTES = 8 << 20
"""A file of at least that has a layer of its own; the others have one together."""
MOST_LAYERS = 100
"""Overlay file systems take some hundred layers, some tools 127. Of models with more large files
neighbours share a layer."""

_OCI = "org.opencontainers.image"
BASE = "sh.kaito.model.base"
FORMAT = "sh.kaito.model.format"
LICENSE_FILES = "sh.kaito.model.license-files"


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """What the user says of the model; empty: what its files and its source say."""

    title: str = ""
    version: str = ""
    source: str = ""
    licenses: str = ""
    base_model: str = ""


def image(
    source: Source,
    labels: Labels,
    *,
    platform: str = "linux/amd64",
    packed: Callable[[str, Layer], None] = lambda _names, _layer: None,
) -> Image:
    """Reads every file once, for the digests. `platform`: containerd unpacks no image of another
    than its own, though weights are the same on all. `packed` is told of each layer."""
    layers, history = [], []
    for names in groups({name: path.stat().st_size for name, path in source.files.items()}):
        layer = tar_layer({name: source.files[name] for name in names})
        shown = names[0] if len(names) == 1 else f"{len(names)} files: {', '.join(names)}"
        layers.append(layer)
        history.append({"created_by": f"kaito model-image build: {shown}"})
        packed(shown, layer)
    told = described(source, labels)
    os, _, architecture = platform.partition("/")
    config = {
        "architecture": architecture,
        "os": os,
        "config": {"Labels": told},
        "history": history,
    }
    return Image(layers, config, told)


def groups(sizes: Mapping[str, int]) -> list[list[str]]:
    """The files of each layer. The small ones, which change, come last: a node that has the layers
    before it need not unpack them anew."""
    large = sorted(name for name, size in sizes.items() if size >= LARGE_BYTES)
    small = sorted(set(sizes) - set(large))
    together = -(-len(large) // (MOST_LAYERS - 1))
    found = [large[at : at + together] for at in range(0, len(large), together or 1)]
    return [*found, small] if small else found


def described(source: Source, labels: Labels) -> dict[str, str]:
    """Of the manifest, and labels of the config. Without the time: it would change the digest."""
    found = licence.find(source.files)
    told = {
        f"{_OCI}.title": labels.title or source.name,
        f"{_OCI}.version": labels.version,
        f"{_OCI}.revision": source.commit,
        f"{_OCI}.source": labels.source or source.location,
        f"{_OCI}.licenses": licence.expression(labels.licenses) or found.expression,
        LICENSE_FILES: ",".join(found.files),
        BASE: labels.base_model or found.base_model,
        FORMAT: source.format,
    }
    return {key: value for key, value in told.items() if value}


def file_digests(source: Source, packed: Image) -> dict[str, str]:
    """`sha256:…` by the file's name in the image."""
    found: dict[Path, str] = {}
    for layer in packed.layers:
        found |= layer.files
    return {name: found[path] for name, path in sorted(source.files.items())}
