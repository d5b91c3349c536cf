"""Adapters on their way and on disk: the archive, and the store of a serving container."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from serving.adapters import archive
from serving.adapters.archive import ArchiveError
from serving.adapters.store import Store, StoreError, apply_strength, valid_name
from serving.vllm import files

from apis import container
from tests.unit.images.adapter_server import a_link, a_tar, an_adapter, packed

# --- the archive --------------------------------------------------------------------------------


def test_the_same_adapter_is_the_same_archive(tmp_path: Path) -> None:
    first, second = an_adapter(tmp_path / "a"), an_adapter(tmp_path / "b")
    (second / ".cache").mkdir()
    assert packed(first) == packed(second)
    (second / "README.md").write_text("x")
    assert packed(first) != packed(second)


def test_links_of_a_volume_are_followed(tmp_path: Path) -> None:
    """As in a ConfigMap's volume."""
    real, folder = an_adapter(tmp_path / "..data"), tmp_path / "a"
    folder.mkdir()
    for path in real.iterdir():
        (folder / path.name).symlink_to(path)
    assert packed(folder) == packed(real)


def test_what_is_packed_comes_out(tmp_path: Path) -> None:
    folder = an_adapter(tmp_path / "a")
    (folder / "sub").mkdir()
    (folder / "sub" / "more.json").write_text("{}")
    (tmp_path / "out").mkdir()
    archive.unpack(io.BytesIO(packed(folder)), tmp_path / "out")
    assert (tmp_path / "out" / "sub" / "more.json").read_text() == "{}"
    assert packed(tmp_path / "out") == packed(folder)


@pytest.mark.parametrize(
    ("members", "said"),
    [
        pytest.param({"../adapter_config.json": b"{}"}, "points out", id="above"),
        pytest.param({"a/../../x": b"{}"}, "points out", id="above, later"),
        pytest.param({"/tmp/x": b"{}"}, "points out", id="absolute"),
        pytest.param({"x": a_link("x", tarfile.SYMTYPE)}, "neither a file", id="symbolic link"),
        pytest.param({"x": a_link("x", tarfile.LNKTYPE)}, "neither a file", id="hard link"),
        pytest.param({"x": a_link("x", tarfile.CHRTYPE)}, "neither a file", id="device"),
        pytest.param({"x": a_link("x", tarfile.FIFOTYPE)}, "neither a file", id="pipe"),
        pytest.param({"x": b"1", "./x": b"2"}, "twice", id="twice"),
        pytest.param({"x": b"1"}, "no adapter_config.json", id="no adapter"),
    ],
)
def test_what_is_no_adapter_is_not_unpacked(
    members: dict[str, Any], said: str, tmp_path: Path
) -> None:
    folder = tmp_path / "within" / "out"
    folder.mkdir(parents=True)
    with pytest.raises(ArchiveError, match=said):
        archive.unpack(io.BytesIO(a_tar(**members)), folder)
    assert [path.name for path in tmp_path.rglob("*") if path.is_symlink()] == []
    assert sorted(path.name for path in folder.parent.iterdir()) == ["out"]


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="no tar archive"):
        archive.unpack(io.BytesIO(b"x" * 2048), tmp_path)
    with pytest.raises(ArchiveError, match="adapter_config"):
        packed(tmp_path)


# --- the store ----------------------------------------------------------------------------------


def test_the_first_container_serves_what_the_pod_was_given(tmp_path: Path) -> None:
    an_adapter(tmp_path / "b")
    an_adapter(tmp_path / "a")
    an_adapter(tmp_path / "c@0123")
    (tmp_path / ".incoming-x").mkdir()
    assert list(Store(tmp_path).served()) == ["a", "b"]
    assert Store(tmp_path / "none").served() == {}


def test_the_next_container_serves_what_the_last_one_did(tmp_path: Path) -> None:
    """Even where init containers have written once more what the pod was started with."""
    for name in ("a", "b", "b@0123", "c@4567"):
        an_adapter(tmp_path / name)
    Store(tmp_path).write({"b": tmp_path / "b@0123", "c": tmp_path / "c@4567"})
    an_adapter(tmp_path / "a")
    an_adapter(tmp_path / "b")
    (tmp_path / ".incoming-x").mkdir()
    found = [(each.name, Path(each.path).name) for each in files.adapters(tmp_path)]
    assert found == [("b", "b@0123"), ("c", "c@4567")]
    assert not (tmp_path / "a").exists()
    assert not (tmp_path / ".incoming-x").exists()


def test_strength_is_applied_once(tmp_path: Path) -> None:
    folder = an_adapter(tmp_path / "a", alpha_pattern={"q_proj": 4})
    (folder / container.ADAPTER_STRENGTH_FILE).write_text("0.25")
    for _ in range(2):
        assert [each.rank for each in files.adapters(tmp_path)] == [8]
        config = json.loads((folder / "adapter_config.json").read_text())
        assert (config["lora_alpha"], config["alpha_pattern"]) == (4.0, {"q_proj": 1.0})


def test_without_a_strength_nothing_is_written(tmp_path: Path) -> None:
    folder = an_adapter(tmp_path / "a")
    before = (folder / "adapter_config.json").read_bytes()
    apply_strength(folder)
    assert (folder / "adapter_config.json").read_bytes() == before


@pytest.mark.parametrize(
    ("strength", "config"), [("much", "{}"), ("0.5", "{}"), ("0.5", "{"), ("0.5", "[]")]
)
def test_a_strength_that_cannot_be_applied_is_told(
    strength: str, config: str, tmp_path: Path
) -> None:
    folder = an_adapter(tmp_path / "a")
    (folder / "adapter_config.json").write_text(config)
    (folder / container.ADAPTER_STRENGTH_FILE).write_text(strength)
    with pytest.raises(StoreError, match="a "):
        apply_strength(folder)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a", "A", "a@b", "-a", "a..b", "a\n"])
def test_names_are_no_paths(name: str) -> None:
    assert not valid_name(name)
    assert valid_name("legal.v1")
