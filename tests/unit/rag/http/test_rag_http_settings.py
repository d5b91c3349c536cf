"""The environment as settings: both spellings, every bound, and what is said of what is unfit."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from rag.settings import VARIABLES, Settings, SettingsError, read
from rag.variables import Variable

from apis import container

ROOT = Path(__file__).parents[4]
BY_NAME = {each.name: each for each in VARIABLES}


def test_an_empty_environment_is_enough() -> None:
    settings = read({})
    assert (settings.server.host, settings.server.port) == ("0.0.0.0", 5000)
    assert settings.embedding.source == "local"
    assert settings.embedding.model_id == "BAAI/bge-small-en-v1.5"
    assert settings.chat.url is None
    assert settings.chat.key is None
    assert settings.chat.context_window == 64_000
    assert settings.storage.directory == Path(container.RAG_DATA_DIR)
    assert not settings.guardrails.enabled
    assert settings.limits.top_k == settings.chat.max_top_k == 300


def test_defaults_are_those_of_the_parts() -> None:
    """Two homes of one fact, as the table is for people: they agree."""
    settings = read({})
    for name in ("limits", "server", "ingest"):
        part = getattr(settings, name)
        assert part == type(part)(), name
    embedding = settings.embedding
    assert embedding == type(embedding)(model_id=embedding.model_id)
    chat = settings.chat
    assert chat == type(chat)()
    assert settings.guardrails == type(settings.guardrails)()
    assert settings.storage == type(settings.storage)(Path(container.RAG_DATA_DIR))


SET: dict[str, tuple[dict[str, str], str, Any]] = {
    "the controller's source": ({"EMBEDDING_TYPE": "LOCAL"}, "embedding.source", "local"),
    "the controller's model": ({"MODEL_ID": "a/b"}, "embedding.model_id", "a/b"),
    "the service's model goes first": (
        {"MODEL_ID": "a/b", "LOCAL_EMBEDDING_MODEL_ID": "c/d"},
        "embedding.model_id",
        "c/d",
    ),
    "empty is unset": (
        {"MODEL_ID": "a/b", "LOCAL_EMBEDDING_MODEL_ID": " "},
        "embedding.model_id",
        "a/b",
    ),
    "what computes": ({"RAG_EMBEDDING_BACKEND": "ONNX"}, "embedding.backend", "onnx"),
    "a remote embedder": (
        {"EMBEDDING_SOURCE_TYPE": "Remote", "REMOTE_EMBEDDING_URL": "http://e/v1"},
        "embedding.remote_url",
        "http://e/v1",
    ),
    "upstream's default secret is none": (
        {"LLM_ACCESS_SECRET": "default-access-secret"},
        "chat.key",
        None,
    ),
    "a secret": ({"LLM_ACCESS_SECRET": "hush"}, "chat.key", "hush"),
    "the window": ({"LLM_CONTEXT_WINDOW": "4096"}, "chat.context_window", 4096),
    "the directory": (
        {"DEFAULT_VECTOR_DB_PERSIST_DIR": "/mnt/x"},
        "storage.directory",
        Path("/mnt/x"),
    ),
    "the policy": (
        {"OUTPUT_GUARDRAILS_ENABLED": "True", "OUTPUT_GUARDRAILS_POLICY_PATH": "/p.yaml"},
        "guardrails.policy_path",
        Path("/p.yaml"),
    ),
    "no reload": (
        {"OUTPUT_GUARDRAILS_HOT_RELOAD_ENABLED": "0"},
        "guardrails.hot_reload",
        False,
    ),
    "the most of a retrieval": ({"RAG_MAX_TOP_K": "7"}, "limits.top_k", 7),
    "origins": (
        {"RAG_CORS_ORIGINS": "https://a, https://b,"},
        "server.cors_origins",
        ("https://a", "https://b"),
    ),
    "an object store's options": (
        {"RAG_OBJECT_STORE_OPTIONS": '{"aws_region": "x"}'},
        "storage.object_store_options",
        {"aws_region": "x"},
    ),
    "keys": ({"KAITO_API_KEYS_DIR": "/keys"}, "server.api_keys_directory", "/keys"),
    "chunks": ({"RAG_CHUNK_TOKENS": "256"}, "ingest.chunks.chunk_size", 256),
}


@pytest.mark.parametrize(("environment", "where", "wanted"), SET.values(), ids=SET.keys())
def test_what_is_set(environment: dict[str, str], where: str, wanted: Any) -> None:
    found: Any = read(environment)
    for name in where.split("."):
        found = getattr(found, name)
    assert found == wanted


UNFIT = [
    ("EMBEDDING_SOURCE_TYPE", "both", "set it to local or remote"),
    ("EMBEDDING_TYPE", "both", "EMBEDDING_TYPE: 'both' does not fit; set it to local or remote"),
    ("RAG_EMBEDDING_BACKEND", "cuda", "set it to auto or onnx or torch"),
    ("VECTOR_DB_TYPE", "chroma", "set it to faiss or qdrant"),
    ("LLM_CONTEXT_WINDOW", "many", "set it to a whole number of at least 1"),
    ("LLM_CONTEXT_WINDOW", "0", "set it to a whole number of at least 1"),
    ("RAG_CONTEXT_TOKEN_FILL_RATIO", "0.9", "set it to a number from 0.2 to 0.8"),
    ("RAG_CONTEXT_TOKEN_FILL_RATIO", "nan", "set it to a number from 0.2 to 0.8"),
    ("RAG_BODY_TIMEOUT_SECONDS", "inf", "set it to a number of at least 0"),
    ("RAG_PORT", "70000", "set it to a whole number from 0 to 65535"),
    ("OUTPUT_GUARDRAILS_ENABLED", "maybe", "set it to true or false"),
    ("LLM_INFERENCE_URL", "phi-4", "set it to a URL of http or https"),
    ("LLM_INFERENCE_URL", "http://a:port/", "set it to a URL of http or https"),
    ("RAG_OBJECT_STORE_URL", "ftp://a/b", "set it to a URL of s3 or gs or az or file"),
    ("RAG_OBJECT_STORE_OPTIONS", "[]", "set it to a JSON object of texts"),
    ("RAG_LOG_LEVEL", "loud", "set it to debug or info or warning or error"),
]


@pytest.mark.parametrize(("name", "text", "told"), UNFIT)
def test_what_does_not_fit_is_named_with_a_remedy(name: str, text: str, told: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read({name: text})
    assert str(caught.value).startswith(f"{name}: ")
    assert told in str(caught.value)


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        read({"RAG_PORT": "x", "VECTOR_DB_TYPE": "y"})
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("RAG_OBJECT_STORE_OPTIONS", "hush"),
        ("LLM_ACCESS_SECRET", "hush\nhush"),  # no header could hold them
        ("LLM_ACCESS_SECRET", "hush…"),
        ("VECTOR_DB_ACCESS_SECRET", "hush\r\nX-Other: 1"),
    ],
)
def test_secrets_are_not_repeated(name: str, text: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name}: what it is does not fit") as caught:
        read({name: text})
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("environment", "missing"),
    [
        ({"EMBEDDING_TYPE": "remote"}, "REMOTE_EMBEDDING_URL"),
        ({"VECTOR_DB_TYPE": "qdrant"}, "VECTOR_DB_URL"),
        ({"OUTPUT_GUARDRAILS_ENABLED": "true"}, "OUTPUT_GUARDRAILS_POLICY_PATH"),
    ],
)
def test_what_one_needs_of_another(environment: dict[str, str], missing: str) -> None:
    with pytest.raises(SettingsError, match=f"^{missing}: not set, and .* set it, or change "):
        read(environment)


def test_every_variable_of_the_controller_is_read() -> None:
    names = {value for name, value in vars(container).items() if name.startswith("ENV_RAG_")}
    assert names <= set(BY_NAME)


def test_names_are_used_once() -> None:
    names = [name for each in VARIABLES for name in (each.name, *each.also)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("variable", VARIABLES, ids=[each.name for each in VARIABLES])
def test_the_documentation_has_it(variable: Variable) -> None:
    name = "<br>".join(f"`{each}`" for each in (variable.name, *variable.also))
    default = f"`{variable.default}`" if variable.default else ""
    assert f"| {name} | {default} | {variable.meaning} |" in documented()


def test_the_documentation_has_no_other() -> None:
    told = re.findall(r"^\| `([A-Z_]+)`", documented(), re.MULTILINE)
    assert set(told) == set(BY_NAME)


def documented() -> str:
    return (ROOT / "docs/rag/api.md").read_text()


def test_settings_cannot_be_changed() -> None:
    settings: Settings = read({})
    with pytest.raises(AttributeError):
        settings.limits = None  # type: ignore[assignment,misc]
