"""Every variable that the service reads: KAITO's names first, ours begin with RAG_.

docs/rag/api.md has the same table for people; a test compares them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from apis import container
from rag.memory.analysis import LANGUAGES
from rag.variables import UnfitError, Variable, between, flag, one_of, url, whole, words


def _options(text: str) -> dict[str, str]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(each, str) for each in found.values()):
        raise UnfitError('a JSON object of texts, as {"aws_region": "eu-west-1"}')
    return found


def _secret(text: str) -> str | None:
    """Upstream's own default stands for none: nobody's key is that. Of any other a header is made,
    and what does not fit into one would be repeated in an error when it is first sent."""
    if not (text.isascii() and text.isprintable()):
        raise UnfitError("printable characters of ASCII, in one line")
    return None if text == "default-access-secret" else text


def _text(text: str) -> Any:
    return text


_HTTP = url("http", "https")
_SECONDS = between(0)

SERVER = (
    Variable("RAG_HOST", "0.0.0.0", _text, "Address to listen on; `::` for IPv6."),
    Variable("RAG_PORT", str(container.PORT), whole(0, 65535), "Port to listen on."),
    Variable(
        container.ENV_API_KEYS_DIR, container.API_KEYS_DIR, _text,
        "Directory of API keys, one a file; where it does not exist nobody is asked for one.",
    ),
    Variable(
        "RAG_CORS_ORIGINS", "", words,
        "Origins whose pages may call the service, separated by commas; `*` for all.", unset=(),
    ),
    Variable(
        "RAG_STOP_DELAY_SECONDS", "2", _SECONDS,
        "After SIGTERM requests are still taken for so long, as routers learn of the end late.",
    ),
    Variable(
        "RAG_DRAIN_SECONDS", str(container.DRAIN_SECONDS), _SECONDS,
        "Requests in work, streams too, may go on for so long after that.",
    ),
    Variable("RAG_ACCESS_LOG", "false", flag, "A line in the log for every request."),
    Variable(
        "RAG_LOG_LEVEL", "info", one_of("debug", "info", "warning", "error"),
        "What is written to the log.",
    ),
)  # fmt: skip
LIMITS = (
    Variable("RAG_MAX_BODY_BYTES", str(64 << 20), whole(1), "Of one request; else 413."),
    Variable(
        "RAG_MAX_BODY_BYTES_AT_ONCE", str(512 << 20), whole(1),
        "Of the bodies of all requests in work together; else 429.",
    ),
    Variable(
        "RAG_BODY_TIMEOUT_SECONDS", "60", _SECONDS,
        "Without a byte of a body that was announced; else 408. 0: none.",
    ),
    Variable(
        "RAG_MAX_REQUESTS", "256", whole(0),
        "In work at once, probes and metrics aside; else 429. 0: none.",
    ),
    Variable(
        "RAG_REQUESTS_PER_MINUTE", "0", whole(0),
        "Of one API key, or of one address where no keys are asked; else 429. 0: none.",
    ),
    Variable(
        "RAG_MAX_TOP_K", "300", whole(1, 10_000), "Passages that one request may ask for; else 422."
    ),
)  # fmt: skip
EMBEDDING = (
    Variable(
        container.ENV_RAG_EMBEDDING_SOURCE, "local", one_of("local", "remote"),
        "Who embeds: this process, or a service.", also=("EMBEDDING_TYPE",),
    ),
    Variable(
        container.ENV_RAG_LOCAL_MODEL, "BAAI/bge-small-en-v1.5", _text,
        "The embedding model, by its name on Hugging Face.", also=("MODEL_ID",),
    ),
    Variable(
        "RAG_MODEL_DIR", container.RAG_MODEL_DIR, Path,
        "Where the model's files are, or are put.",
    ),
    Variable(container.ENV_RAG_LOCAL_IMAGE, "", _text, "An image that holds the model.", unset=""),
    Variable(
        "RAG_EMBEDDING_BACKEND", "auto", one_of("auto", "onnx", "torch"),
        "What computes a local model; `auto`: ONNX Runtime where it gives the same vectors.",
    ),
    Variable(
        container.ENV_RAG_REMOTE_URL, "", _HTTP,
        "The embedding service; needed where the source is remote.", unset="",
    ),
    Variable(
        container.ENV_RAG_REMOTE_SECRET, "", _secret,
        "Sent to it as `Authorization: Bearer`.", secret=True,
    ),
    Variable(
        "REMOTE_EMBEDDING_MODEL", "", _text,
        "What an OpenAI-compatible service is asked for; unset: the first that it has.", unset="",
    ),
    Variable(
        "RAG_EMBEDDING_BATCH_TOKENS", "", whole(1),
        "Of documents that are embedded at once; unset: 128 by ONNX Runtime, else 2048.",
    ),
    Variable("RAG_EMBEDDING_TIMEOUT_SECONDS", "60", between(1), "Of one request to the service."),
    Variable(
        "RAG_EMBEDDING_RETRIES", "4", whole(0), "Where the service is busy or out of reach."
    ),
    Variable(container.ENV_ENDPOINT, "", _HTTP, "A mirror of huggingface.co.", unset=""),
    Variable(
        container.ENV_TOKEN, "", _secret, "For gated models of Hugging Face.",
        also=("ACCESS_SECRET",), secret=True,
    ),
    Variable(
        container.ENV_INSECURE_REGISTRIES, "", _text,
        "Registries without TLS, as host:port, separated by commas.", unset="",
    ),
)  # fmt: skip
RERANKER = (
    Variable(
        "RAG_RERANKER_MODEL", "", _text,
        "A cross-encoder, by its name on Hugging Face or its directory; with a URL, the service's"
        " name for it.", unset="",
    ),
    Variable(
        "RAG_RERANKER_URL", "", _HTTP, "A service that reranks, in place of a model here.",
        unset="",
    ),
    Variable(
        "RAG_RERANKER_ACCESS_SECRET", "", _secret, "Sent to it as `Authorization: Bearer`.",
        secret=True,
    ),
    Variable("LLM_RERANKER_BATCH_SIZE", "16", whole(1), "Passages that are read at once."),
    Variable("RAG_RERANKER_TIMEOUT_SECONDS", "30", between(1), "Of one request to the service."),
)  # fmt: skip
STORAGE = (
    Variable(
        container.ENV_RAG_STORE, "faiss", one_of(*container.RAG_STORES),
        "Where indexes are: files of this process, or a Qdrant server.",
    ),
    Variable(
        container.ENV_RAG_STORE_URL, "", _HTTP, "Qdrant's; needed where that is the store.",
        unset="",
    ),
    Variable(container.ENV_RAG_STORE_SECRET, "", _secret, "Qdrant's API key.", secret=True),
    Variable(
        container.ENV_RAG_STORE_PREFIX, container.RAG_STORE_PREFIX, _text,
        "Of the collections that are the service's; others of the server are left alone.",
    ),
    Variable("RAG_QDRANT_TIMEOUT_SECONDS", "30", between(0.1), "Of one request to Qdrant."),
    Variable(
        "RAG_QDRANT_EXACT", "false", flag,
        "Compare with every vector in place of walking Qdrant's graph.",
    ),
    Variable(
        container.ENV_RAG_DIRECTORY, container.RAG_DATA_DIR, Path, "Where the files are.",
    ),
    Variable(
        "RAG_OBJECT_STORE_URL", "", url("s3", "gs", "az", "file"),
        "Snapshots are kept there besides, and restored from there into an empty directory.",
        unset="",
    ),
    Variable(
        "RAG_OBJECT_STORE_OPTIONS", "", _options,
        "A JSON object of obstore's settings, as `aws_endpoint`.", unset={}, secret=True,
    ),
    Variable(
        "RAG_LANGUAGE", "english", one_of(*LANGUAGES),
        "Of the texts, for the stems of words in BM25; `none` for several.",
    ),
    Variable("RAG_SYNC", "true", flag, "Whether a write waits for the disk."),
    Variable("RAG_SNAPSHOTS_KEPT", "5", whole(1), "Of each index."),
    Variable(
        "RAG_UPLOAD_QUIET_SECONDS", "10", _SECONDS,
        "Without a write, after which a snapshot is uploaded.",
    ),
    Variable(
        "RAG_UPLOAD_SECONDS", "300", _SECONDS,
        "After which one is uploaded though writes go on.",
    ),
    Variable(
        "RAG_WRITE_WAIT_SECONDS", "60", _SECONDS,
        "A write waits so long while another process holds the files; then 503.",
    ),
)  # fmt: skip
INGEST = (
    Variable(
        "RAG_CHUNK_TOKENS", "", whole(32),
        "Size of a chunk, never more than the model reads; unset: 1024.", unset=0,
    ),
    Variable(
        "RAG_CHUNK_OVERLAP_TOKENS", "", whole(0),
        "Shared with the chunk before, half of it at most; unset: 200, or a fifth of a smaller"
        " chunk.", unset=-1,
    ),
    Variable("RAG_MAX_DOCUMENTS", "10000", whole(1), "Of one request; else 422."),
    Variable("RAG_MAX_TEXT_BYTES", str(16 << 20), whole(1), "Of one document; else it fails."),
    Variable(
        "RAG_MAX_METADATA_BYTES", str(64 << 10), whole(2), "Of one document; else it fails."
    ),
)  # fmt: skip
CHAT = (
    Variable(
        container.ENV_RAG_LLM_URL, "", _HTTP,
        "The inference service; without it chats are answered 503.",
    ),
    Variable(
        container.ENV_RAG_LLM_SECRET, "", _secret, "Sent to it as `Authorization: Bearer`.",
        secret=True,
    ),
    Variable(
        container.ENV_RAG_LLM_WINDOW, "64000", whole(1), "Tokens that the model reads and writes."
    ),
    Variable(
        "RAG_CONTEXT_TOKEN_FILL_RATIO", "0.5", between(0.2, 0.8),
        "The most that passages take of the window.",
    ),
    Variable(
        "RAG_SIMILARITY_THRESHOLD", "", between(0),
        "Squared L2 distance: what was found by its vector alone is left out where it is farther.",
    ),
    Variable("RAG_CHAT_TOP_K", "20", whole(1), "Passages that are looked for in a chat."),
    Variable(
        "RAG_DOCUMENT_NODE_TOKEN_APPROXIMATION", "", between(1),
        "Looks for as many passages as fit where they are that long.",
    ),
    Variable("RAG_CHAT_TOKENIZER", "", Path, "The model's tokenizer.json."),
    Variable(
        "RAG_CHAT_REQUIRE_CONTEXT", "false", flag, "404 where nothing is found, and no answer."
    ),
    Variable(
        "RAG_LLM_TIMEOUT_SECONDS", "300", between(1), "Without a byte of the inference service."
    ),
)  # fmt: skip
GUARDRAILS = (
    Variable(container.ENV_RAG_GUARDRAILS, "false", flag, "Whether answers are scanned."),
    Variable(
        container.ENV_RAG_GUARDRAILS_FILE, "", Path, "The policy; needed where they are scanned."
    ),
    Variable(
        "OUTPUT_GUARDRAILS_HOT_RELOAD_ENABLED", "true", flag, "Whether a changed policy is read."
    ),
    Variable(
        "RAG_GUARDRAILS_FAIL_OPEN", "false", flag,
        "Whether answers pass unscanned while there is no usable policy, as upstream's do.",
    ),
)  # fmt: skip
