"""Weights onto a volume: once a directory, verified, gone on with where a try ended."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import subprocess
import sys
import tarfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.message import Message
from pathlib import Path, PurePosixPath

import pytest
from serving.weights import artifact, hub, progress
from serving.weights.__main__ import parser
from serving.weights.artifact import Told
from serving.weights.store import Store

from apis import reports
from apis.reports import Stage
from hub import choice
from hub.choice import Request
from oci import download
from oci.errors import TransferError
from oci.progress import Moved
from oci.web import ATTEMPTS, SameHost, Web
from tests.fakes import downloads
from tests.fakes.hub import COMMIT, TOKEN, Hub, Repository, Storage
from tests.fakes.registry import Registry
from workspace_controller.manifests import weights
from workspace_controller.workspace.weights import Source

ROOT = Path(__file__).parents[3]
NAME = "example/Small-1B"
RAW = "application/vnd.oci.image.layer.v1.tar"
TITLE = "org.opencontainers.image.title"
SHARD = random.Random(7).randbytes(3_000_000)
FILES = {
    "config.json": b"{}",
    "model-00001-of-00002.safetensors": SHARD,
    "model-00002-of-00002.safetensors": SHARD[::-1],
    "tokenizer/merges.txt": b"a b\n",
    "original/consolidated.00.pth": SHARD[1:],
    "pytorch_model.bin": SHARD[2:],
    "small.gguf": SHARD[3:],
    "consolidated.safetensors": SHARD[4:],
}
SAFETENSORS = {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"}
REST = {"config.json", "tokenizer/merges.txt"}


def resolve(name: str) -> str:
    return f"/{NAME}/resolve/{COMMIT}/{name}"


def web() -> Web:
    return Web(sleep=lambda _: None)


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def a_hub() -> Hub:
    return Hub({NAME: Repository(dict(FILES))})


@pytest.fixture
def world() -> Iterator[Hub]:
    hub_ = a_hub()
    with hub_.running():
        yield hub_


def load(world: Hub, root: Path, tell=lambda _: None, **more: str) -> str:
    token = more.pop("token", "")
    request = Request(NAME, **{"revision": COMMIT, **more})
    return hub.load(request, Store(root), web(), endpoint=world.url, token=token, tell=tell)


def test_an_engine_finds_the_files_of_the_commit(world: Hub, tmp_path: Path) -> None:
    assert load(world, tmp_path) == COMMIT
    snapshot = tmp_path / "snapshots" / COMMIT
    assert names(snapshot) == SAFETENSORS | REST
    for name in names(snapshot):
        assert (snapshot / name).read_bytes() == FILES[name]


def test_a_second_pod_downloads_nothing_and_needs_no_hub(world: Hub, tmp_path: Path) -> None:
    load(world, tmp_path)
    asked = world.asked.copy()
    load(world, tmp_path)
    assert world.asked == asked


@contextmanager
def opened_in_the_end(world: Hub) -> Iterator[None]:
    """Or a test that fails would leave two processes before a closed gate."""
    try:
        yield
    finally:
        world.gate.set()


def start(world: Hub, root: Path) -> subprocess.Popen[str]:
    """The program, as the pod's init container runs it."""
    command = [sys.executable, "-m", "serving.weights", "hub", f"--repository={NAME}"]
    environment = {**os.environ, "HF_ENDPOINT": world.url}
    environment["PYTHONPATH"] = f"{ROOT / 'images'}:{ROOT}"
    return subprocess.Popen(
        [*command, f"--revision={COMMIT}", f"--into={root}"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )


def test_two_processes_at_once_make_one_download(world: Hub, tmp_path: Path) -> None:
    """What happens when two pods start on one node."""
    world.gate.clear()
    with (
        start(world, tmp_path) as first,
        start(world, tmp_path) as second,
        opened_in_the_end(world),
    ):
        assert first.stdout is not None
        assert second.stdout is not None
        # One of them says that it waits for the other, which the gate still holds.
        saying = [first.stdout.readline(), second.stdout.readline()]
        assert sorted("waiting for it" in line for line in saying) == [False, True]
        world.gate.set()
        said = [first.communicate()[0], second.communicate()[0]]
    assert (first.returncode, second.returncode) == (0, 0)
    assert {world.asked[resolve(name)] for name in SAFETENSORS | REST} == {1}
    assert sum("is already here" in text for text in said) == 1
    told = [reports.parse(Stage, line) for line in "\n".join(said).splitlines()]
    ends = [stage for stage in told if stage is not None][-1]
    assert (ends.stage, ends.unit, ends.done) == (reports.DOWNLOAD, "GiB", ends.total)
    assert "GiB, " in ends.message


def test_a_pod_that_goes_does_not_wait_for_its_download(world: Hub, tmp_path: Path) -> None:
    world.gate.clear()
    with opened_in_the_end(world), start(world, tmp_path) as loading:
        assert loading.stdout is not None
        loading.stdout.readline()
        loading.terminate()
        assert loading.wait(10) == 143
    load(world, tmp_path)  # and whoever comes next is not locked out


SOURCES = [
    Source(kind="hub", location=NAME, revision=COMMIT, cache="node", host_path="/var/x"),
    Source(kind="hub", location=NAME, file="small.gguf", load_format="mistral", cache="pod"),
]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.cache)
def test_the_engine_looks_where_the_download_lies(world, tmp_path, source: Source) -> None:
    """What the controller writes is what the program understands."""
    (init,) = weights.volumes(source, image="i").init_containers
    told = parser().parse_args([*init["args"]])
    request = Request(told.repository, told.revision, told.file, told.load_format)
    hub.load(request, Store(tmp_path), web(), endpoint=world.url, tell=lambda _: None)
    inside = PurePosixPath(source.directory).relative_to(told.into)
    assert "config.json" in names(tmp_path / inside)
    assert init["volumeMounts"][0]["mountPath"] == str(told.into)


