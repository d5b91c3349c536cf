"""Where a local model's files come from: a directory that has them, an image, or Hugging Face."""

from __future__ import annotations

import hashlib
import logging
import shutil
from dataclasses import replace
from pathlib import Path

from serving.weights import hub
from serving.weights.store import Store

from apis import container
from hub.choice import Request
from hub.repository import ENDPOINT
from oci import credentials, files, unpack
from oci.errors import TransferError
from oci.reference import Reference, insecure_hosts
from oci.registry import Registry
from oci.web import Web
from rag.embedding.settings import EmbeddingSettings
from rag.errors import ModelError

CONFIG = "config.json"
"""Every model's; what has none is no model."""
_DATA = "data"
_REMEDY = "name a Secret with the key HF_TOKEN as embedding.local.modelAccessSecret"
_LOG = logging.getLogger("rag")


def locate(settings: EmbeddingSettings, *, onnx: bool = False) -> Path:
    """The model's directory; downloads it where it is not there yet. `onnx`: of Hugging Face the
    ONNX file instead of torch's weights, where there is one. Raises ModelError."""
    if settings.model_id.startswith("/"):
        return _existing(Path(settings.model_id))
    if (settings.model_dir / CONFIG).is_file():
        return settings.model_dir
    try:
        if settings.image:
            return _pulled(settings)
        return _downloaded(settings, onnx)
    except TransferError as error:
        raise ModelError(f"The embedding model cannot be had: {error}") from error
    except OSError as error:
        raise ModelError(f"The embedding model cannot be stored: {error}") from error


def _existing(folder: Path) -> Path:
    if not (folder / CONFIG).is_file():
        raise ModelError(f"{folder} has no {CONFIG}: no embedding model lies there.")
    return folder


def _pulled(settings: EmbeddingSettings) -> Path:
    """What the image has under /data, or at its root; another image lies elsewhere."""
    name = f"image-{hashlib.sha256(settings.image.encode()).hexdigest()[:16]}"
    place = settings.model_dir / name
    if (place / CONFIG).is_file():
        return place
    _LOG.info("pulling the embedding model %s", settings.image)
    insecure = insecure_hosts(settings.insecure_registries)
    secrets = credentials.load(Path(container.WEIGHTS_CREDENTIALS_DIR))
    registry = Registry(Reference.parse(settings.image, insecure), secrets, Web())
    root = settings.model_dir / f"{name}.root"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    try:
        files.pull(registry, root, Web(), what="the layers of the embedding model")
        found = next((each for each in (root / _DATA, root) if (each / CONFIG).exists()), root)
        unpack.confine(found)
        if not (found / CONFIG).is_file():
            names = ", ".join(sorted(each.name for each in root.iterdir())) or "nothing"
            raise TransferError(f"{settings.image} has no /{_DATA}/{CONFIG}; its root has: {names}")
        found.rename(place)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return place


def _downloaded(settings: EmbeddingSettings, onnx: bool) -> Path:
    """A commit of Hugging Face, resumed and verified; the log says which. Weights that are here
    already are taken rather than the hub asked, which may be out of reach by now."""
    store = Store(settings.model_dir / "hub" / settings.model_id.replace("/", "--"))
    graph = Request(settings.model_id, folders=True, onnx=True)
    weights = replace(graph, onnx=False)
    here = [each for each in (graph, weights) if store.is_complete(store.head(), each.what)]
    if settings.backend == "auto" and here == [weights]:
        onnx = False
    commit = hub.load(
        graph if onnx else weights,
        store,
        Web(),
        endpoint=(settings.endpoint or ENDPOINT).rstrip("/"),
        token=settings.token or "",
        remedy=_REMEDY,
        tell=_LOG.info,
    )
    _LOG.info("embedding model %s at %s", settings.model_id, commit)
    return store.snapshots / commit
