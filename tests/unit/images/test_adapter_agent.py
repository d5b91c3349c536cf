"""Adapters come to a server that runs and leave it again; nobody without the token changes them."""

from __future__ import annotations

import asyncio
import json
import tarfile
from pathlib import Path

import pytest
from serving.adapters.store import Store

from apis import container
from tests.unit.images.adapter_server import TOKEN, Client, a_link, a_tar, an_adapter, packed


@pytest.fixture
def legal(tmp_path: Path) -> bytes:
    return packed(an_adapter(tmp_path / "legal"))


@pytest.fixture
def other(tmp_path: Path) -> bytes:
    return packed(an_adapter(tmp_path / "other", b"other weights"))


@pytest.fixture
def bad(tmp_path: Path) -> bytes:
    return packed(an_adapter(tmp_path / "bad", b"bad weights"))


async def test_an_adapter_is_stored_loaded_and_served(client: Client, legal: bytes) -> None:
    assert await client.put("legal", legal) == (200, {"adapters": ["legal"]})
    (name,) = client.on_disk()
    assert client.engine.loaded == {"legal": str(client.folder / name)}
    assert (client.folder / name / "adapter_model.safetensors").read_bytes() == b"weights"
    assert await client.ask("GET", "/kaito/adapters") == (200, {"adapters": ["legal"]})


async def test_the_same_upload_again_changes_nothing(client: Client, legal: bytes) -> None:
    await client.put("legal", legal)
    before = client.on_disk()
    assert (await client.put("legal", legal))[0] == 200
    assert client.engine.calls == ["load legal"]
    assert client.on_disk() == before


async def test_other_weights_come_from_another_path(
    client: Client, legal: bytes, other: bytes
) -> None:
    """vLLM's prefix cache takes equal paths for equal weights."""
    await client.put("legal", legal)
    before = client.engine.loaded["legal"]
    assert (await client.put("legal", other))[0] == 200
    assert client.engine.loaded["legal"] != before
    assert list(client.engine.loaded) == ["legal"]
    assert len(client.on_disk()) == 1


async def test_nobody_sees_the_moment_between_old_and_new(
    client: Client, legal: bytes, other: bytes
) -> None:
    await client.put("legal", legal)
    gate = client.engine.gates["load legal"] = asyncio.Event()
    change = asyncio.create_task(client.put("legal", other))
    while client.engine.calls.count("load legal") < 2:
        await asyncio.sleep(0)
    assert "legal" not in client.engine.loaded
    asked = asyncio.create_task(client.ask("GET", "/v1/models", token=None))
    for _ in range(20):
        await asyncio.sleep(0)
    gate.set()
    assert "legal" in (await asked)[1]
    assert (await change)[0] == 200


async def test_while_the_new_one_is_tried_the_old_one_serves(
    client: Client, legal: bytes, other: bytes
) -> None:
    await client.put("legal", legal)
    before = client.on_disk()
    change = asyncio.create_task(client.put("legal", other))
    while len(client.on_disk()) < 2 or client.on_disk() == before:
        await asyncio.sleep(0)
    assert "legal" in (await client.ask("GET", "/v1/models", token=None))[1]
    assert (await change)[0] == 200


async def test_what_the_engine_refuses_is_not_kept(client: Client, bad: bytes) -> None:
    assert await client.put("legal", bad) == (422, {"error": "invalid header length"})
    assert client.on_disk() == []
    assert Store(client.folder).served() == {}


async def test_the_old_one_stays_where_the_new_one_is_refused(
    client: Client, legal: bytes, bad: bytes
) -> None:
    await client.put("legal", legal)
    before = dict(client.engine.loaded)
    assert (await client.put("legal", bad))[0] == 422
    assert client.engine.loaded == before
    assert "unload legal" not in client.engine.calls
    assert [client.folder / name for name in client.on_disk()] == [Path(before["legal"])]


async def test_an_adapter_is_taken_away(client: Client, legal: bytes) -> None:
    await client.put("legal", legal)
    for _ in range(2):
        assert await client.ask("DELETE", "/kaito/adapters/legal") == (200, {"adapters": []})
    assert (client.engine.loaded, client.on_disk()) == ({}, [])


