"""Names and paths of others that become paths of ours: none leads out of its folder.

One table of ways out, tried at every door: fields of the API, archives, lists of files that
servers send, names in requests.
"""

from __future__ import annotations

import contextlib
import io
import tarfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from rag.errors import InvalidError
from rag.storage import names as index_names
from serving.adapters import archive, store
from serving.adapters.archive import ArchiveError
from tuning.config import DatasetOptions
from tuning.data import files as data_files
from tuning.data import urls
from tuning.failures import DataError

from apis.kaito import admission
from apis.kaito.v1beta1 import labels
from hub.repository import Snapshot
from kube.meta import Manifest
from oci import unpack
from oci.errors import TransferError
from oci.files import parts
from oci.web import Web
from presets import reference
from tests.ragengine_refusals import embedding, volume
from tests.refusals import FACTS, adapted, adapter, served, tuned
from workspace_controller import settings

DIGEST = f"sha256:{'0' * 64}"
WAYS_OUT = (
    "..",
    "../a",
    "../../etc/passwd",
    "a/../../b",
    "a/..",
    "/etc/passwd",
    "//etc/passwd",
    "/../etc",
    "./../a",
)


def _weights(url: str) -> Manifest:
    return served(metadata__annotations={labels.MODEL_WEIGHTS_ANNOTATION: url})


FIELDS: dict[str, Callable[[str], Manifest]] = {
    "pvc:// path": lambda way: _weights(f"pvc://claim/a/{way}"),
    "pvc:// claim": lambda way: _weights(f"pvc://{way}"),
    "oci:// path": lambda way: _weights(f"oci://registry.example/a@{DIGEST}/a/{way}"),
    "oci:// name": lambda way: _weights(f"oci://registry.example/{way}@{DIGEST}"),
    "hf://": lambda way: _weights(f"hf://{way}@{'0' * 40}"),
    "node://": lambda way: _weights(f"node://{way}"),
    "tuning.input.huggingFace": lambda way: tuned(
        tuning__input={"name": "data", "huggingFace": f"a/{way}"}
    ),
    "tuning.input.image": lambda way: tuned(
        tuning__input={"name": "data", "image": f"registry.example/{way}"}
    ),
    "tuning.output.image": lambda way: tuned(tuning__output__image=f"registry.example/{way}"),
    "inference.adapters.name": lambda way: adapted(adapter(name=way)),
    "inference.adapters.huggingFace": lambda way: adapted(
        adapter(image=None, huggingFace=f"a/{way}")
    ),
    "embedding.local.modelID": lambda way: embedding(modelID=f"a/{way}"),
    "embedding.local.modelID alone": lambda way: embedding(modelID=way),
    "storage.mountPath": lambda way: volume(mountPath=f"/mnt/{way}"),
    "storage.mountPath, relative": lambda way: volume(mountPath=f"mnt/{way}"),
}


@pytest.mark.parametrize("way", WAYS_OUT)
@pytest.mark.parametrize("field", FIELDS)
def test_no_field_of_the_api_leads_out(field: str, way: str) -> None:
    if field == "storage.mountPath" and ".." not in way:
        assert way.startswith("/")  # /mnt//etc/passwd is below /mnt
        return
    assert admission.refusals(FIELDS[field](way), FACTS, None)


@pytest.mark.parametrize("path", ["/", "/etc", "/usr/bin", "/opt/kaito/x", "/workspace", "/proc/1"])
def test_no_volume_hides_what_the_service_needs(path: str) -> None:
    assert admission.refusals(volume(mountPath=path), FACTS, None)


@pytest.mark.parametrize("way", WAYS_OUT)
def test_no_name_of_a_model_is_a_path(way: str) -> None:
    """It goes into URLs of the hub, and into folders."""
    assert reference.parse(way) is None
    assert reference.parse(f"a/{way}") is None
    assert reference.parse(f"a/b@{way}") is None
    assert reference.parse(f"a/b:{way}") is None


def _tar(*members: tarfile.TarInfo) -> io.BytesIO:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for member in members:
            member.size = 1 if member.isreg() else 0
            tar.addfile(member, io.BytesIO(b"x"))
    raw.seek(0)
    return raw


def _member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.linkname = kind, link
    return found