def test_the_engine_looks_where_the_artifact_lies(tmp_path: Path) -> None:
    registry = Registry()
    with registry.running():
        reference = registry.push([(SHARD, {TITLE: "models/a"}, RAW)])
        source = Source(
            kind="registry",
            location=reference,
            revision=reference.partition("@")[2],
            path="models",
            cache="pod",
        )
        (init,) = weights.volumes(source, image="i").init_containers
        told = parser().parse_args([*init["args"]])
        pull(told.reference, tmp_path, path=told.path)
    inside = PurePosixPath(source.directory).relative_to(told.into)
    assert names(tmp_path / inside) == {"a"}


def test_registries_without_tls_are_told_to_what_pulls() -> None:
    source = Source(kind="registry", location=f"r.example:5000/a@sha256:{'0' * 64}", cache="pod")
    given = {"image": "i", "insecure_registries": "r.example:5000"}
    (init,) = weights.volumes(source, **given).init_containers
    assert init["env"] == [{"name": "KAITO_INSECURE_REGISTRIES", "value": "r.example:5000"}]
    (init,) = weights.volumes(SOURCES[0], **given).init_containers
    assert "env" not in init


def test_how_far_a_download_is_can_be_read_by_people_and_programs() -> None:
    said = progress.line(Moved(done=3 << 29, total=3 << 30, rate=float(1 << 29)))
    assert reports.parse(Stage, said) == Stage(
        stage="download",
        message="weights: 1.50 of 3.00 GiB, 512 MiB/s, 3 s left",
        done=1.5,
        total=3.0,
        unit="GiB",
        eta_seconds=3.0,
    )
    begun = reports.parse(Stage, progress.line(Moved(0, 1 << 30)))
    assert begun is not None
    assert begun.eta_seconds is None


def test_a_cut_connection_is_gone_on_with(world: Hub, tmp_path: Path) -> None:
    name = "model-00001-of-00002.safetensors"
    world.cut[resolve(name)] = 1_000_000
    load(world, tmp_path)
    ranges = [headers.get("Range") for headers in world.headers[resolve(name)]]
    assert ranges == [None, "bytes=1000000-"]
    assert (tmp_path / "snapshots" / COMMIT / name).read_bytes() == FILES[name]


