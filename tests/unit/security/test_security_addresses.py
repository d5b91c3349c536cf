"""Every place where a URL or a host of a user's, or of somebody whom a user names, is gone to.

Admission judges what is written; whoever connects judges the machine that it led to. Here "the
metadata server" is a server on loopback that a name leads to, so that nothing leaves the machine.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterator
from email.message import Message
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from rag.asking import Asker
from rag.chat.endpoint import endpoint
from rag.chat.llm import Llm
from rag.errors import EmbedderError, LlmError, StorageError
from rag.qdrant.connection import Connection
from rag.qdrant.settings import QdrantSettings
from serving.adapters import huggingface
from tuning.data import urls

from apis.kaito import admission
from apis.kaito.v1beta1 import labels
from kube.meta import Manifest
from oci import addresses, credentials
from oci.authorization import Authorization
from oci.errors import RegistryError, TransferError
from oci.reference import Reference
from oci.registry import Registry
from oci.web import Web
from presets import fetch, outgoing
from tests.fakes.downloads import Answer, Downloads
from tests.ragengine_refusals import database, embedding, engine
from tests.refusals import FACTS, adapted, adapter, served, tuned

DIGEST = f"sha256:{'0' * 64}"
METADATA = ("169.254.169.254", "169.254.170.2:80", "100.100.100.200", "168.63.129.16")
SPELLED = ("0xa9fea9fe", "2852039166", "0251.0376.0251.0376", "[fd00:ec2::254]")
NAMES = ("metadata.google.internal", "instance-data.ec2.internal")


def _weights(host: str) -> Manifest:
    at = {labels.MODEL_WEIGHTS_ANNOTATION: f"oci://{host}/a/b:1@{DIGEST}"}
    return served(metadata__annotations=at)


def _private_preset(host: str) -> Manifest:
    preset = {"name": "phi-4", "presetOptions": {"image": f"{host}/a:1"}, "accessMode": "private"}
    return served(inference__preset=preset)


FIELDS: dict[str, Callable[[str], Manifest]] = {
    "tuning.input.urls": lambda host: tuned(
        tuning__input={"name": "data", "urls": [f"http://{host}/latest/meta-data"]}
    ),
    "tuning.input.image": lambda host: tuned(
        tuning__input={"name": "data", "image": f"{host}/a:1"}
    ),
    "tuning.output.image": lambda host: tuned(tuning__output__image=f"{host}/a:1"),
    "inference.adapters.image": lambda host: adapted(adapter(image=f"{host}/a:1")),
    "inference.preset.image": _private_preset,
    "kaito.sh/model-weights": _weights,
    "spec.inferenceService.url": lambda host: engine(inferenceService__url=f"http://{host}/v1"),
    "spec.embedding.remote.url": lambda host: engine(
        embedding={"remote": {"url": f"http://{host}/v1/embeddings"}}
    ),
    "spec.embedding.local.image": lambda host: embedding(image=f"{host}/a:1"),
    "spec.storage.vectorDB.url": lambda host: database(url=f"http://{host}/"),
}
"""All fields and annotations by which a pod of ours is sent somewhere."""
IMAGES = {name for name in FIELDS if "image" in name or "weights" in name}


def _said(manifest: Manifest) -> str:
    return "\n".join(str(each) for each in admission.refusals(manifest, FACTS, None))


@pytest.mark.parametrize(
    ("field", "host"),
    [
        *((field, host) for field in FIELDS for host in (*METADATA, *NAMES)),
        # Of an image, such a word is part of the name.
        *((field, host) for field in FIELDS if field not in IMAGES for host in SPELLED),
    ],
)
def test_no_field_leads_to_a_clouds_metadata(field: str, host: str) -> None:
    said = _said(FIELDS[field](host))
    assert "tells its machines their secrets" in said or "own network" in said


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_takes_what_is_public(field: str) -> None:
    said = _said(FIELDS[field]("files.example.com"))
    assert "secrets" not in said
    assert "network" not in said


@pytest.mark.parametrize("field", sorted(set(FIELDS) - IMAGES))
@pytest.mark.parametrize(
    "host", ["user:secret@example.com", "example.com:99999", "a b", "[::1", "[::ffff:a9fe:a9fe]"]
)
def test_no_field_takes_credentials_or_what_is_no_host(field: str, host: str) -> None:
    said = _said(FIELDS[field](host))
    assert said
    assert "secret@" not in said


@pytest.mark.parametrize("scheme", ["file", "gopher", "ftp", "unix", "data", "dict"])
def test_no_other_scheme_is_opened(scheme: str) -> None:
    with pytest.raises(TransferError, match="no address of HTTP"):
        Web().open(f"{scheme}://example.com/etc/passwd", {})
    with pytest.raises(TransferError, match="no address of HTTP"):
        urls.names([f"{scheme}://example.com/etc/passwd"])


class Site(Downloads):
    """It answers everything with a redirect, or with a secret."""

    def __init__(self, leads_to: str = "") -> None:
        super().__init__()
        self.leads_to = leads_to

    def answer(self, path: str, query: Any, headers: Any) -> Answer:
        if self.leads_to:
            return 302, {"Location": self.leads_to}, b""
        return 200, {"Content-Type": "application/json"}, b'{"secret": "of the cloud"}'

    def receive(self, method: str, path: str, query: Any, headers: Any, body: bytes) -> Answer:
        return self.answer(path, query, headers)


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """What `inner.example` leads to is the cloud's metadata; names are resolved when asked."""
    resolved = socket.getaddrinfo

    def resolve(host: Any, *given: Any, **named: Any) -> Any:
        inner = host in ("inner.example", b"inner.example")
        return resolved("127.0.0.1" if inner else host, *given, **named)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(addresses, "_METADATA", frozenset({ipaddress.ip_address("127.0.0.1")}))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    site = Site()
    with site.running():
        yield site


