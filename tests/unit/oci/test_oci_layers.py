"""Layers and layouts: the same files are the same bytes, and nothing half done looks whole."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
from pathlib import Path

import pytest

from oci import layout, space
from oci.content import Content, Part
from oci.errors import NotFoundError, TransferError
from oci.image import Image, digest
from oci.layers import TITLE, Layer, bytes_layer, file_layer, tar_layer


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    folder = tmp_path / "given"
    (folder / "sub").mkdir(parents=True)
    (folder / "b.bin").write_bytes(bytes(range(256)) * 5)
    (folder / "sub/a.json").write_text("{}")
    return {"data/sub/a.json": folder / "sub/a.json", "data/b.bin": folder / "b.bin"}


def opened(layer: Layer) -> dict[str, tarfile.TarInfo]:
    raw = io.BytesIO(b"".join(layer.content.chunks()))
    with tarfile.open(fileobj=raw, mode="r:") as tar:
        return {member.name: member for member in tar}


def test_a_tar_has_the_files_and_their_folders_and_no_trace_of_who_made_it(files) -> None:
    into = io.BytesIO()
    layer = tar_layer(files, into)
    found = opened(layer)
    assert list(found) == ["data", "data/b.bin", "data/sub", "data/sub/a.json"]
    assert {(m.mtime, m.uid, m.gid, m.uname) for m in found.values()} == {(0, 0, 0, "")}
    assert {m.mode for m in found.values() if m.isreg()} == {0o644}
    assert into.getvalue() == b"".join(layer.content.chunks())
    assert layer.digest == layer.diff_id == digest(into.getvalue())
    assert layer.size == len(into.getvalue())
    with tarfile.open(fileobj=io.BytesIO(into.getvalue())) as tar:
        assert tar.extractfile("data/b.bin").read() == files["data/b.bin"].read_bytes()


def test_times_modes_and_order_do_not_change_the_digest(files) -> None:
    before = tar_layer(files).digest
    for path in files.values():
        os.utime(path, (1, 1))
        path.chmod(0o600)
    assert tar_layer(dict(reversed(list(files.items())))).digest == before
    files["data/b.bin"].write_bytes(b"other")
    assert tar_layer(files).digest != before


def test_a_name_may_be_long(tmp_path: Path) -> None:
    name = f"{'d' * 150}/{'é' * 60}"
    (tmp_path / "f").write_text("x")
    assert name in opened(tar_layer({name: tmp_path / "f"}))


def test_content_is_read_from_anywhere(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"0123456789")
    content = Content((b"ab", Part(tmp_path / "f", 10), b"cd"))
    whole = b"ab0123456789cd"
    for start in range(len(whole) + 1):
        for end in range(start, len(whole) + 1):
            assert b"".join(content.chunks(start, end)) == whole[start:end]
    found, files = content.digests()
    assert found == digest(whole)
    assert files == {tmp_path / "f": f"sha256:{hashlib.sha256(b'0123456789').hexdigest()}"}


def test_a_file_that_shrinks_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"0123456789")
    content = Content.of_file(tmp_path / "f")
    (tmp_path / "f").write_bytes(b"0123")
    with pytest.raises(TransferError, match="became shorter"):
        list(content.chunks())


def test_runtimes_find_what_they_ask_of_an_image(files) -> None:
    layer = tar_layer(files)
    image = Image([layer], {"architecture": "arm64"}, {"a": "b"})
    config = json.loads(b"".join(image.config_layer.content.chunks()))
    assert config == {
        "architecture": "arm64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]},
    }
    manifest = json.loads(image.manifest)
    assert manifest["schemaVersion"] == 2
    assert manifest["config"]["mediaType"] == "application/vnd.oci.image.config.v1+json"
    assert [each["digest"] for each in manifest["layers"]] == [layer.digest]


def test_an_artifact_has_an_empty_config_and_layers_with_titles(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    image = Image([file_layer(tmp_path / "f", "text/plain", "f")], artifact_type="a/b")
    manifest = json.loads(image.manifest)
    assert manifest["artifactType"] == "a/b"
    assert manifest["config"]["mediaType"] == "application/vnd.oci.empty.v1+json"
    assert manifest["layers"][0]["annotations"] == {TITLE: "f"}


# --- layouts ------------------------------------------------------------------------------------


def an_image(text: str = "x", **more: object) -> Image:
    return Image([bytes_layer(text.encode(), "text/plain")], {}, **more)  # type: ignore[arg-type]


def test_what_is_written_is_read(tmp_path: Path, files) -> None:
    image = Image([tar_layer(files)], {}, {"a": "b"})
    found = layout.write(image, tmp_path / "l", "v1")
    assert found == image.digest
    stored = layout.read(tmp_path / "l", "v1")
    assert stored.manifest == image.manifest
    assert [each.digest for each in stored.blobs] == [each.digest for each in image.blobs]
    for blob in stored.blobs:
        assert blob.content.digests()[0] == blob.digest


def test_a_tag_moves_and_others_stay(tmp_path: Path) -> None:
    old, new = an_image("old"), an_image("new")
    for image, tag in ((old, "v1"), (old, "v2"), (new, "v1"), (new, "v1")):
        layout.write(image, tmp_path, tag)
    assert layout.tags(tmp_path) == {"v1": new.digest, "v2": old.digest}
    with pytest.raises(NotFoundError, match="several images; name one of the tags: v1, v2"):
        layout.read(tmp_path)
    with pytest.raises(NotFoundError, match="no image v3; tags: v1, v2"):
        layout.read(tmp_path, "v3")


def test_what_is_told_about_an_image_is_found_and_is_not_the_image(tmp_path: Path) -> None:
    image = an_image()
    note = an_image("note", subject={"digest": image.digest})
    layout.write(note, tmp_path)
    with pytest.raises(NotFoundError, match="has no image"):
        layout.read(tmp_path)
    layout.write(image, tmp_path, "v1")
    assert layout.read(tmp_path).manifest == image.manifest
    (found,) = layout.referrers(tmp_path, image.digest)
    assert found.manifest == note.manifest


def test_an_interrupted_write_names_nothing(tmp_path: Path, monkeypatch) -> None:
    """As Ctrl-C would in the midst of the last layer."""
    image = Image([bytes_layer(b"first", "a/b"), bytes_layer(b"last", "a/b")], {})
    written: list[int] = []

    def interrupt(count: int) -> None:
        written.append(count)
        if sum(written) == sum(each.size for each in image.blobs):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        layout.write(image, tmp_path, "v1", wrote=interrupt)
    with pytest.raises(NotFoundError, match="no OCI image layout, or was not finished"):
        layout.read(tmp_path, "v1")
    assert not [path for path in tmp_path.rglob("*") if "incomplete" in path.name]
    again: list[int] = []
    layout.write(image, tmp_path, "v1", wrote=again.append)
    assert sum(again) == len(b"last"), "what was there was written once more"


def test_an_interrupted_write_leaves_the_older_image(tmp_path: Path) -> None:
    old = an_image("old")
    layout.write(old, tmp_path, "v1")

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        layout.write(an_image("new"), tmp_path, "v1", wrote=interrupt)
    assert layout.read(tmp_path, "v1").manifest == old.manifest


def test_a_file_that_changes_while_it_is_packed_is_noticed(tmp_path: Path, files) -> None:
    image = Image([tar_layer(files)], {})
    files["data/b.bin"].write_bytes(bytes(5 * 256))
    with pytest.raises(TransferError, match="changed while it was packed"):
        layout.write(image, tmp_path / "l", "v1")
    with pytest.raises(NotFoundError):
        layout.read(tmp_path / "l")


def test_a_layout_that_lost_a_blob_is_not_read(tmp_path: Path) -> None:
    image = an_image()
    layout.write(image, tmp_path, "v1")
    (tmp_path / "blobs/sha256" / image.layers[0].digest.partition(":")[2]).unlink()
    with pytest.raises(TransferError, match="is not whole"):
        layout.read(tmp_path, "v1")


def test_a_disk_that_is_too_small_is_said_before_the_first_byte(tmp_path, monkeypatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=space.SPARE_BYTES))
    written: list[int] = []
    with pytest.raises(TransferError, match=r"need 0\.0 GiB more .* 1\.0 GiB are free; write to"):
        layout.write(an_image(), tmp_path, "v1", wrote=written.append)
    assert written == []
