"""Where a local model's files come from."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from rag.embedding import files
from rag.embedding.settings import EmbeddingSettings
from rag.errors import EmbedderError

from apis import container
from tests.fakes.downloads import layer
from tests.fakes.hub import COMMIT, TOKEN, Hub, Repository
from tests.fakes.registry import Registry

MODEL = {
    "config.json": b"{}",
    "modules.json": b"[]",
    "1_Pooling/config.json": b'{"pooling_mode_mean_tokens": true}',
    "model.safetensors": b"weights" * 100,
}
TAR = "application/vnd.oci.image.layer.v1.tar+gzip"


def test_a_directory_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert files.locate(EmbeddingSettings(model_id=str(tmp_path))) == tmp_path


def test_a_path_that_leads_to_no_model(tmp_path: Path) -> None:
    with pytest.raises(EmbedderError, match=f"{tmp_path}/none has no config.json"):
        files.locate(EmbeddingSettings(model_id=f"{tmp_path}/none"))


def test_what_the_node_has_is_taken(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    for more in ({}, {"image": "nowhere.invalid/image"}):
        settings = EmbeddingSettings(model_id="a/b", model_dir=tmp_path, **more)
        assert files.locate(settings) == tmp_path


def from_hub(hub: Hub, folder: Path, model: str = "a/b", token: str | None = None) -> Path:
    return files.locate(
        EmbeddingSettings(model_id=model, model_dir=folder, endpoint=f"{hub.url}/", token=token)
    )


def test_hugging_face(tmp_path: Path) -> None:
    hub = Hub({"a/b": Repository({**MODEL, "onnx/model.onnx": b"more", "model.bin": b"old"})})
    with hub.running():
        found = from_hub(hub, tmp_path)
        assert found.name == COMMIT
        for name, content in MODEL.items():
            assert (found / name).read_bytes() == content
        assert not (found / "onnx").exists()
        assert not (found / "model.bin").exists()
        hub.down = True
        assert from_hub(hub, tmp_path) == found, "what is there is not asked for again"


def test_a_model_with_layers_of_its_own(tmp_path: Path) -> None:
    layers = {
        "2_Dense/config.json": b"{}",
        "2_Dense/model.safetensors": b"dense",
        "3_Dense/config.json": b"{}",
        "3_Dense/pytorch_model.bin": b"dense, too",
    }
    others = {
        "2_Dense/pytorch_model.bin": b"the same again",
        "2_Dense/model.onnx": b"the same again",
        "onnx/config.json": b"{}",
        "onnx/model.safetensors": b"the same again",
        "checkpoint/model.safetensors": b"no model: nothing configures it",
    }
    hub = Hub({"a/b": Repository({**MODEL, **layers, **others})})
    with hub.running():
        found = from_hub(hub, tmp_path)
    for name, content in (MODEL | layers).items():
        assert (found / name).read_bytes() == content
    assert not [name for name in others if (found / name).exists()]


def test_another_model_is_another_directory(tmp_path: Path) -> None:
    other = Repository({**MODEL, "config.json": b'{"other": 1}'}, commit="f" * 40)
    hub = Hub({"a/b": Repository(dict(MODEL)), "c/d": other})
    with hub.running():
        assert (from_hub(hub, tmp_path) / "config.json").read_bytes() == b"{}"
        assert (from_hub(hub, tmp_path, "c/d") / "config.json").read_bytes() == b'{"other": 1}'


def test_a_gated_model_wants_a_token(tmp_path: Path) -> None:
    hub = Hub({"a/b": Repository(dict(MODEL), token=TOKEN, gated=True)})
    with hub.running():
        with pytest.raises(EmbedderError, match=r"embedding\.local\.modelAccessSecret") as caught:
            from_hub(hub, tmp_path)
        assert caught.value.status == 502
        assert (from_hub(hub, tmp_path, token=TOKEN) / "config.json").is_file()


def test_a_download_that_fails_is_gone_on_with(tmp_path: Path) -> None:
    hub = Hub({"a/b": Repository(dict(MODEL))})
    lost = MODEL["config.json"]
    with hub.running():
        hub.repositories["a/b"].files["config.json"] = 2  # listed, and not there
        with pytest.raises(EmbedderError, match="cannot be had"):
            from_hub(hub, tmp_path)
        assert not list(tmp_path.rglob("config.json"))
        hub.repositories["a/b"].files["config.json"] = lost
        assert (from_hub(hub, tmp_path) / "model.safetensors").is_file()


def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EmbedderError, match="cannot be stored"):
        files.locate(EmbeddingSettings(model_id="a/b", model_dir=tmp_path / "file"))


def from_image(registry: Registry, folder: Path, image: str) -> Path:
    return files.locate(
        EmbeddingSettings(
            model_id="ignored/here",
            model_dir=folder,
            image=image,
            insecure_registries=registry.host,
        )
    )


@pytest.mark.parametrize("prefix", ["", "data/"])
def test_an_image(tmp_path: Path, prefix: str) -> None:
    registry = Registry()
    with registry.running():
        content = {f"{prefix}{name}": data for name, data in MODEL.items()}
        image = registry.push([(layer(content), {}, TAR)])
        found = from_image(registry, tmp_path, image)
        for name, data in MODEL.items():
            assert (found / name).read_bytes() == data
        assert list(tmp_path.iterdir()) == [found]
        registry.blobs.clear()
        assert from_image(registry, tmp_path, image) == found
        with pytest.raises(EmbedderError):
            from_image(registry, tmp_path, registry.reference(f"sha256:{'0' * 64}"))


def test_an_image_with_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry(user="me", password="secret")
    folder = tmp_path / "credentials"
    monkeypatch.setattr(container, "WEIGHTS_CREDENTIALS_DIR", str(folder))
    with registry.running():
        image = registry.push([(layer(MODEL), {}, TAR)])
        with pytest.raises(EmbedderError, match="cannot be had"):
            from_image(registry, tmp_path / "model", image)
        folder.mkdir()
        auth = base64.b64encode(b"me:secret").decode()
        config = {"auths": {registry.host: {"auth": auth}}}
        (folder / "config.json").write_text(json.dumps(config))
        assert (from_image(registry, tmp_path / "model", image) / "config.json").is_file()


def test_an_image_keeps_no_link_that_leads_out(tmp_path: Path) -> None:
    registry = Registry()
    with registry.running():
        content = {"data/config.json": b"{}", "data/link": "../other", "other": b"of the image"}
        image = registry.push([(layer(content), {}, TAR)])
        found = from_image(registry, tmp_path, image)
    assert [each.name for each in found.iterdir()] == ["config.json"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"other": b""}, "has no /data/config.json; its root has: other"),
        ({"data/config.json": "/etc/passwd"}, "has no /data/config.json"),
        ({"data/config.json": "../config", "config": b"{}"}, "has no /data/config.json"),
    ],
)
def test_an_image_without_a_model_leaves_nothing(
    tmp_path: Path, content: dict[str, bytes | str], reason: str
) -> None:
    registry = Registry()
    with registry.running():
        image = registry.push([(layer(content), {}, TAR)])
        with pytest.raises(EmbedderError, match=reason):
            from_image(registry, tmp_path, image)
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(EmbedderError, match="cannot be had"):
        from_image(Registry(), tmp_path, "UPPER/case:no")
