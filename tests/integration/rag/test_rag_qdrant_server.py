"""A Qdrant server that is not there, slow, full, or refuses: each is told, none is a traceback."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from rag.documents import Batch
from rag.errors import BusyError, RagError, StorageError, StorageFullError, UnknownIndexError
from rag.qdrant.connection import Connection
from rag.qdrant.index import Place, QdrantIndex
from rag.qdrant.settings import QdrantSettings
from rag.qdrant.store import QdrantStore

from tests.unit.rag.index_contract import ANALYZER, SPEC, a_document, a_query, hits_of

pytestmark = pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")


class Server(ThreadingHTTPServer):
    """Answers every request with one status, or with nothing until it is let go; and tells its
    version, if it has one."""

    status = 200
    version = ""
    asked: list[str]
    keys: list[str]
    let_go: threading.Event


class Handler(BaseHTTPRequestHandler):
    server: Server

    def answer(self) -> None:
        self.server.keys.append(self.headers.get("api-key", ""))
        self.server.asked.append(f"{self.command} {self.path}")
        if self.path == "/" and self.server.version:
            said = {"title": "qdrant", "version": self.server.version}
            self.say(200, json.dumps(said).encode())
            return
        if not self.server.status:
            self.server.let_go.wait(10)
            return
        self.say(self.server.status, b'{"status":{"error":"as asked for"}}')

    def say(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = do_POST = do_DELETE = answer  # noqa: N815  # http.server's names

    def log_message(self, *args: object) -> None: ...


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server(("127.0.0.1", 0), Handler)
    server.keys, server.asked, server.let_go = [], [], threading.Event()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.let_go.set()
    server.shutdown()
    thread.join()
    server.server_close()


def settings(port: int, timeout: float = 5) -> QdrantSettings:
    return QdrantSettings(f"http://127.0.0.1:{port}", "a-key", timeout=timeout)


def calls(wanted: QdrantSettings) -> dict[str, Callable[[], object]]:
    store = QdrantStore(wanted, SPEC, ANALYZER)
    index = QdrantIndex("one", SPEC, Place(Connection(wanted), "kaito-rag.one", ANALYZER))
    return {
        "names": store.names,
        "get": lambda: store.get("one"),
        "create": lambda: store.create("one", SPEC),
        "drop": lambda: store.drop("one"),
        "apply": lambda: index.apply(Batch((a_document("a", "word"),))),
        "search": lambda: hits_of(index, [a_query("word")]),
        "page": lambda: index.page(limit=1, offset=0),
        "count": index.count,
        "stored": lambda: index.stored(["a"]),
        "vectors": lambda: index.vectors("a"),
    }


def test_a_server_that_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    for name, call in calls(settings(port)).items():
        with pytest.raises(StorageError, match="cannot be reached") as caught:
            call()
        assert (caught.value.status, caught.value.retry_after) == (503, 5), name


@pytest.mark.parametrize(
    ("status", "kind", "says"),
    [
        (500, StorageError, "answers 500.*as asked for"),
        (401, StorageError, "refuses the API key"),
        (403, StorageError, "refuses the API key"),
        (429, BusyError, "busy"),
        (507, StorageFullError, "full"),
    ],
)
def test_what_it_answers_is_told(
    server: Server, status: int, kind: type[RagError], says: str
) -> None:
    server.status = status
    for call in calls(settings(server.server_port)).values():
        with pytest.raises(kind, match=says):
            call()
    assert set(server.keys) == {"a-key"}


def test_an_index_that_another_replica_has_dropped(server: Server) -> None:
    server.status = 404
    asked = calls(settings(server.server_port))
    for name in ("get", "drop", "apply", "search", "page", "count", "stored", "vectors"):
        with pytest.raises(UnknownIndexError, match="'one'"):
            asked[name]()


@pytest.mark.parametrize("version", ["1.15.5", "0.11.0", "v1.9.1-dev", "nightly"])
def test_a_server_that_forgets_whose_collections_are(server: Server, version: str) -> None:
    """Is refused at the start, and gets no collection that nobody would know again."""
    server.version, server.status = version, 404
    store = QdrantStore(settings(server.server_port), SPEC, ANALYZER)
    told = rf"is version {version}; collections have metadata from 1\.16 on"
    for call in (store.check, lambda: store.create("one", SPEC)):
        with pytest.raises(StorageError, match=told):
            call()
    assert {each.split()[0] for each in server.asked} == {"GET"}


@pytest.mark.parametrize("version", ["1.16.0", "1.17.1-dev", "2.0.0"])
def test_the_version_is_asked_for_once(server: Server, version: str) -> None:
    server.version = version
    store = QdrantStore(settings(server.server_port), SPEC, ANALYZER)
    store.check()
    store.check()
    assert server.asked == ["GET /"]


def test_a_slow_server_is_not_waited_for(server: Server) -> None:
    server.status = 0
    with pytest.raises(StorageError, match="cannot be reached"):
        calls(settings(server.server_port, timeout=1))["search"]()