def _untouched(site: Site) -> None:
    assert not site.asked, "a request was sent"
    assert not site.did, "a request was sent"


async def test_the_controllers_hub_leads_to_no_metadata(cloud: Site) -> None:
    hub = fetch.Hub(f"http://inner.example:{cloud.port}", sleep=_at_once)
    with pytest.raises(aiohttp.ClientError, match="tells its machines their secrets"):
        await hub.model("owner/model", token="hf_planted")
    await hub.close()
    _untouched(cloud)


async def test_a_redirect_of_the_controllers_hub_is_judged_too(
    cloud: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addresses, "_METADATA", frozenset({ipaddress.ip_address("127.0.0.3")}))
    hubs = Site(f"http://127.0.0.3:{cloud.port}/latest/meta-data")
    with hubs.running():
        hub = fetch.Hub(hubs.url, sleep=_at_once)
        with pytest.raises(aiohttp.ClientError, match="tells its machines their secrets"):
            await hub.model("owner/model")
        await hub.close()
    _untouched(cloud)


async def test_a_hub_elsewhere_does_not_lead_to_the_controller_itself(
    cloud: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addresses, "_METADATA", frozenset())
    hub = fetch.Hub(f"http://inner.example:{cloud.port}", sleep=_at_once)
    with pytest.raises(aiohttp.ClientError, match="which is the pod itself"):
        await hub.model("owner/model")
    await hub.close()
    _untouched(cloud)


@pytest.mark.parametrize("user", ["", "u:p@", "u%40:p@"])
async def test_the_operators_proxy_may_be_on_loopback_and_ask_for_a_password(
    cloud: Site, monkeypatch: pytest.MonkeyPatch, user: str
) -> None:
    monkeypatch.setattr(addresses, "_METADATA", frozenset())
    proxy = f"http://{user}127.0.0.1:{cloud.port}"
    async with (
        outgoing.session("http://files.example", proxy) as session,
        session.get("http://files.example/a") as answer,
    ):
        assert answer.status == 200
    (seen,) = cloud.headers.values()
    assert ("Proxy-Authorization" in seen[0]) is bool(user)


async def test_the_services_of_a_ragengine_lead_to_no_metadata(cloud: Site) -> None:
    """Neither the embedder, nor the reranker (the same client), nor the LLM gets its key sent."""
    inner = f"http://inner.example:{cloud.port}/v1"
    asker = Asker("embedding", key="sk-planted", timeout=5, retries=0, sleep=_at_once)
    with pytest.raises(EmbedderError, match="LeadsToMetadataError"):
        await asker.ask("POST", inner, {})
    await asker.close()
    llm = Llm(endpoint(inner), key="sk-planted")
    with pytest.raises(LlmError, match="tells its machines their secrets"):
        await llm.get(inner, timeout=5)
    await llm.close()
    _untouched(cloud)


