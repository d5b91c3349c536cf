"""The environment as one value, made of the parts' own settings. Reads nothing else, and changes
nothing: what it says can be tested by a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apis import container
from rag import environment as known
from rag import variables
from rag.chat.settings import ChatSettings
from rag.embedding.settings import EmbeddingSettings
from rag.guardrails.settings import GuardrailSettings
from rag.ingest.settings import ChunkOptions, IngestSettings
from rag.limits import LimitSettings
from rag.qdrant.settings import QdrantSettings
from rag.reranking import RerankerSettings
from rag.server import ServerSettings
from rag.storage.settings import StorageSettings

VARIABLES = (
    *known.SERVER,
    *known.LIMITS,
    *known.EMBEDDING,
    *known.RERANKER,
    *known.STORAGE,
    *known.INGEST,
    *known.CHAT,
    *known.GUARDRAILS,
)


class SettingsError(ValueError):
    """Names each variable that is wrong, and what to set it to."""


@dataclass(frozen=True, slots=True)
class Settings:
    server: ServerSettings
    limits: LimitSettings
    embedding: EmbeddingSettings
    reranker: RerankerSettings
    storage: StorageSettings
    ingest: IngestSettings
    chat: ChatSettings
    guardrails: GuardrailSettings
    qdrant: QdrantSettings | None
    """None where indexes are files of this process."""
    language: str


def read(environment: Mapping[str, str]) -> Settings:
    """Raises SettingsError."""
    values, problems = variables.read(VARIABLES, environment)
    problems += _missing(values) if not problems else []
    if problems:
        raise SettingsError("\n".join(problems))
    return Settings(
        server=_server(values),
        limits=_limits(values),
        embedding=_embedding(values),
        reranker=_reranker(values),
        storage=_storage(values),
        ingest=_ingest(values),
        chat=_chat(values),
        guardrails=_guardrails(values),
        qdrant=_qdrant(values),
        language=values["RAG_LANGUAGE"],
    )


def _missing(values: Mapping[str, Any]) -> list[str]:
    """What one variable needs of another."""
    needs = (
        (container.ENV_RAG_EMBEDDING_SOURCE, "remote", container.ENV_RAG_REMOTE_URL),
        (container.ENV_RAG_STORE, "qdrant", container.ENV_RAG_STORE_URL),
        (container.ENV_RAG_GUARDRAILS, True, container.ENV_RAG_GUARDRAILS_FILE),
    )
    return [
        f"{needed}: not set, and {name} is {str(value).lower()}; set it, or change {name}"
        for name, value, needed in needs
        if values[name] == value and not values[needed]
    ]


def _server(values: Mapping[str, Any]) -> ServerSettings:
    return ServerSettings(
        host=values["RAG_HOST"],
        port=values["RAG_PORT"],
        api_keys_directory=values[container.ENV_API_KEYS_DIR],
        cors_origins=values["RAG_CORS_ORIGINS"],
        stop_delay=values["RAG_STOP_DELAY_SECONDS"],
        drain=values["RAG_DRAIN_SECONDS"],
        access_log=values["RAG_ACCESS_LOG"],
        log_level=values["RAG_LOG_LEVEL"],
    )


def _limits(values: Mapping[str, Any]) -> LimitSettings:
    return LimitSettings(
        body_bytes=values["RAG_MAX_BODY_BYTES"],
        body_bytes_at_once=values["RAG_MAX_BODY_BYTES_AT_ONCE"],
        body_seconds=values["RAG_BODY_TIMEOUT_SECONDS"],
        requests_at_once=values["RAG_MAX_REQUESTS"],
        requests_per_minute=values["RAG_REQUESTS_PER_MINUTE"],
        top_k=values["RAG_MAX_TOP_K"],
    )


def _embedding(values: Mapping[str, Any]) -> EmbeddingSettings:
    return EmbeddingSettings(
        source=values[container.ENV_RAG_EMBEDDING_SOURCE],
        model_id=values[container.ENV_RAG_LOCAL_MODEL],
        model_dir=values["RAG_MODEL_DIR"],
        backend=values["RAG_EMBEDDING_BACKEND"],
        image=values[container.ENV_RAG_LOCAL_IMAGE],
        remote_url=values[container.ENV_RAG_REMOTE_URL],
        remote_key=values[container.ENV_RAG_REMOTE_SECRET],
        remote_model=values["REMOTE_EMBEDDING_MODEL"],
        batch_tokens=values["RAG_EMBEDDING_BATCH_TOKENS"],
        timeout=values["RAG_EMBEDDING_TIMEOUT_SECONDS"],
        retries=values["RAG_EMBEDDING_RETRIES"],
        endpoint=values[container.ENV_ENDPOINT],
        token=values[container.ENV_TOKEN],
        insecure_registries=values[container.ENV_INSECURE_REGISTRIES],
    )


def _reranker(values: Mapping[str, Any]) -> RerankerSettings:
    return RerankerSettings(
        model=values["RAG_RERANKER_MODEL"],
        url=values["RAG_RERANKER_URL"],
        key=values["RAG_RERANKER_ACCESS_SECRET"],
        batch=values["LLM_RERANKER_BATCH_SIZE"],
        timeout=values["RAG_RERANKER_TIMEOUT_SECONDS"],
        files=_embedding(values),
    )


def _storage(values: Mapping[str, Any]) -> StorageSettings:
    return StorageSettings(
        directory=values[container.ENV_RAG_DIRECTORY],
        object_store_url=values["RAG_OBJECT_STORE_URL"],
        object_store_options=values["RAG_OBJECT_STORE_OPTIONS"],
        sync=values["RAG_SYNC"],
        keep=values["RAG_SNAPSHOTS_KEPT"],
        upload_quiet=values["RAG_UPLOAD_QUIET_SECONDS"],
        upload_every=values["RAG_UPLOAD_SECONDS"],
        write_wait=values["RAG_WRITE_WAIT_SECONDS"],
    )


def _qdrant(values: Mapping[str, Any]) -> QdrantSettings | None:
    if values[container.ENV_RAG_STORE] != "qdrant":
        return None
    return QdrantSettings(
        url=values[container.ENV_RAG_STORE_URL],
        api_key=values[container.ENV_RAG_STORE_SECRET] or "",
        prefix=values["RAG_QDRANT_PREFIX"],
        timeout=values["RAG_QDRANT_TIMEOUT_SECONDS"],
        exact=values["RAG_QDRANT_EXACT"],
    )


def _ingest(values: Mapping[str, Any]) -> IngestSettings:
    return IngestSettings(
        chunks=ChunkOptions(values["RAG_CHUNK_TOKENS"], values["RAG_CHUNK_OVERLAP_TOKENS"]),
        max_documents=values["RAG_MAX_DOCUMENTS"],
        max_text_bytes=values["RAG_MAX_TEXT_BYTES"],
        max_metadata_bytes=values["RAG_MAX_METADATA_BYTES"],
        write_wait=values["RAG_WRITE_WAIT_SECONDS"],
    )


def _chat(values: Mapping[str, Any]) -> ChatSettings:
    return ChatSettings(
        url=values[container.ENV_RAG_LLM_URL],
        key=values[container.ENV_RAG_LLM_SECRET],
        context_window=values[container.ENV_RAG_LLM_WINDOW],
        fill_ratio=values["RAG_CONTEXT_TOKEN_FILL_RATIO"],
        similarity_threshold=values["RAG_SIMILARITY_THRESHOLD"],
        top_k=values["RAG_CHAT_TOP_K"],
        max_top_k=values["RAG_MAX_TOP_K"],
        node_tokens=values["RAG_DOCUMENT_NODE_TOKEN_APPROXIMATION"],
        tokenizer=values["RAG_CHAT_TOKENIZER"],
        refuse_without_context=values["RAG_CHAT_REQUIRE_CONTEXT"],
        read_timeout=values["RAG_LLM_TIMEOUT_SECONDS"],
    )


def _guardrails(values: Mapping[str, Any]) -> GuardrailSettings:
    return GuardrailSettings(
        enabled=values[container.ENV_RAG_GUARDRAILS],
        policy_path=values[container.ENV_RAG_GUARDRAILS_FILE] or Path(),
        hot_reload=values["OUTPUT_GUARDRAILS_HOT_RELOAD_ENABLED"],
        fail_open=values["RAG_GUARDRAILS_FAIL_OPEN"],
    )
