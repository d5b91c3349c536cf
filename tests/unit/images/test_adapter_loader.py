"""Who brings adapters: the loader over a socket, Hugging Face, and the command line."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from serving.adapters import __main__ as program
from serving.adapters import huggingface, loader
from serving.adapters.loader import RefusedError, Server

from apis import container
from oci.errors import TransferError
from oci.web import Web
from tests.fakes.hub import COMMIT, Hub, Repository, Storage
from tests.fakes.hub import TOKEN as HF_TOKEN
from tests.unit.images.adapter_server import TOKEN, Client, an_adapter
from tests.unit.workspace_controller import test_loader

# --- the loader, over a socket ------------------------------------------------------------------


@asynccontextmanager
async def listening(client: Client) -> AsyncIterator[str]:
    """The agent behind a socket, with as much of HTTP as an upload needs."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, path, _ = head[0].split()
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        # Values of headers keep their case; the token has none but small letters.
        status, answer = await client.ask(
            method, path, body, token=headers.get("x-kaito-adapters-token")
        )
        text = json.dumps(answer).encode()
        writer.write(
            b"HTTP/1.1 %d X\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s"
            % (status, len(text), text)
        )
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_a_loader_brings_and_takes_an_adapter(client: Client, tmp_path: Path) -> None:
    folder = an_adapter(tmp_path / "legal", b"w" * 10_000)
    async with listening(client) as url:
        server = Server(url, TOKEN)
        await asyncio.to_thread(server.put, "legal", folder)
        assert list(client.engine.loaded) == ["legal"]
        await asyncio.to_thread(server.delete, "legal")
        assert client.engine.loaded == {}


async def test_the_servers_words_are_the_loaders(client: Client, tmp_path: Path) -> None:
    folder = an_adapter(tmp_path / "legal", b"bad")
    async with listening(client) as url:
        with pytest.raises(RefusedError, match=r"^invalid header length$"):
            await asyncio.to_thread(Server(url, TOKEN).put, "legal", folder)
        with pytest.raises(RefusedError, match="no valid token"):
            await asyncio.to_thread(Server(url, "wrong").delete, "legal")


