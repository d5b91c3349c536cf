"""Adapters out of a registry: images that have them under /data, and artifacts of plain files."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving.adapters import __main__ as program
from serving.adapters import registry as registries

from apis import container
from oci.credentials import Credentials, Entry
from oci.errors import TransferError
from oci.image import Image
from oci.layers import Layer, file_layer, tar_layer
from oci.reference import Reference
from oci.registry import Registry as Client
from oci.web import Web
from tests.fakes import downloads
from tests.fakes.registry import Registry
from tests.unit.images.adapter_server import an_adapter

RAW = "application/vnd.oci.image.layer.v1.tar"
FILES = {"adapter_config.json", "adapter_model.safetensors"}


@pytest.fixture
def registry() -> Iterator[Registry]:
    found = Registry("adapters/legal")
    with found.running():
        yield found


def pull(source: str, folder: Path, secrets: Path = Path("none")) -> Path:
    registries.pull(source, folder, Web(sleep=lambda _: None), secrets=secrets)
    return folder


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_layers_lie_one_over_the_other_and_only_data_is_taken(
    registry: Registry, tmp_path: Path
) -> None:
    base = {
        "bin/tool": b"x",
        "data/adapter_config.json": b"old",
        "data/gone.bin": b"",
        "data/sub/gone.json": b"",
    }
    top = {
        "data/adapter_config.json": b"new",
        "data/.wh.gone.bin": b"",
        "data/sub/.wh..wh..opq": b"",
        "data/sub/kept.json": b"",
        "data/adapter_model.safetensors": b"w",
    }
    plain = downloads.layer(top, zipped=False)
    source = registry.push([(downloads.layer(base), {}, f"{RAW}+gzip"), (plain, {}, RAW)])
    found = pull(source, tmp_path / "legal")
    assert names(found) == FILES | {"sub/kept.json"}
    assert (found / "adapter_config.json").read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["legal"]


@pytest.mark.parametrize("inside", ["", "data/"], ids=["in the root", "under data"])
def test_an_artifact_of_plain_files_will_do(
    registry: Registry, tmp_path: Path, inside: str
) -> None:
    given = an_adapter(tmp_path / "given")
    layers: list[Layer] = [
        file_layer(path, "application/octet-stream", f"{inside}{path.name}")
        for path in sorted(given.iterdir())
    ]
    reference = Reference.parse(f"{registry.host}/{registry.name}:1.0")
    Client(reference).push(Image(layers, artifact_type="application/vnd.example.adapter"))
    found = pull(str(reference), tmp_path / "legal")
    assert names(found) == FILES
    assert (found / "adapter_model.safetensors").read_bytes() == b"weights"


def test_a_result_of_tuning_is_an_adapter_as_it_is(registry: Registry, tmp_path: Path) -> None:
    """An image with the files under /data, by tag."""
    given = an_adapter(tmp_path / "given")
    layer = tar_layer({f"data/{path.name}": path for path in given.iterdir()})
    reference = Reference.parse(f"{registry.host}/{registry.name}:tuned")
    Client(reference).push(Image([layer], {}))
    assert names(pull(str(reference), tmp_path / "legal")) == FILES


def test_what_is_no_adapter_is_told(registry: Registry, tmp_path: Path) -> None:
    source = registry.push([(downloads.layer({"models/a.bin": b""}), {}, f"{RAW}+gzip")])
    with pytest.raises(TransferError, match=r"has no /data/adapter_config.json; its root has: mod"):
        pull(source, tmp_path / "legal")
    assert list(tmp_path.iterdir()) == []


def test_credentials_are_tried_in_the_order_of_the_secrets(tmp_path: Path) -> None:
    closed = Registry("adapters/legal", user="me", password="pass")
    with closed.running():
        source = closed.push(
            [(downloads.layer({"data/adapter_config.json": b"{}"}), {}, f"{RAW}+gzip")]
        )
        for at, user in enumerate(("stranger", "me")):
            entry = {"auth": base64.b64encode(f"{user}:pass".encode()).decode()}
            folder = tmp_path / "secrets" / str(at)
            folder.mkdir(parents=True)
            (folder / "config.json").write_text(json.dumps({"auths": {closed.host: entry}}))
        found = pull(source, tmp_path / "legal", tmp_path / "secrets")
    assert names(found) == {"adapter_config.json"}
    shown = [headers.get("Authorization", "") for headers in closed.headers["/token"]]
    users = [base64.b64decode(each.removeprefix("Basic ")).partition(b":")[0] for each in shown]
    assert users == [b"stranger", b"me"]


def test_the_program_pulls_with_its_strength(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = downloads.layer({"data/adapter_config.json": b"{}"})
    source = registry.push([(content, {}, f"{RAW}+gzip")])
    monkeypatch.setenv(container.ENV_ADAPTER_SOURCE, source)
    monkeypatch.setenv(container.ENV_ADAPTER_DIR, str(tmp_path / "legal"))
    monkeypatch.setenv(container.ENV_ADAPTER_STRENGTH, "0.5")
    for _ in range(2):  # init containers may be started again
        assert program.main(["pull"], tmp_path / "log") == 0
    assert names(tmp_path / "legal") == {"adapter_config.json", "kaito-strength"}
    assert [path.name for path in tmp_path.iterdir()] == ["legal"]


def test_a_closed_registry_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = Registry("adapters/legal", user="me", password="pass")
    with closed.running():
        monkeypatch.setenv(container.ENV_ADAPTER_SOURCE, closed.reference(f"sha256:{'0' * 64}"))
        monkeypatch.setenv(container.ENV_ADAPTER_DIR, str(tmp_path / "legal"))
        assert program.main(["pull"], tmp_path / "log") == 1
    assert "give credentials for it (a pull secret)" in (tmp_path / "log").read_text()
    assert not (tmp_path / "legal").exists()


def test_credentials_do_not_show_themselves() -> None:
    assert "secret" not in repr(Credentials((Entry("r.example", "secret"),)))