def test_what_another_try_left_is_gone_on_with(
    world: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "AT_ONCE", 1)  # the largest first, so that they are complete
    world.repositories[NAME].files["config.json"] = b"changed under the same commit"
    listing = world.listing(world.repositories[NAME])
    listing[0]["blobId"] = "0" * 40
    world.listing = lambda _: listing  # type: ignore[method-assign]
    with pytest.raises(TransferError, match=r"config\.json arrives damaged"):
        load(world, tmp_path)
    assert not (tmp_path / "snapshots" / COMMIT).exists()
    large = {name: world.asked[resolve(name)] for name in SAFETENSORS}
    del world.listing  # type: ignore[method-assign]
    load(world, tmp_path)
    again = {name for name in SAFETENSORS if world.asked[resolve(name)] != large[name]}
    assert not again, "what was complete was loaded once more"


def test_a_busy_hub_is_asked_again(world: Hub, tmp_path: Path) -> None:
    world.busy[resolve("config.json")] = ATTEMPTS - 1
    load(world, tmp_path)
    assert world.asked[resolve("config.json")] == ATTEMPTS


def test_one_that_stays_busy_is_given_up(world: Hub, tmp_path: Path) -> None:
    world.busy[resolve("config.json")] = ATTEMPTS
    with pytest.raises(TransferError, match="answers 503"):
        load(world, tmp_path)


def test_a_truncated_file_is_noticed_on_the_next_start(world: Hub, tmp_path: Path) -> None:
    load(world, tmp_path)
    name = "model-00001-of-00002.safetensors"
    blob = (tmp_path / "snapshots" / COMMIT / name).resolve()
    blob.write_bytes(b"")
    assert not Store(tmp_path).is_complete(COMMIT, Request(NAME, COMMIT).what)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        pytest.param({"file": "small.gguf"}, {"small.gguf"}, id="one GGUF"),
        pytest.param(
            {"load_format": "mistral"}, {"consolidated.safetensors"}, id="consolidated for mistral"
        ),
        pytest.param({"load_format": "auto"}, SAFETENSORS, id="safetensors before pickles"),
    ],
)
def test_only_what_the_engine_loads_is_downloaded(world, tmp_path, more, expected) -> None:
    load(world, tmp_path, **more)
    assert names(tmp_path / "snapshots" / COMMIT) == expected | REST


def test_a_split_gguf_comes_whole() -> None:
    files = [
        {"rfilename": f"q4-0000{part}-of-00002.gguf", "size": 1, "blobId": "a"} for part in (1, 2)
    ]
    files.append({"rfilename": "q8.gguf", "size": 1, "blobId": "b"})
    found = choice.chosen(files, Request(NAME, file="q4-00001-of-00002.gguf"))
    assert found == files[:2]


def test_two_engines_of_one_node_share_a_directory(world: Hub, tmp_path: Path) -> None:
    load(world, tmp_path)
    load(world, tmp_path, file="small.gguf")
    assert names(tmp_path / "snapshots" / COMMIT) == SAFETENSORS | REST | {"small.gguf"}
    assert world.asked[resolve("config.json")] == 1


def test_without_a_commit_a_node_stays_with_what_main_was_at_first(world, tmp_path) -> None:
    load(world, tmp_path, revision="")
    world.repositories[NAME].commit = "f" * 40
    assert load(world, tmp_path, revision="") == COMMIT
    assert names(tmp_path / "snapshots" / "main") == SAFETENSORS | REST


def gate(world: Hub) -> None:
    world.repositories[NAME].gated = True
    world.repositories[NAME].token = TOKEN


def test_the_token_opens_a_gated_model_and_goes_nowhere_else(tmp_path: Path) -> None:
    world, storage = a_hub(), Storage(FILES)
    gate(world)
    with world.running(), storage.running():
        world.storage = storage.url.replace("127.0.0.1", "localhost")
        load(world, tmp_path, token=TOKEN)
        assert storage.asked
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and TOKEN in _text(path)]