async def test_what_the_pod_was_started_with_goes_as_well(client: Client, legal: bytes) -> None:
    an_adapter(client.folder / "style")
    client.engine.loaded["style"] = str(client.folder / "style")
    await client.put("legal", legal)
    assert list(Store(client.folder).served()) == ["legal", "style"]
    await client.ask("DELETE", "/kaito/adapters/style")
    assert list(Store(client.folder).served()) == ["legal"]
    assert list(client.engine.loaded) == ["legal"]


async def test_strength_comes_with_the_adapter(client: Client, tmp_path: Path) -> None:
    folder = an_adapter(tmp_path / "mild")
    (folder / container.ADAPTER_STRENGTH_FILE).write_text("0.5")
    await client.put("mild", packed(folder))
    path = Path(client.engine.loaded["mild"]) / "adapter_config.json"
    assert json.loads(path.read_text())["lora_alpha"] == 8


@pytest.mark.parametrize("token", [None, "", "wrong"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/kaito/adapters/legal"),
        ("DELETE", "/kaito/adapters/legal"),
        ("GET", "/kaito/adapters"),
        ("POST", "/v1/load_lora_adapter"),
        ("POST", "/v1/load_lora_adapter/"),
        ("POST", "/v1/unload_lora_adapter"),
        ("POST", "/adapters"),
        ("DELETE", "/adapters/legal"),
        ("POST", "/behind/v1/load_lora_adapter"),
        ("POST", "/behind/adapters"),
        ("GET", "/behind/kaito/adapters"),
    ],
)
async def test_nobody_without_the_token_changes_adapters(
    client: Client, legal: bytes, method: str, path: str, token: str | None
) -> None:
    status, _ = await client.ask(method, path, legal, token=token, root="/behind")
    assert status == 403
    assert client.engine.calls == []
    assert client.on_disk() == []


@pytest.mark.parametrize("text", [None, "", "\n"])
async def test_without_a_secret_nobody_has_the_token(
    client: Client, text: str | None, tmp_path: Path
) -> None:
    (tmp_path / "token").unlink()
    if text is not None:
        (tmp_path / "token").write_text(text)
    for token in ("", TOKEN, None):
        assert (await client.ask("GET", "/kaito/adapters", token=token))[0] == 403


async def test_a_secret_that_was_made_anew_counts(client: Client, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("another")
    assert (await client.ask("GET", "/kaito/adapters", token=TOKEN))[0] == 403
    assert (await client.ask("GET", "/kaito/adapters", token="another"))[0] == 200


@pytest.mark.parametrize(
    "path", ["/v1/models", "/health", "/v1/completions", "/kaito", "/kaito/adaptersx"]
)
async def test_all_else_passes(client: Client, path: str) -> None:
    assert (await client.ask("GET", path, token=None))[0] == 200


async def test_who_has_the_token_may_use_vllms_own_routes(client: Client, tmp_path: Path) -> None:
    given = {"lora_name": "mine", "lora_path": str(an_adapter(tmp_path / "mine"))}
    await client.ask("POST", "/v1/load_lora_adapter", json.dumps(given).encode())
    assert client.engine.loaded == {"mine": given["lora_path"]}


async def test_the_servers_own_key_is_shown_to_it(
    client: Client, legal: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "key")
    await client.put("legal", legal)
    assert client.engine.keys == ["Bearer key"]


@pytest.mark.parametrize(
    ("name", "body", "status", "said"),
    [
        pytest.param("..", b"", 400, "no name", id="name"),
        pytest.param("a/b", b"", 400, "no name", id="path"),
        pytest.param("big", b"x" * 100_001, 413, "larger than 100000", id="too large"),
        pytest.param("text", b"x" * 2000, 400, "no tar archive", id="no archive"),
        pytest.param("link", a_tar(x=a_link("x", tarfile.SYMTYPE)), 400, "neither", id="link"),
    ],
)
async def test_wrong_uploads_leave_nothing_behind(
    client: Client, name: str, body: bytes, status: int, said: str
) -> None:
    found, words = await client.put(name, body)
    assert found == status
    assert said in words["error"]
    assert list(client.folder.iterdir()) == []


async def test_an_upload_that_breaks_off_leaves_nothing_behind(
    client: Client, legal: bytes
) -> None:
    status, words = await client.put("legal", legal, breaks_off=True)
    assert (status, words["error"]) == (400, "the upload broke off")
    assert list(client.folder.iterdir()) == []


async def test_other_methods_are_refused(client: Client) -> None:
    assert (await client.ask("POST", "/kaito/adapters/legal"))[0] == 405
