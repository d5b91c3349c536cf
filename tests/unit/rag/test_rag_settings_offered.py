"""What a RAGEngine's settings may say, against what its service reads."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from obstore.exceptions import BaseError, UnknownConfigurationKeyError
from obstore.store import from_url
from rag import environment
from rag.memory.analysis import LANGUAGES
from rag.variables import UnfitError, Variable

from apis import container
from apis.kaito import objectstores, ragsettings

VARIABLES = {
    each.name: each
    for table in vars(environment).values()
    if isinstance(table, tuple)
    for each in table
    if isinstance(each, Variable)
}
TRIED = (
    *("-1", "0", "0.05", "0.1", "0.2", "0.5", "0.8", "0.9", "1", "1.5", "2", "31", "32", "10000"),
    *(
        "10001",
        "1e3",
        "1e400",
        "nan",
        "inf",
        "-inf",
        "many",
        "true",
        "No",
        "maybe",
        "DEBUG",
        "auto",
    ),
    *("onnx", "http://a/", "https://a:1/b", "ftp://a", "/a", "nowhere", *LANGUAGES),
)


def fitting(variable: Variable, text: str) -> str:
    try:
        variable.parse(text)
    except UnfitError as error:
        return str(error)
    return ""


def test_every_variable_of_the_service_has_one_place_to_be_set() -> None:
    read = {name for each in VARIABLES.values() for name in (each.name, *each.also)}
    assert ragsettings.SETTINGS.keys() | ragsettings.ELSEWHERE.keys() == read
    assert not ragsettings.SETTINGS.keys() & ragsettings.ELSEWHERE.keys()


def test_no_secret_is_offered() -> None:
    assert not [name for name in ragsettings.SETTINGS if VARIABLES[name].secret]


@pytest.mark.parametrize("name", sorted(ragsettings.SETTINGS.keys() - {"RAG_RERANKER_URL"}))
def test_what_fits_is_what_the_service_takes(name: str) -> None:
    """In the same words, which have the bounds in them."""
    for text in TRIED:
        refused = fitting(VARIABLES[name], text)
        said = f"{text!r} does not fit; set it to {refused}" if refused else ""
        assert ragsettings.refusal(name, text) == said
    assert ragsettings.refusal(name, " ") == "", "which is not set"


@pytest.mark.parametrize("text", TRIED)
def test_a_url_that_the_service_refuses_is_refused(text: str) -> None:
    refused = fitting(VARIABLES["RAG_RERANKER_URL"], text)
    assert bool(ragsettings.refusal("RAG_RERANKER_URL", text)) == bool(refused)


def test_object_stores_are_the_services() -> None:
    variable = VARIABLES[container.ENV_RAG_OBJECT_STORE]
    for scheme in objectstores.KEYS:
        assert fitting(variable, f"{scheme}://bucket/a") == ""
    words = fitting(variable, "ftp://bucket").removeprefix("a URL of ").split(" or ")
    assert {*objectstores.KEYS, "file"} == set(words)


BY_ENVIRONMENT = ("AWS_ALLOW_HTTP", container.ENV_RAG_OBJECT_STORE_OPTIONS)
"""The client reads the one from there alone, and the service the other."""


@pytest.mark.parametrize(
    ("scheme", "key"),
    [
        (scheme, key)
        for scheme in objectstores.KEYS
        for key in objectstores.keys(f"{scheme}://bucket")
        if key not in BY_ENVIRONMENT
    ],
)
def test_every_key_of_a_secret_is_one_that_the_client_knows(
    scheme: str, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    url = f"{scheme}://bucket/prefix"
    try:
        from_url(url, config={key.lower(): "true"})  # type: ignore[call-overload]
    except UnknownConfigurationKeyError as error:
        pytest.fail(str(error))
    except BaseError:
        pass  # it is known, and needs another beside it or has a form of its own
    with pytest.raises(UnknownConfigurationKeyError):
        from_url(url, config={f"{key.lower()}_x": "true"})  # type: ignore[call-overload]


def test_the_keys_of_a_secret_open_the_store_as_variables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At an address of one's own, without TLS."""
    asked: list[tuple[str, str]] = []

    class Bucket(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers["authorization"]))
            self.send_response(404)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Bucket) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        given = {
            "AWS_ACCESS_KEY_ID": "somebody",
            "AWS_SECRET_ACCESS_KEY": "hush",
            "AWS_REGION": "eu-west-9",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
            "AWS_ALLOW_HTTP": "true",
        }
        assert given.keys() <= set(objectstores.KEYS["s3"])
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        try:
            with pytest.raises(FileNotFoundError):
                from_url("s3://bucket/a/b").get("c")
        finally:
            server.shutdown()
            thread.join()
    ((path, authorization),) = asked
    assert path == "/bucket/a/b/c"
    assert "Credential=somebody/" in authorization
    assert "/eu-west-9/s3/" in authorization
