"""What computes: which is taken, what is said where it cannot be, and what is downloaded."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from rag.documents import Vectors
from rag.embedding import backend, onnx, transformer
from rag.embedding.lines import Pace
from rag.embedding.model import Model
from rag.embedding.recipe import UnsuitedError
from rag.embedding.settings import EmbeddingSettings
from rag.errors import ModelError

from tests.fakes.hub import Hub, Repository

Backend = Literal["auto", "onnx", "torch"]


def a_model(runtime: str) -> Model:
    def encode(texts: Sequence[str], queries: bool) -> Vectors:
        return np.ones((len(texts), 2), np.float32)

    return Model(encode, Pace(threads=1, queries=1, batch_tokens=100), 2, 8, runtime)


@pytest.fixture
def suited(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether ONNX Runtime takes the model: what is there."""
    found = [True]

    def by_onnx(folder: Path) -> Model:
        if not found[0] or not (folder / "onnx/model.onnx").is_file():
            raise UnsuitedError("it is another")
        return a_model("onnx")

    def by_torch(folder: Path) -> Model:
        if not (folder / "model.safetensors").is_file():
            raise ModelError("no weights")
        return a_model("torch")

    monkeypatch.setattr(onnx, "opened", by_onnx)
    monkeypatch.setattr(transformer, "opened", by_torch)
    return found


def files(folder: Path, *names: str) -> Path:
    for name in ("config.json", *names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


ALL = ("model.safetensors", "onnx/model.onnx")


@pytest.mark.parametrize(
    ("wanted", "device", "names", "taken"),
    [
        ("auto", "null", ALL, "onnx"),
        ("auto", "nvidia0", ALL, "torch"),
        ("auto", "nvidiactl", ALL, "onnx"),
        ("onnx", "nvidia0", ALL, "onnx"),
        ("torch", "null", ALL, "torch"),
        ("auto", "null", ALL[:1], "torch"),
        ("auto", "null", ALL[1:], "onnx"),
    ],
)
def test_which_is_taken(
    tmp_path: Path,
    suited: list[bool],
    wanted: Backend,
    device: str,
    names: tuple[str, ...],
    taken: str,
) -> None:
    folder = files(tmp_path / "model", *names)
    devices = tmp_path / "dev"
    devices.mkdir()
    (devices / device).touch()
    found = backend.opened(EmbeddingSettings(model_id=str(folder), backend=wanted), devices)
    assert (found[0], found[1].runtime) == (folder, taken)


def test_a_model_that_is_unsuited(
    tmp_path: Path, suited: list[bool], caplog: pytest.LogCaptureFixture
) -> None:
    suited[0] = False
    folder = str(files(tmp_path / "model", *ALL))
    with caplog.at_level(logging.INFO, "rag"):
        _, model = backend.opened(EmbeddingSettings(model_id=folder), tmp_path)
    assert model.runtime == "torch"
    assert "not by ONNX Runtime: it is another" in caplog.text
    with pytest.raises(ModelError, match="it is another; set RAG_EMBEDDING_BACKEND to auto"):
        backend.opened(EmbeddingSettings(model_id=folder, backend="onnx"), tmp_path)


ROOT = {"config.json": b"{}", "modules.json": b"[]", "1_Pooling/config.json": b"{}"}
TORCH = {"model.safetensors": b"weights"}
ONNX = {"onnx/model.onnx": b"graph", "onnx/model.onnx_data": b"of the graph"}
NEVER = {"onnx/model_qint8_avx512.onnx": b"small", "onnx/model_O4.onnx": b"small"}
DENSE = {"2_Dense/config.json": b"{}", "2_Dense/model.safetensors": b"dense"}


class Downloads:
    """What is in the folder of a model that comes from a hub."""

    def __init__(self, hub: Hub, folder: Path) -> None:
        self._settings: dict[str, Any] = {
            "model_id": "a/b", "model_dir": folder, "endpoint": hub.url,
        }  # fmt: skip
        self._devices = folder

    def opened(self, wanted: Backend = "auto") -> tuple[set[str], str]:
        settings = EmbeddingSettings(**self._settings, backend=wanted)
        folder, model = backend.opened(settings, self._devices)
        here = {str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file()}
        return here, model.runtime


@pytest.fixture
def hub() -> Any:
    found = Hub({"a/b": Repository(ROOT | TORCH | ONNX | NEVER)})
    with found.running():
        yield found


def test_the_graph_alone_is_downloaded(tmp_path: Path, suited: list[bool], hub: Hub) -> None:
    downloads = Downloads(hub, tmp_path)
    assert downloads.opened() == ({*ROOT, *ONNX}, "onnx")
    hub.down = True
    assert downloads.opened()[1] == "onnx", "what is there is not asked for again"


@pytest.mark.parametrize(("first", "then"), [("torch", "onnx"), ("onnx", "torch")])
def test_one_choice_is_not_taken_for_the_other(
    tmp_path: Path, suited: list[bool], hub: Hub, first: Backend, then: Backend
) -> None:
    downloads = Downloads(hub, tmp_path)
    assert downloads.opened(first)[1] == first
    assert downloads.opened(then) == ({*ROOT, *TORCH, *ONNX}, then)


def test_torchs_weights_of_before_are_taken_rather_than_the_hub_asked(
    tmp_path: Path, suited: list[bool], hub: Hub
) -> None:
    downloads = Downloads(hub, tmp_path)
    downloads.opened("torch")
    assert downloads.opened() == ({*ROOT, *TORCH}, "torch")


def test_a_graph_that_is_unsuited_is_followed_by_torchs_weights(
    tmp_path: Path, suited: list[bool], hub: Hub
) -> None:
    suited[0] = False
    assert Downloads(hub, tmp_path).opened() == ({*ROOT, *ONNX, *TORCH}, "torch")


@pytest.mark.parametrize("more", [{}, ONNX | DENSE, NEVER], ids=["none", "layers", "smaller"])
def test_where_the_graph_is_not_enough(
    tmp_path: Path, suited: list[bool], hub: Hub, more: dict[str, bytes]
) -> None:
    hub.repositories["a/b"] = Repository(ROOT | TORCH | more)
    expected = {*ROOT, *TORCH, *(DENSE if DENSE.keys() <= more.keys() else ())}
    assert Downloads(hub, tmp_path).opened() == (expected, "torch")