def test_a_gated_model_says_what_to_do(world: Hub, tmp_path: Path) -> None:
    gate(world)
    with pytest.raises(TransferError, match="modelAccessSecret"):
        load(world, tmp_path)


def test_an_unknown_commit_is_said(world: Hub, tmp_path: Path) -> None:
    with pytest.raises(TransferError, match=f"has no {NAME} at {'0' * 40}"):
        load(world, tmp_path, revision="0" * 40)


def test_a_disk_that_is_too_small_is_said_before_anything_is_loaded(
    world, tmp_path, monkeypatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1 << 30))
    with pytest.raises(TransferError, match=r"disk is too small: .* 1\.0 GiB are free"):
        load(world, tmp_path)
    assert not [path for path in world.asked if "/resolve/" in path]


# Registries.


@pytest.fixture
def registry() -> Iterator[Registry]:
    found = Registry()
    with found.running():
        yield found


def pull(reference: str, root: Path, *, path: str = "", secrets: Path = Path("none")) -> Path:
    folder = artifact.load(
        reference, Store(root), web(), path=path, secrets=secrets, told=Told(lambda _: None)
    )
    return root / "snapshots" / folder / path


def test_files_of_an_artifact_are_its_layers(registry: Registry, tmp_path: Path) -> None:
    reference = registry.push(
        [
            (SHARD, {TITLE: "model.safetensors"}, RAW),
            (b"{}", {TITLE: "tokenizer/config.json"}, "application/json"),
            (
                downloads.layer({"chat/a.jinja": b"a"}),
                {TITLE: "chat", "io.deis.oras.content.unpack": "true"},
                f"{RAW}+gzip",
            ),
        ]
    )
    found = pull(reference, tmp_path)
    assert names(found) == {"model.safetensors", "tokenizer/config.json", "chat/a.jinja"}
    assert (found / "model.safetensors").read_bytes() == SHARD
    asked = registry.asked.copy()
    pull(reference, tmp_path)
    assert registry.asked == asked, "a second pod asked the registry"


def test_a_modelpack_has_files_and_tars(registry: Registry, tmp_path: Path) -> None:
    kind, title = "application/vnd.cncf.model", "org.cncf.model.filepath"
    reference = registry.push(
        [
            (SHARD, {title: "a.safetensors"}, f"{kind}.weight.v1.raw"),
            (
                downloads.layer({"b/c.json": b"{}"}, zipped=False),
                {title: "b/c.json"},
                f"{kind}.weight.config.v1.tar",
            ),
        ]
    )
    assert names(pull(reference, tmp_path)) == {"a.safetensors", "b/c.json"}


def test_layers_of_an_image_lie_one_over_the_other(registry: Registry, tmp_path: Path) -> None:
    first = {
        "models/a.bin": b"old",
        "models/b.bin": b"gone",
        "models/c.bin": "a.bin",
        "bin/sh": "/usr/bin/sh",
    }
    second = {"models/a.bin": b"new", "models/.wh.b.bin": b"", "models/deep/d": b"d"}
    plain = downloads.layer(second, zipped=False)
    reference = registry.push([(downloads.layer(first), {}, f"{RAW}+gzip"), (plain, {}, RAW)])
    found = pull(reference, tmp_path, path="models")
    assert names(found) == {"a.bin", "c.bin", "deep/d"}
    assert (found / "c.bin").read_bytes() == b"new"
    assert not list((tmp_path / "blobs").iterdir()), "packed layers are kept beside the files"


def test_of_an_index_this_machines_image_is_taken(registry: Registry, tmp_path: Path) -> None:
    reference = registry.push([(b"w", {TITLE: "w"}, RAW)])
    entry = {"digest": reference.partition("@")[2], "platform": {"architecture": "amd64"}}
    index = registry.push_manifest({"schemaVersion": 2, "manifests": [entry]})
    assert names(pull(registry.reference(index), tmp_path)) == {"w"}