LINKS = [
    pytest.param([_member("a", tarfile.SYMTYPE, "../.."), _member("a/b")], id="symlink"),
    pytest.param([_member("a", tarfile.SYMTYPE, "/etc"), _member("a/b")], id="absolute symlink"),
    pytest.param([_member("a", tarfile.LNKTYPE, "../../secret")], id="hard link"),
    pytest.param([_member("a", tarfile.LNKTYPE, "/etc/passwd")], id="absolute hard link"),
    pytest.param([_member("a", tarfile.CHRTYPE)], id="device"),
    pytest.param([_member("a", tarfile.FIFOTYPE)], id="pipe"),
    pytest.param(
        [
            _member("a", tarfile.SYMTYPE, "b"),
            _member("b", tarfile.SYMTYPE, ".."),
            _member("a/c"),
        ],
        id="symlinks in a row",
    ),
]
FILES = [pytest.param([_member(way)], id=way) for way in WAYS_OUT]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("secret")
    found = tmp_path / "deep/folder"
    found.mkdir(parents=True)
    return found


def _nothing_left(folder: Path) -> None:
    """Neither a file outside, nor what could be read or written through from inside."""
    outside = {path.name for path in folder.parents[1].rglob("*") if folder not in path.parents}
    assert outside <= {"secret", "deep", "folder", "layer"}, outside
    assert (folder.parents[1] / "secret").read_text() == "secret"
    for path in folder.rglob("*"):
        assert path.resolve().is_relative_to(folder.resolve())
        assert not path.is_file() or path.read_text() != "secret"


@pytest.mark.parametrize("members", [*FILES, *LINKS])
def test_no_layer_of_an_image_writes_elsewhere(
    folder: Path, members: list[tarfile.TarInfo]
) -> None:
    layer = folder.parents[1] / "layer"
    layer.write_bytes(_tar(*members).getvalue())
    with contextlib.suppress(TransferError):  # or it is left out, as links are
        unpack.unpack(layer, folder)
    unpack.confine(folder)
    _nothing_left(folder)


@pytest.mark.parametrize("members", [*FILES, *LINKS])
def test_no_adapters_archive_writes_elsewhere(folder: Path, members: list[tarfile.TarInfo]) -> None:
    with pytest.raises(ArchiveError):
        archive.unpack(_tar(*members), folder)
    _nothing_left(folder)


@pytest.mark.parametrize("way", WAYS_OUT)
def test_no_file_of_a_hub_lies_elsewhere(folder: Path, way: str) -> None:
    found = Snapshot("a/b", "0" * 40, [], "https://hub.example", {})
    file = {"rfilename": way, "size": 1, "blobId": "0" * 40}
    with pytest.raises(TransferError, match="would lie elsewhere"):
        found.fetch([file], folder, Web())


@pytest.mark.parametrize("way", WAYS_OUT)
def test_no_title_of_an_artifacts_layer_lies_elsewhere(way: str) -> None:
    class Artifact:
        def layers(self) -> list[dict[str, Any]]:
            media = "application/vnd.example"
            titled = {"org.opencontainers.image.title": way}
            return [{"mediaType": media, "digest": DIGEST, "size": 1, "annotations": titled}]

    with pytest.raises(TransferError, match="would lie elsewhere"):
        parts(Artifact())  # type: ignore[arg-type]


@pytest.mark.parametrize("way", [*WAYS_OUT, "%2e%2e%2fa", "..%2f..%2fa", "a%00b", "%2Fetc"])
def test_no_url_names_a_file_elsewhere(way: str) -> None:
    (name,) = urls.names([f"https://example.com/x/{way}"]).values()
    assert PurePosixPath(name).name == name
    assert not name.startswith(".")
    assert "\0" not in name


@pytest.mark.parametrize("way", [*WAYS_OUT, "a\0b", "..\\a", "~", "a b", "\u2025/x"])
def test_no_index_is_a_path(way: str) -> None:
    """What a name may not hold is refused; and what stands for the rest is one plain file."""
    try:
        index_names.validate(way)
    except InvalidError:
        assert "/" in way or "\0" in way or way == ".."
    stem = index_names.stem(way)
    assert PurePosixPath(stem).name == stem
    assert not stem.startswith(".")


@pytest.mark.parametrize("way", [*WAYS_OUT, "a/b", "a..b", ".", ""])
def test_no_adapter_in_a_request_is_a_path(way: str) -> None:
    assert not store.valid_name(way)


@pytest.mark.parametrize("way", WAYS_OUT)
def test_no_dataset_path_leaves_the_data(folder: Path, way: str) -> None:
    (folder / "d.jsonl").write_text("{}")
    if way == "a/..":
        (folder / "a").mkdir()
        assert data_files.find(folder, DatasetOptions(path=way)).train  # the folder itself
        return
    with pytest.raises(DataError):
        data_files.find(folder, DatasetOptions(path=way))


@pytest.mark.parametrize("way", ["..", "relative", "/var/../etc", "/a/.."])
def test_no_cache_of_weights_lies_elsewhere_on_the_nodes(way: str) -> None:
    with pytest.raises(settings.SettingsError, match="WEIGHTS_CACHE_PATH"):
        settings.process({"WEIGHTS_CACHE_PATH": way})
