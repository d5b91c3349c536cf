"""Model images: the same model is the same digest, versions share layers, and what is built is what
the workload reads."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kaito.__main__ import main
from kaito.modelimage import command, licence, pack, places
from oci import layout
from oci.errors import TransferError
from oci.image import digest
from tests.fakes.hub import COMMIT, Hub, Repository
from tests.fakes.registry import Registry

sys.path.insert(0, str(Path(__file__).parents[3] / "images"))

from serving.weights import __main__ as weights

TITLE = "org.opencontainers.image.title"
SHARD = random.Random(7).randbytes(3000)
CARD = "---\nlicense: apache-2.0\nbase_model: example/Base\n---\n# Small\n"
FILES = {
    "README.md": CARD.encode(),
    "LICENSE": b"Apache",
    "config.json": b"{}",
    "model-00001-of-00002.safetensors": SHARD,
    "model-00002-of-00002.safetensors": SHARD[::-1],
    "tokenizer/merges.txt": b"a b\n",
    "small-q4.gguf": SHARD[1:],
    "pytorch_model.bin": SHARD[2:],
}
PACKED = set(FILES) - {"small-q4.gguf", "pytorch_model.bin"}


@pytest.fixture(autouse=True)
def large_is_small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pack, "LARGE_BYTES", 1000)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "no-docker"))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write(tmp_path / "small", FILES)


@pytest.fixture
def registry() -> Iterator[Registry]:
    found = Registry("models/small")
    with found.running():
        yield found


@pytest.fixture
def signals() -> Iterator[None]:
    """The program of the init container sets them, and a umask."""
    before, mask = signal.getsignal(signal.SIGTERM), os.umask(0o022)
    yield
    signal.signal(signal.SIGTERM, before)
    os.umask(mask)


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def build(model: Path | str, to: Path, *more: str) -> layout.Stored:
    assert main(["model-image", "build", str(model), "-o", f"oci:{to}:v1", *more]) == 0
    return layout.read(to, "v1")


def manifest(image: layout.Stored) -> dict:
    return json.loads(image.manifest)


def layers(image: layout.Stored) -> list[str]:
    return [each["digest"] for each in manifest(image)["layers"]]


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["model-image", *arguments]) == 1
    return capsys.readouterr().err


# --- what is in it ------------------------------------------------------------------------------


def test_the_same_files_are_the_same_digest_and_the_same_provenance(tmp_path: Path, model) -> None:
    first = build(model, tmp_path / "a")
    for path in model.rglob("*"):
        path.touch()
    again = build(write(tmp_path / "elsewhere/small", FILES), tmp_path / "b")
    assert digest(first.manifest) == digest(again.manifest)
    notes = [layout.referrers(tmp_path / each, digest(first.manifest)) for each in "ab"]
    assert notes[0][0].manifest == notes[1][0].manifest


def test_large_files_have_layers_of_their_own_and_small_ones_come_last(tmp_path, model) -> None:
    image = build(model, tmp_path / "l")
    config = json.loads(b"".join(image.blobs[0].content.chunks()))
    made = [each["created_by"].rpartition("build: ")[2] for each in config["history"]]
    assert made[:2] == ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    assert made[2].startswith("4 files: LICENSE, README.md, config.json")
    assert config["rootfs"]["diff_ids"] == layers(image)
    assert (config["os"], config["architecture"]) == ("linux", "amd64")


def test_a_version_with_another_small_file_shares_all_large_layers(tmp_path, model) -> None:
    before = layers(build(model, tmp_path / "l"))
    (model / "config.json").write_text('{"a": 1}')
    after = layers(build(model, tmp_path / "l"))
    assert before[:2] == after[:2]
    assert before[2] != after[2]


def test_a_fine_tune_shares_what_it_has_not_changed(tmp_path, model) -> None:
    before = layers(build(model, tmp_path / "l"))
    (model / "model-00001-of-00002.safetensors").write_bytes(SHARD[::-1] + b"x")
    assert layers(build(model, tmp_path / "l"))[1:] == before[1:]


def test_models_of_many_shards_do_not_have_as_many_layers() -> None:
    sizes = {f"{at:05}.safetensors": 10_000 for at in range(350)} | {"config.json": 2}
    found = pack.groups(sizes)
    assert len(found) <= pack.MOST_LAYERS
    assert sorted(name for names in found for name in names) == sorted(sizes)
    assert found[0] == [
        "00000.safetensors",
        "00001.safetensors",
        "00002.safetensors",
        "00003.safetensors",
    ]
    assert found[-1] == ["config.json"]


def test_what_is_said_of_it(tmp_path: Path, model) -> None:
    told = manifest(build(model, tmp_path / "l", "--version", "1.2"))["annotations"]
    assert told == {
        TITLE: "small",
        "org.opencontainers.image.version": "1.2",
        "org.opencontainers.image.licenses": "Apache-2.0",
        "sh.kaito.model.base": "example/Base",
        "sh.kaito.model.format": "safetensors",
        "sh.kaito.model.license-files": "LICENSE",
    }


@pytest.mark.parametrize(
    ("card", "expression"),
    [
        pytest.param("---\nlicense: mit\n---\n", "MIT", id="known"),
        pytest.param("---\nlicense: gemma\n---\n", "LicenseRef-gemma", id="its own terms"),
        pytest.param(
            "---\nlicense: other\nlicense_name: my terms_1\n---\n",
            "LicenseRef-my-terms-1",
            id="named",
        ),
        pytest.param("---\nlicense: other\n---\n", "", id="other"),
        pytest.param("---\nlicense: [\n---\n", "", id="broken"),
        pytest.param("# A model\n", "", id="no front matter"),
    ],
)
def test_the_licence_of_the_card(tmp_path: Path, card: str, expression: str) -> None:
    (tmp_path / "README.md").write_text(card)
    assert licence.find({"README.md": tmp_path / "README.md"}).expression == expression


def test_licence_files_are_found(tmp_path: Path) -> None:
    files = [
        "GEMMA_TERMS.html",
        "LICENSE.txt",
        "NOTICE.md",
        "Notice",
        "USE_POLICY.md",
        "config.json",
    ]
    found = licence.find({name: tmp_path / name for name in files})
    assert found.files == tuple(sorted(files[:-1]))


def test_provenance_names_the_commit_and_every_file(tmp_path: Path, monkeypatch) -> None:
    hub = Hub({"example/Small": Repository(dict(FILES))})
    with hub.running():
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        cache = ("--cache", str(tmp_path / "cache"))
        image = build(f"example/Small@{COMMIT}", tmp_path / "l", *cache)
        asked = {path for path in hub.asked if "/resolve/" in path}
        hub.asked.clear()
        build("example/Small", tmp_path / "m", *cache)
        assert not [path for path in hub.asked if "/resolve/" in path], "downloaded once more"
    assert {path.partition(f"{COMMIT}/")[2] for path in asked} == PACKED
    told = manifest(image)["annotations"]
    assert told["org.opencontainers.image.revision"] == COMMIT
    assert told["org.opencontainers.image.source"] == f"{hub.url}/example/Small"
    (note,) = layout.referrers(tmp_path / "l", digest(image.manifest))
    assert manifest(note)["artifactType"] == "application/vnd.in-toto+json"
    statement = json.loads(b"".join(note.blobs[-1].content.chunks()))
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    assert statement["subject"][0]["digest"] == {"sha256": digest(image.manifest)[7:]}
    first, *files = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert first["digest"] == {"gitCommit": COMMIT}
    assert {each["name"]: each["digest"]["sha256"] for each in files} == {
        name: hashlib.sha256(FILES[name]).hexdigest() for name in PACKED
    }
    assert "kaito-py" in statement["predicate"]["runDetails"]["builder"]["version"]


def test_an_expression_of_the_users_stays() -> None:
    assert licence.expression("Apache-2.0 AND MIT") == "Apache-2.0 AND MIT"
    assert licence.expression("APACHE-2.0") == "Apache-2.0"


# --- built, pushed, consumed --------------------------------------------------------------------


def consume(registry: Registry, reference: str, into: Path) -> dict[str, bytes]:
    """As the init container does it."""
    found = reference.removeprefix("oci://")
    assert weights.main(["registry", f"--reference={found}", f"--into={into}"], {}) == 0
    folder = into / "snapshots" / found.rpartition(":")[2]
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("way", ["at once", "by a layout"])
def test_what_is_built_is_what_the_workload_reads(
    tmp_path: Path, model, registry: Registry, capsys, way: str, signals: None
) -> None:
    to = f"docker://{registry.host}/{registry.name}:v1"
    if way == "at once":
        assert main(["model-image", "build", str(model), "-o", to]) == 0
    else:
        build(model, tmp_path / "l")
        capsys.readouterr()
        assert main(["model-image", "push", f"oci:{tmp_path / 'l'}:v1", to]) == 0
    reference = capsys.readouterr().out.strip()
    assert reference == f"oci://{registry.host}/{registry.name}:v1@{registry.tags['v1']}"
    found = consume(registry, reference, tmp_path / "weights")
    assert found == {name: FILES[name] for name in PACKED}


def test_a_gguf_is_built_and_read(
    tmp_path: Path, registry: Registry, capsys, signals: None
) -> None:
    model = write(tmp_path / "gguf", {"small-q4.gguf": SHARD, "NOTICE.md": b"n"})
    to = f"docker://{registry.host}/{registry.name}:v1"
    assert main(["model-image", "build", str(model), "-o", to]) == 0
    found = consume(registry, capsys.readouterr().out.strip(), tmp_path / "weights")
    assert found == {"small-q4.gguf": SHARD, "NOTICE.md": b"n"}


def test_one_gguf_of_several_is_named(tmp_path: Path, capsys) -> None:
    model = write(tmp_path / "gguf", {"a.gguf": b"a", "b.gguf": b"b"})
    said = refused(capsys, "build", str(model), "-o", f"oci:{tmp_path / 'l'}")
    assert "several GGUF files; name one by --file: a.gguf, b.gguf" in said
    image = build(model, tmp_path / "l", "--file", "b.gguf")
    assert len(layers(image)) == 1
    assert manifest(image)["annotations"]["sh.kaito.model.format"] == "gguf"


def test_a_split_gguf_stays_together(tmp_path: Path) -> None:
    parts = {f"q4-0000{at}-of-00002.gguf": bytes([at]) * 2000 for at in (1, 2)}
    assert len(layers(build(write(tmp_path / "gguf", parts), tmp_path / "l"))) == 2


def test_only_what_changed_is_pushed_again(model, registry: Registry, capsys) -> None:
    to = f"docker://{registry.host}/{registry.name}"
    assert main(["model-image", "build", str(model), "-o", f"{to}:v1"]) == 0
    received = registry.received
    (model / "config.json").write_text('{"a": 1}')
    assert main(["model-image", "build", str(model), "-o", f"{to}:v2"]) == 0
    again = registry.received - received
    assert again < len(SHARD) * 6, "a layer of weights was sent once more"
    assert again > 0
    assert "MiB were not there yet" in capsys.readouterr().err


def test_the_tag_is_given_last(model, registry: Registry, monkeypatch, capsys) -> None:
    """Who pulls by it finds the provenance, or an image that was there before."""
    puts = []
    put = registry._put_manifest

    def noted(wanted: str, body: bytes):
        puts.append(wanted)
        return put(wanted, body)

    monkeypatch.setattr(registry, "_put_manifest", noted)
    to = f"docker://{registry.host}/{registry.name}:v1"
    assert main(["model-image", "build", str(model), "-o", to]) == 0
    assert puts[-1] == "v1"
    assert all(each.startswith("sha256:") for each in puts[:-1])
    assert len(puts) == 3


def test_a_push_needs_its_credentials(tmp_path: Path, model, capsys) -> None:
    closed = Registry("models/small", user="me", password="pass")
    with closed.running():
        to = f"docker://{closed.host}/{closed.name}:v1"
        assert "takes no push" in refused(capsys, "build", str(model), "-o", to)
        entry = {"auth": base64.b64encode(b"me:pass").decode()}
        config = tmp_path / "config.json"
        config.write_text(json.dumps({"auths": {closed.host: entry}}))
        for given in (config, tmp_path):
            arguments = ["build", str(model), "-o", to, "--push-credentials", str(given)]
            assert main(["model-image", *arguments]) == 0
        lost = str(tmp_path / "lost")
        assert main(["model-image", "inspect", to, "--credentials", lost]) == 2
        assert f"there is no {lost}" in capsys.readouterr().err


# --- looked at ----------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["layout", "registry"])
def test_inspect_says_what_it_is(tmp_path: Path, model, registry, capsys, where: str) -> None:
    to = f"oci:{tmp_path / 'l'}:v1" if where == "layout" else f"{registry.host}/{registry.name}:v1"
    assert main(["model-image", "build", str(model), "-o", to]) == 0
    capsys.readouterr()
    assert main(["model-image", "inspect", to]) == 0
    said = capsys.readouterr().out
    assert "org.opencontainers.image.licenses: Apache-2.0" in said
    assert "model-00001-of-00002.safetensors" in said
    assert "provenance: built by kaito-py" in said
    assert f"config.json  sha256:{hashlib.sha256(b'{}').hexdigest()}" in said
    assert main(["model-image", "inspect", to, "-o", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    (subject,) = told["provenance"]["subject"]
    assert told["digest"] == f"sha256:{subject['digest']['sha256']}"


# --- what goes wrong ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["build", "nowhere", "-o", "oci:l"], 'MODEL "nowhere" is no directory, and no owner/name'),
        (["build", "MODEL", "-o", "oci:"], "names no directory; write oci:DIRECTORY"),
        (["build", "MODEL", "-o", "r.example/A:v1"], "is no image reference"),
        (["build", "EMPTY", "-o", "oci:l"], "has no weights that the engine could load"),
        (["inspect", "oci:empty"], "empty is no OCI image layout, or was not finished"),
        (["push", "r.example/a:v1", "oci:l"], "push goes from oci:DIRECTORY to docker://"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(
    tmp_path: Path, model, monkeypatch, capsys, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    words = {"MODEL": str(model), "EMPTY": "empty"}
    told = refused(capsys, *(words.get(each, each) for each in arguments))
    assert said in told
    assert told.count("\n") == 1
    assert not (tmp_path / "l").exists()


def test_ctrl_c_leaves_nothing_that_looks_whole(tmp_path: Path, model, monkeypatch, capsys) -> None:
    written: list[int] = []
    write_, calls = layout.write, []

    def interrupted(image, directory, tag="", *, wrote: Callable[[int], None]):
        calls.append(tag)
        if tag:
            write_(image, directory, tag, wrote=lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        written.append(1)
        return write_(image, directory, tag, wrote=wrote)

    monkeypatch.setattr(command.layout, "write", interrupted)
    to = f"oci:{tmp_path / 'l'}:v1"
    assert main(["model-image", "build", str(model), "-o", to]) == 130
    assert calls == ["", "v1"]
    assert "run it again" in capsys.readouterr().err
    monkeypatch.undo()
    assert "has no image v1" in refused(capsys, "inspect", to)
    assert main(["model-image", "build", str(model), "-o", to]) == 0


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("oci:dir", "oci:dir"),
        ("oci:/a/b:v1", "oci:/a/b:v1"),
        ("docker://r.example/a:v1", "docker://r.example/a:v1"),
        ("r.example/a", "docker://r.example/a"),
    ],
)
def test_places(text: str, shown: str) -> None:
    assert str(places.parse(text)) == shown


def test_a_tag_is_no_path() -> None:
    with pytest.raises(TransferError, match="names no directory"):
        places.parse("oci:dir:a/b")