async def test_a_server_that_starts_anew_is_waited_for(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[float] = []
    monkeypatch.setattr(loader.time, "sleep", tried.append)
    with pytest.raises(RefusedError, match="no answer from the serving pod"):
        Server("http://127.0.0.1:9", TOKEN).delete("legal")
    assert len(tried) == 4


# --- Hugging Face -------------------------------------------------------------------------------

ADAPTER = {"adapter_config.json": b"{}", "adapter_model.safetensors": b"weights" * 100}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    found = Hub({"owner/repo": Repository(dict(ADAPTER))})
    with found.running():
        monkeypatch.setenv("HF_ENDPOINT", found.url)
        yield found


def fetch(hub: Hub, source: str, folder: Path, token: str = "") -> str:
    web = Web(sleep=lambda _: None)
    return huggingface.fetch(source, folder, web, endpoint=hub.url, token=token)


@pytest.mark.parametrize("source", ["owner/repo", f"owner/repo@{COMMIT}"])
def test_an_adapter_of_hugging_face_is_of_one_commit(source: str, hub: Hub, tmp_path: Path) -> None:
    assert fetch(hub, source, tmp_path / "a") == COMMIT
    found = {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()}
    assert found == ADAPTER
    assert hub.descriptions() == 1


def test_the_token_goes_to_the_hub_alone(hub: Hub, tmp_path: Path) -> None:
    hub.repositories["owner/repo"].token = HF_TOKEN
    storage = Storage(ADAPTER)
    with storage.running():
        hub.storage = storage.url.replace("127.0.0.1", "localhost")
        fetch(hub, "owner/repo", tmp_path / "a", HF_TOKEN)
    assert storage.asked


def test_older_weights_will_do(hub: Hub, tmp_path: Path) -> None:
    older = {"adapter_config.json": b"{}", "adapter_model.bin": b"weights"}
    hub.repositories["owner/repo"].files = {**older, "README.md": b"#"}
    fetch(hub, "owner/repo", tmp_path / "a")
    assert {path.name for path in (tmp_path / "a").iterdir()} == set(older)


@pytest.mark.parametrize(
    ("there", "said"),
    [
        pytest.param({}, "no adapter_config.json: it is no LoRA adapter", id="a model"),
        pytest.param({"adapter_config.json": b"{}"}, "none of: adapter_model", id="no weights"),
    ],
)
def test_what_is_no_adapter_there_is_told(
    hub: Hub, there: dict[str, bytes | int], said: str, tmp_path: Path
) -> None:
    hub.repositories["owner/repo"].files = there
    with pytest.raises(TransferError, match=said):
        fetch(hub, "owner/repo", tmp_path / "a")


@pytest.mark.parametrize("gated", [False, True])
def test_a_closed_one_names_the_remedy(hub: Hub, gated: bool, tmp_path: Path) -> None:
    """Also where everybody may see what files there are."""
    hub.repositories["owner/repo"].token = HF_TOKEN
    hub.repositories["owner/repo"].gated = gated
    with pytest.raises(TransferError, match="modelAccessSecret"):
        fetch(hub, "owner/repo", tmp_path / "a")


def test_one_that_is_not_there(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(TransferError, match="has no owner/other at main"):
        fetch(hub, "owner/other", tmp_path / "a", HF_TOKEN)


def test_a_download_that_is_cut_off_is_gone_on_with(hub: Hub, tmp_path: Path) -> None:
    hub.cut[f"/owner/repo/resolve/{COMMIT}/adapter_model.safetensors"] = 100
    fetch(hub, "owner/repo", tmp_path / "a")
    assert (tmp_path / "a" / "adapter_model.safetensors").read_bytes() == b"weights" * 100


# --- the command line ---------------------------------------------------------------------------


def told(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for key, value in variables.items():
        monkeypatch.setenv(f"KAITO_ADAPTER{key}", value)


def test_a_volume_is_copied_with_its_strength(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = an_adapter(tmp_path / "volume")
    (source / "lost+found").mkdir()
    target = tmp_path / "adapters" / "style"
    target.parent.mkdir()
    told(monkeypatch, _SOURCE=str(source), _DIR=str(target), _STRENGTH="0.5")
    for _ in range(2):  # init containers may be started again
        assert program.main(["copy"], tmp_path / "log") == 0
    assert sorted(path.name for path in target.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "kaito-strength",
    ]
    assert [path.name for path in target.parent.iterdir()] == ["style"]


def test_an_adapter_is_fetched(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told(monkeypatch, _SOURCE="owner/repo", _DIR=str(tmp_path / "chat"))
    assert program.main(["fetch"], tmp_path / "log") == 0
    assert (tmp_path / "chat" / "adapter_config.json").exists()


def test_why_it_failed_is_in_the_termination_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "volume").mkdir()
    told(monkeypatch, _SOURCE=str(tmp_path / "volume"), _DIR=str(tmp_path / "style"))
    assert program.main(["copy"], tmp_path / "log") == 1
    said = (tmp_path / "log").read_text()
    assert said == "there is no adapter_config.json in the root of the volume"


async def test_the_program_brings_an_adapter(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = an_adapter(tmp_path / "legal")
    told(monkeypatch, **{"": "legal", "_DIR": str(folder)})
    log = tmp_path / "log"
    async with listening(client) as url:
        words = ["sync", f"--url={url}", f"--token-file={tmp_path / 'token'}"]
        assert await asyncio.to_thread(program.main, words, log) == 0
        assert list(client.engine.loaded) == ["legal"]
        assert await asyncio.to_thread(program.main, [*words, "--remove"], log) == 0
        assert client.engine.loaded == {}
    assert not log.exists()


@pytest.mark.parametrize("name", test_loader.SOURCES)
def test_the_controllers_loaders_are_understood(
    name: str, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each command gets as far as to miss what it was sent for."""
    hub.repositories.clear()
    spec = test_loader.made(test_loader.SOURCES[name])["spec"]
    for each in (*spec.get("initContainers", ()), *spec["containers"]):
        if each["command"][:3] != ["python", "-m", "serving.adapters"]:
            continue
        for variable in each["env"]:
            monkeypatch.setenv(variable["name"], variable.get("value", ""))
        source = os.environ.get(container.ENV_ADAPTER_SOURCE, "")
        here = source.replace("registry.example", hub.url.removeprefix("http://"))
        monkeypatch.setenv(container.ENV_ADAPTER_SOURCE, here)
        monkeypatch.setenv(container.ENV_ENDPOINT, hub.url)
        monkeypatch.setenv(container.ENV_ADAPTER_DIR, str(tmp_path / "adapter"))
        log = tmp_path / "termination-log"
        assert program.main([*each["command"][3:], *each.get("args", ())], log) == 1
        assert log.read_text()
