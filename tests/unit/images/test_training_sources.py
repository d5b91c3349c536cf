"""`python -m tuning.data`: URLs, images and data sets of Hugging Face, from servers on loopback."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tuning.config import DatasetOptions
from tuning.data import __main__ as program
from tuning.data import bundles, reach, urls

from apis import reports
from oci import addresses
from oci.errors import TransferError
from oci.web import Web
from tests.fakes.downloads import Downloads, layer
from tests.fakes.hub import COMMIT, TOKEN, Hub, Repository
from tests.fakes.registry import Registry

BODY = b'{"text": "a"}\n' * 1000


class Site(Downloads):
    """Files by path, with headers of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.files: dict[str, tuple[int, dict[str, str], bytes]] = {}

    def put(self, path: str, body: bytes = BODY, status: int = 200, **headers: str) -> str:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.files[path] = (status, {"ETag": '"1"', **named}, body)
        return self.url + path

    def answer(
        self, path: str, query: Mapping[str, list[str]], headers: Mapping[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        status, said, body = self.files.get(path, (404, {}, b""))
        start = headers.get("Range", "").removeprefix("bytes=").rstrip("-")
        if start and headers.get("If-Range") == said.get("ETag"):
            said = {**said, "Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"}
        return status, said, body


@pytest.fixture
def site() -> Iterator[Site]:
    found = Site()
    with found.running():
        yield found


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No time passes between tries; and the program leaves nothing changed in this process."""
    monkeypatch.setattr(program, "Web", lambda: Web(sleep=lambda _: None))
    handler, mask = signal.getsignal(signal.SIGTERM), os.umask(0o022)
    yield
    signal.signal(signal.SIGTERM, handler)
    os.umask(mask)


@pytest.fixture
def fetch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run the program; the termination message, empty where it ends well."""

    def run(code: int = 0, **environment: str) -> str:
        log = tmp_path / "termination"
        log.write_text("")
        said = {
            "DATASET_FOLDER_PATH": str(tmp_path / "data"),
            "YAML_FILE_PATH": str(tmp_path / "training_config.yaml"),
            **environment,
        }
        if not code:
            assert program.main([f"--termination-log={log}"], said) == 0
            return ""
        with pytest.raises(SystemExit) as end:
            program.main([f"--termination-log={log}"], said)
        assert end.value.code == code
        return log.read_text()

    return run


def test_urls_by_their_names(site: Site, fetch: Callable[..., str], tmp_path: Path) -> None:
    first, second = site.put("/a/d.jsonl"), site.put("/b/d.jsonl", b"other")
    fetch(DATA_URLS=f"{first}?signature=s {second} {first}?signature=s")
    assert (tmp_path / "data/d.jsonl").read_bytes() == BODY
    assert (tmp_path / "data/d-2.jsonl").read_bytes() == b"other"
    assert site.asked["/a/d.jsonl"] == 1
    fetch(DATA_URLS=f"{first}?signature=s {second} {first}?signature=s")
    assert site.asked["/a/d.jsonl"] == 1
    visible = {path.name for path in (tmp_path / "data").iterdir()} - {".kaito-complete"}
    assert visible == {"d.jsonl", "d-2.jsonl"}


def test_what_is_told_is_a_report(
    site: Site, fetch: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    fetch(DATA_URLS=site.put("/d.jsonl") + "?token=secret")
    told = capsys.readouterr().out
    stage = reports.read(told.splitlines()).stage
    assert stage is not None
    assert (stage.stage, stage.unit) == ("download", "MiB")
    assert "secret" not in told


def test_a_cut_download_is_gone_on_with(
    site: Site, fetch: Callable[..., str], tmp_path: Path
) -> None:
    url = site.put("/d.jsonl")
    site.cut["/d.jsonl"] = 5000
    site.busy["/d.jsonl"] = 2
    fetch(DATA_URLS=url)
    assert (tmp_path / "data/d.jsonl").read_bytes() == BODY
    assert site.headers["/d.jsonl"][-1]["Range"] == "bytes=5000-"
    assert site.headers["/d.jsonl"][-1]["If-Range"] == '"1"'


def test_a_part_of_another_version_is_thrown_away(
    site: Site, fetch: Callable[..., str], tmp_path: Path
) -> None:
    """A server without ranges, or with a file that has changed, sends all of it."""
    url = site.put("/d.jsonl", ETag='"2"')
    site.files["/d.jsonl"][1].pop("Content-Range", None)
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / ".d.jsonl.partial").write_bytes(b"old " * 100)
    (folder / ".d.jsonl.version").write_text('""')
    fetch(DATA_URLS=url)
    assert (folder / "d.jsonl").read_bytes() == BODY


@pytest.mark.parametrize(
    ("put", "code", "said"),
    [
        pytest.param({"status": 404}, 65, "answers 404", id="absent"),
        pytest.param({"status": 403}, 65, "answers 403", id="forbidden"),
        pytest.param({"status": 503}, 69, "(8 times)", id="busy"),
        pytest.param({"body": b""}, 65, "/d.jsonl is empty", id="empty"),
        pytest.param(
            {"Content_Type": "text/html; charset=utf-8"}, 65, "answers with a web page", id="page"
        ),
    ],
)
def test_what_cannot_be_had(
    site: Site, fetch: Callable[..., str], put: dict[str, Any], code: int, said: str
) -> None:
    message = fetch(code, DATA_URLS=site.put("/d.jsonl", **put) + "?signature=secret")
    assert message.startswith("the data cannot be had: ")
    assert said in message
    assert "secret" not in message


def test_no_address_at_all(fetch: Callable[..., str]) -> None:
    assert "ftp://h/d.csv is no address of HTTP" in fetch(65, DATA_URLS="ftp://h/d.csv")
    assert "exactly one of DATA_URLS" in fetch(65)
    assert "not 2" in fetch(65, DATA_URLS="http://h/d.csv", KAITO_DATA_IMAGE="a/b:1")


@pytest.mark.parametrize(
    ("url", "name"),
    [
        pytest.param("https://h/a%20b.csv?download=true#x", "a b.csv", id="decoded"),
        pytest.param("https://h/a/..%2F..%2Fetc", "_.._etc", id="no way out"),
        pytest.param("https://h/.hidden.csv", "hidden.csv", id="not hidden"),
        pytest.param("https://h/", "data", id="none"),
    ],
)
def test_names(url: str, name: str) -> None:
    assert urls.names([url]) == {url: name}


@pytest.mark.parametrize(
    ("asked", "answered", "refused"),
    [
        pytest.param("https://a.example/x", "https://b.example/y", "", id="storage"),
        pytest.param("http://a.example/x", "https://a.example/x", "", id="to TLS"),
        pytest.param("https://a.example/x", "http://a.example/x", "not encrypted", id="from TLS"),
        pytest.param("http://a.example/x", "http://10.0.0.1/x", "own network", id="inside"),
        pytest.param("http://a.example/x", "http://[::1]/x", "own network", id="loopback"),
        pytest.param("http://a.example/x", "http://169.254.169.254/", "own network", id="metadata"),
        pytest.param("http://10.0.0.1/x", "http://10.0.0.2/x", "", id="inside from the start"),
    ],
)
def test_redirects(asked: str, answered: str, refused: str) -> None:
    why = reach.refused_redirect(asked, answered)
    assert refused in why
    assert bool(why) is bool(refused)


def test_a_third_file_takes_no_other_ones_name() -> None:
    found = urls.names(["http://h/a/d.csv", "http://h/b/d.csv", "http://h/d-2.csv"])
    assert list(found.values()) == ["d.csv", "d-2.csv", "d-2-2.csv"]


@pytest.mark.parametrize(
    ("asked", "peer", "refused"),
    [
        pytest.param("http://a.example/", "169.254.169.254", "their secrets", id="metadata"),
        pytest.param("http://169.254.169.254/", "169.254.169.254", "their secrets", id="asked for"),
        pytest.param("http://a.example/", "fe80::1%eth0", "their secrets", id="link-local"),
        pytest.param("http://a.example/", "::ffff:169.254.169.254", "their secrets", id="mapped"),
        pytest.param("http://a.example/", "fd00:ec2::254", "their secrets", id="metadata of IPv6"),
        pytest.param("http://a.example/", "127.0.0.1", "the pod itself", id="loopback"),
        pytest.param("http://127.0.0.1/", "127.0.0.1", "", id="loopback asked for"),
        pytest.param("http://minio.storage.svc/", "10.0.0.1", "", id="the cluster's"),
        pytest.param("http://a.example/", "8.8.8.8", "", id="public"),
    ],
)
def test_machines_behind_names(asked: str, peer: str, refused: str) -> None:
    why = addresses.refused_peer(asked, peer)
    assert refused in why
    assert bool(why) is bool(refused)


def test_a_name_of_the_pod_itself_is_sent_nothing(
    site: Site, fetch: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    site.put("/d.jsonl")
    resolved = socket.getaddrinfo

    def resolve(host: str, *given: Any, **named: Any) -> Any:
        return resolved("127.0.0.1" if host == "data.example" else host, *given, **named)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    message = fetch(65, DATA_URLS=f"http://data.example:{site.port}/d.jsonl?signature=secret")
    assert "/d.jsonl leads to 127.0.0.1, which is the pod itself" in message
    assert not site.asked


def test_a_refused_redirect_is_not_gone_to(site: Site, fetch: Callable[..., str]) -> None:
    """The server would have been asked, had it been looked at the answer alone."""
    target = "http://169.254.169.254/latest/meta-data/?a=b"
    message = fetch(65, DATA_URLS=site.put("/d.jsonl", status=302, Location=target))
    assert "/d.jsonl leads to 169.254.169.254" in message


def test_a_password_in_an_address_is_refused_and_not_told(fetch: Callable[..., str]) -> None:
    message = fetch(65, DATA_URLS="http://user:secret@127.0.0.1:1/d.csv")
    assert "http://127.0.0.1:1/d.csv: an address with a user or password" in message
    assert "secret" not in message


def test_the_data_of_an_image(fetch: Callable[..., str], tmp_path: Path) -> None:
    registry = Registry("data/dolly")
    with registry.running():
        tar = layer({"data/d.jsonl": BODY, "data/more/e.csv": b"text\na\n", "bin/sh": b"x"})
        reference = registry.push([(tar, {}, "application/vnd.oci.image.layer.v1.tar+gzip")])
        fetch(KAITO_DATA_IMAGE=reference)
        folder = tmp_path / "data"
        assert (folder / "d.jsonl").read_bytes() == BODY
        assert (folder / "more/e.csv").exists()
        assert not (folder / "bin").exists()
        assert not (folder / ".image").exists()
        manifests = sum(registry.asked.values())
        fetch(KAITO_DATA_IMAGE=reference)
        assert sum(registry.asked.values()) == manifests


def test_an_artifact_of_files(fetch: Callable[..., str], tmp_path: Path) -> None:
    registry = Registry("data/dolly")
    with registry.running():
        named = {"org.opencontainers.image.title": "d.jsonl"}
        fetch(KAITO_DATA_IMAGE=registry.push([(BODY, named, "application/jsonl")]))
    assert (tmp_path / "data/d.jsonl").read_bytes() == BODY


def test_a_link_of_an_image_leads_to_none_of_the_pods_files(
    fetch: Callable[..., str], tmp_path: Path
) -> None:
    """What is inside of the image is outside of its /data."""
    (tmp_path / "secret.jsonl").write_bytes(BODY)
    registry = Registry("data/dolly")
    with registry.running():
        tar = layer({"data/d.jsonl": BODY, "data/e.jsonl": "../secret.jsonl"})
        kind = "application/vnd.oci.image.layer.v1.tar+gzip"
        fetch(KAITO_DATA_IMAGE=registry.push([(tar, {}, kind)]))
    assert (tmp_path / "data/d.jsonl").exists()
    assert not (tmp_path / "data/e.jsonl").is_symlink()


def test_an_image_without_data(fetch: Callable[..., str]) -> None:
    registry = Registry("data/dolly")
    with registry.running():
        tar = layer({"other/d.jsonl": BODY})
        reference = registry.push([(tar, {}, "application/vnd.oci.image.layer.v1.tar+gzip")])
        assert "has no directory /data" in fetch(65, KAITO_DATA_IMAGE=reference)


DATA_SET: dict[str, bytes | int] = {
    "README.md": b"# data",
    "dataset_infos.json": b"{}",
    "data/train.jsonl": BODY,
    "data/test.jsonl": b'{"text": "t"}\n',
}


class DataSets(Hub):
    """Data sets have the same API as models, elsewhere."""

    def answer(
        self, path: str, query: Mapping[str, list[str]], headers: Mapping[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        assert path.startswith(("/api/datasets/", "/datasets/")), path
        plain = path.replace("/api/datasets/", "/api/models/", 1).removeprefix("/datasets")
        return super().answer(plain, query, headers)


def test_a_data_set_of_hugging_face_at_a_commit(fetch: Callable[..., str], tmp_path: Path) -> None:
    hub = DataSets({"o/d": Repository(DATA_SET, token=TOKEN)})
    with hub.running():
        fetch(KAITO_DATA_REPOSITORY=f"o/d@{COMMIT}", HF_ENDPOINT=hub.url, HF_TOKEN=TOKEN)
        message = fetch(65, KAITO_DATA_REPOSITORY="o/d", HF_ENDPOINT=hub.url)
    folder = tmp_path / "data"
    assert (folder / "data/train.jsonl").read_bytes() == BODY
    assert (folder / "data/test.jsonl").exists()
    assert not (folder / "README.md").exists()
    assert "HF_TOKEN as tuning.preset.presetOptions.modelAccessSecret" in message


def test_only_what_the_config_asks_for_is_loaded(fetch: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "training_config.yaml").write_text(
        "training_config: {DatasetConfig: {dataset_path: data/train.jsonl}}"
    )
    hub = DataSets({"o/d": Repository(DATA_SET)})
    with hub.running():
        fetch(KAITO_DATA_REPOSITORY="o/d", HF_ENDPOINT=hub.url)
    assert [path.name for path in (tmp_path / "data/data").iterdir()] == ["train.jsonl"]


@pytest.mark.parametrize(
    ("names", "options", "said"),
    [
        pytest.param(["a.jsonl", "a.parquet"], {}, "several formats (jsonl, parquet)", id="two"),
        pytest.param(["README.md"], {}, "has no file of data that", id="none"),
        pytest.param(["a/x.csv"], {"path": "b"}, "has no file of data below b", id="path"),
        pytest.param(["a.csv"], {"extension": "jsonl"}, "has no file of data", id="extension"),
    ],
)
def test_data_sets_that_cannot_be_read(
    names: list[str], options: dict[str, str], said: str
) -> None:
    files = [{"rfilename": name} for name in names]
    with pytest.raises(TransferError) as refused:
        bundles.chosen(files, "o/d", DatasetOptions(**options))
    assert said in str(refused.value)


def test_one_of_several_formats() -> None:
    files = [{"rfilename": name} for name in ("a.jsonl", "a.parquet", "b.jsonl.gz")]
    found = bundles.chosen(files, "o/d", DatasetOptions(extension="jsonl"))
    assert [each["rfilename"] for each in found] == ["a.jsonl", "b.jsonl.gz"]


def test_a_bad_config_ends_before_the_download(fetch: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "training_config.yaml").write_text("training_config: {LoraConfig: {r: 0}}")
    assert "training_config.LoraConfig.r 0" in fetch(78, KAITO_DATA_REPOSITORY="o/d")