def test_a_directory_that_is_not_there_is_said(registry: Registry, tmp_path: Path) -> None:
    reference = registry.push([(b"w", {TITLE: "w"}, RAW)])
    with pytest.raises(TransferError, match=r"has no directory models; it has: w"):
        pull(reference, tmp_path, path="models")


@pytest.mark.parametrize(
    "entry",
    [
        {"auth": "bWU6cGFzcw=="},
        {"username": "me", "password": "pass"},
    ],
    ids=["auth", "username and password"],
)
def test_a_pull_secret_opens_a_registry(tmp_path: Path, entry: dict[str, str]) -> None:
    registry = Registry(user="me", password="pass")
    with registry.running():
        reference = registry.push([(SHARD, {TITLE: "w"}, RAW)])
        with pytest.raises(TransferError, match="model-weights-pull-secrets"):
            pull(reference, tmp_path / "closed")
        _secret(tmp_path / "secrets/0", {"other.example": {"auth": "eDp5"}})
        _secret(tmp_path / "secrets/1", {f"https://{registry.host}": entry})
        found = pull(reference, tmp_path / "open", secrets=tmp_path / "secrets")
    assert names(found) == {"w"}


def test_a_secret_that_is_no_docker_config_is_named_and_not_shown(tmp_path: Path) -> None:
    registry = Registry()
    _secret(tmp_path / "secrets/0", {})
    (tmp_path / "secrets/0/config.json").write_text("password!")
    with registry.running():
        reference = registry.push([(SHARD, {TITLE: "w"}, RAW)])
        with pytest.raises(TransferError, match="dockerconfigjson") as refusal:
            pull(reference, tmp_path / "root", secrets=tmp_path / "secrets")
    assert "password" not in str(refusal.value)


def test_a_blob_that_is_another_is_refused(registry: Registry, tmp_path: Path) -> None:
    reference = registry.push([(SHARD, {TITLE: "w"}, RAW)])
    registry.blobs = {key: SHARD[::-1] for key in registry.blobs}
    with pytest.raises(TransferError, match="arrives damaged"):
        pull(reference, tmp_path)


def test_a_manifest_that_is_another_is_refused(registry: Registry, tmp_path: Path) -> None:
    reference = registry.push([(SHARD, {TITLE: "w"}, RAW)])
    registry.manifests = {key: b'{"layers":[]}' for key in registry.manifests}
    with pytest.raises(TransferError, match="answers with something else"):
        pull(reference, tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        downloads.layer({"../out": b"x"}),
        downloads.layer({"/out": b"x"}),
        downloads.layer({"a": "b/../..", "a/out": b"x"}),
    ],
    ids=["parent", "absolute", "through a link"],
)
def test_nothing_is_written_outside(registry: Registry, tmp_path: Path, content: bytes) -> None:
    reference = registry.push([(content, {}, f"{RAW}+gzip")])
    root = tmp_path / "deep/er/root"
    with suppress(TransferError):
        pull(reference, root)
    folder = root / "snapshots" / reference.rpartition(":")[2]
    written = [path for path in tmp_path.rglob("out") if folder not in path.parents]
    assert folder.is_dir()
    assert not written
    assert not Path("/out").exists()


DEEP = "/".join("d" * 40)


@pytest.mark.parametrize("later", [{}, {"link/out": b"x"}], ids=["read", "written"])
def test_no_link_leads_outside_by_way_of_another(
    registry: Registry, tmp_path: Path, later: dict[str, bytes]
) -> None:
    """`d/d/…/up` is the root; so `..` behind it goes further up than its words say."""
    up = {f"{DEEP}/up": "../" * 40, "link": f"{DEEP}/up{'/..' * 3}/target"}
    (tmp_path / "target").mkdir()
    reference = registry.push(
        [
            (downloads.layer({**up, "circle": "circle"}), {}, f"{RAW}+gzip"),
            *((body, {TITLE: name}, RAW) for name, body in later.items()),
        ]
    )
    folder = pull(reference, tmp_path / "root")
    assert not (folder / "link").is_symlink()
    assert not list((tmp_path / "target").iterdir())


