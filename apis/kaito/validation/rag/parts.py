"""The parts of a RAGEngine, whichever of those around them are there."""

from __future__ import annotations

from apis.kaito.v1beta1.ragengine import (
    EmbeddingSpec,
    Guardrails,
    InferenceService,
    LocalEmbedding,
    RAGEngine,
    RemoteEmbedding,
    StorageSpec,
    VectorDB,
)

_NO_SERVICE = InferenceService()


def storage(engine: RAGEngine) -> StorageSpec | None:
    return engine.spec.storage if engine.spec else None


def database(engine: RAGEngine) -> VectorDB | None:
    kept = storage(engine)
    return kept.vector_db if kept else None


def embedding(engine: RAGEngine) -> EmbeddingSpec | None:
    return engine.spec.embedding if engine.spec else None


def local(engine: RAGEngine) -> LocalEmbedding | None:
    asked = embedding(engine)
    return asked.local if asked else None


def remote(engine: RAGEngine) -> RemoteEmbedding | None:
    asked = embedding(engine)
    return asked.remote if asked else None


def service(engine: RAGEngine) -> InferenceService:
    """One that says nothing where there is none."""
    asked = engine.spec.inference_service if engine.spec else None
    return asked or _NO_SERVICE


def guardrails(engine: RAGEngine) -> Guardrails | None:
    return engine.spec.guardrails if engine.spec else None