def test_the_vector_database_leads_to_no_metadata(cloud: Site) -> None:
    connection = Connection(QdrantSettings(url=f"http://inner.example:{cloud.port}"))
    with pytest.raises(StorageError, match="tells its machines their secrets"):
        connection.call("get_collections")
    connection.close()
    _untouched(cloud)


def _data(inner: str, folder: Path, web: Web) -> None:
    urls.fetch([f"http://{inner}/d.csv"], folder, web, lambda *_: None, lambda _: None)


def _image(inner: str, _: Path, web: Web) -> None:
    Registry(Reference.parse(f"{inner}/a/b:1", {inner}), web=web).layers()


def _adapter(inner: str, folder: Path, web: Web) -> None:
    huggingface.fetch("a/b", folder, web, endpoint=f"http://{inner}", token="hf_planted")


@pytest.mark.parametrize("download", [_data, _image, _adapter])
def test_what_pods_download_leads_to_no_metadata(
    cloud: Site, tmp_path: Path, download: Callable[[str, Path, Web], None]
) -> None:
    with pytest.raises(TransferError, match="tells its machines their secrets"):
        download(f"inner.example:{cloud.port}", tmp_path, Web(sleep=lambda _: None))
    _untouched(cloud)


@pytest.mark.parametrize("host", ["inner%2Eexample", "%69nner.example"])
@pytest.mark.parametrize("redirected", [False, True], ids=["direct", "redirected"])
def test_a_host_that_is_spelled_in_percents_is_judged_too(
    cloud: Site, monkeypatch: pytest.MonkeyPatch, host: str, *, redirected: bool
) -> None:
    """urllib unquotes it before it asks for its address."""
    monkeypatch.setattr(addresses, "_METADATA", frozenset())
    url = f"http://{host}:{cloud.port}/"
    hub = Site(url)
    with hub.running(), pytest.raises(TransferError, match="which is the pod itself"):
        Web().open(hub.url if redirected else url, {})
    _untouched(cloud)


def test_behind_a_proxy_the_peer_is_the_operators(
    cloud: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", cloud.url)
    monkeypatch.setattr(addresses, "_METADATA", frozenset())
    with Web().open("http://files%2Eexample/", {}) as answer:
        assert answer.status == 200


def test_a_registry_cannot_send_for_a_token_elsewhere(
    cloud: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The realm of a challenge is a URL of the registry's choosing."""
    monkeypatch.setattr(addresses, "_METADATA", frozenset({ipaddress.ip_address("127.0.0.3")}))

    class Challenging(Site):
        def answer(self, path: str, query: Any, headers: Any) -> Answer:
            realm = f'Bearer realm="http://127.0.0.3:{cloud.port}/token"'
            return 401, {"WWW-Authenticate": realm}, b""

    registry = Challenging()
    with registry.running():
        found = Registry(Reference.parse(f"127.0.0.1:{registry.port}/a/b:1"))
        with pytest.raises(TransferError, match="tells its machines their secrets"):
            found.layers()
    _untouched(cloud)


@pytest.mark.parametrize("realm", ["https://127.0.0.1:1/token", "https://localhost/token"])
def test_a_registry_elsewhere_cannot_send_to_the_pod_itself(realm: str) -> None:
    reference = Reference.parse("registry.example/a/b:1")
    challenge = Message()
    challenge["WWW-Authenticate"] = f'Bearer realm="{realm}"'
    with pytest.raises(RegistryError, match="which is the pod itself"):
        Authorization(reference, credentials.NONE, Web()).renewed(challenge, {})


def test_private_networks_are_reached_by_name() -> None:
    """Mirrors, databases and models of the cluster need no setting of the operator's."""
    for peer in ("10.0.0.1", "192.168.1.1", "fd00::1", "8.8.8.8"):
        assert addresses.refused_peer("http://minio.storage.svc/", peer) == ""


async def _at_once(_: float) -> None:
    return None