def test_a_directory_may_take_a_files_place(registry: Registry, tmp_path: Path) -> None:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        member = tarfile.TarInfo("a")
        member.type = tarfile.DIRTYPE
        tar.addfile(member)
    file = downloads.layer({"a": b"x"})
    tars = [(each, {}, RAW) for each in (file, raw.getvalue())]
    assert (pull(registry.push(tars), tmp_path) / "a").is_dir()


@pytest.mark.parametrize("name", [".wh...", "a/.wh...", ".wh..", ".wh."])
def test_nothing_is_taken_away_outside(registry: Registry, tmp_path: Path, name: str) -> None:
    """A whiteout of `..` would be the folder of all revisions."""
    other = tmp_path / "snapshots" / "another"
    other.mkdir(parents=True)
    reference = registry.push([(downloads.layer({"a/b": b"", name: b""}), {}, f"{RAW}+gzip")])
    with pytest.raises(TransferError, match="takes away what is no file"):
        pull(reference, tmp_path)
    assert other.is_dir()


@pytest.mark.parametrize("realm", ["file:///etc/passwd", "https://127.0.0.1:1/token"])
def test_a_token_is_asked_for_where_the_registry_could_be_asked(
    registry: Registry, tmp_path: Path, realm: str
) -> None:
    reference = registry.push([(SHARD, {TITLE: "w"}, RAW)])
    registry.answer = lambda *_: (  # type: ignore[method-assign]
        401,
        {"WWW-Authenticate": f'Bearer realm="{realm}",service="registry"'},
        b"",
    )
    with pytest.raises(TransferError, match=f"sends us to {realm}"):
        pull(reference, tmp_path)


def test_no_file_of_this_machine_is_read() -> None:
    with pytest.raises(TransferError, match="no address of HTTP"):
        web().open("file:///etc/passwd", {})


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ("https://hub.example/b", "secret"),
        ("http://hub.example/b", None),
        ("https://storage.example/b", None),
    ],
)
def test_a_token_follows_no_redirect_elsewhere(target: str, shown: str | None) -> None:
    headers = {"Authorization": "secret"}
    request = urllib.request.Request("https://hub.example/a", headers=headers)
    found = SameHost().redirect_request(request, io.BytesIO(), 302, "", Message(), target)
    assert found is not None
    assert found.get_header("Authorization") == shown


@pytest.mark.parametrize(
    ("field", "value"), [("sha", "../../x"), ("blobId", "../x"), ("blobId", None)]
)
def test_what_the_hub_says_becomes_no_path(
    world: Hub, tmp_path: Path, field: str, value: str | None
) -> None:
    repository = world.repositories[NAME]
    if field == "sha":
        repository.commit = str(value)
    else:
        listing = world.listing(repository)
        listing[0][field] = value
        world.listing = lambda _: listing  # type: ignore[method-assign]
    with pytest.raises(TransferError, match=r"does not tell the commit|nothing to verify by"):
        load(world, tmp_path, revision="" if field == "sha" else COMMIT)


def test_a_title_that_leads_outside_is_refused(registry: Registry, tmp_path: Path) -> None:
    reference = registry.push([(SHARD, {TITLE: "../../w"}, RAW)])
    with pytest.raises(TransferError, match="elsewhere"):
        pull(reference, tmp_path)


def test_a_layer_of_another_compression_says_what_to_do(registry, tmp_path: Path) -> None:
    zstd = b"\x28\xb5\x2f\xfd" + bytes(2000)
    reference = registry.push([(zstd, {}, f"{RAW}+zstd")])
    with pytest.raises(TransferError, match="tar or gzip"):
        pull(reference, tmp_path)


def _secret(folder: Path, auths: dict[str, dict[str, str]]) -> None:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"auths": auths}))


def _text(path: Path) -> str:
    return path.read_bytes().decode(errors="replace")
