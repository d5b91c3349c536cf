"""The parts, made one from another, and closed in the opposite order, however far it came."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

from rag import embedding, reranking
from rag.chat.service import Chat
from rag.documents import IndexSpec, Vectors
from rag.embedding.fingerprint import spec_of
from rag.errors import EmbedderError
from rag.guardrails.guard import Guardrails
from rag.health import Health
from rag.ingest.embedded import embedded_text
from rag.ingest.service import Ingester
from rag.ingest.tokens import Counter
from rag.measured import MeasuredEmbedder, MeasuredRetriever, MeasuredStore
from rag.memory.analysis import Analyzer
from rag.metrics import Metrics
from rag.parts import Parts
from rag.protocols import Embedder, Store
from rag.retrieval import Retriever
from rag.settings import Settings
from rag.storage import agreed
from rag.storage.store import LocalStore
from rag.unverified import UnverifiedEmbedder

_LOG = logging.getLogger("rag")


@dataclass(frozen=True, slots=True)
class Start:
    """What is there before the parts are."""

    health: Health
    metrics: Metrics
    again: Callable[[], None]
    """Ends the process, for another start."""


async def assemble(settings: Settings, start: Start, closing: AsyncExitStack) -> Parts:
    """Raises RagError: of the embedder, of the store. Takes as long as models and indexes take."""
    health, metrics = start.health, start.metrics
    guardrails = Guardrails(settings.guardrails, metrics.guardrails)
    await guardrails.start()
    closing.push_async_callback(guardrails.close)

    health.problem = "the embedding model is being loaded"
    loaded, spec = await _embedder(settings, start.again)
    closing.push_async_callback(loaded.close)
    embedder = MeasuredEmbedder(loaded, metrics, settings.embedding.source)

    reranker = await reranking.load(settings.reranker)
    if reranker is not None:
        closing.push_async_callback(reranker.close)

    health.problem = "indexes are being restored"
    store = MeasuredStore(await _store(settings, embedder, spec, metrics), metrics)
    closing.push_async_callback(_alone, store.close)
    await asyncio.to_thread(store.names)  # of a store elsewhere the first that is asked

    found = Retriever(store, embedder, reranker)
    closing.push_async_callback(found.close)
    retriever = MeasuredRetriever(found, metrics)
    chat = Chat(retriever, settings.chat, guardrails)
    closing.push_async_callback(chat.close)
    ingester = Ingester(store, embedder, settings.ingest, partial(_counter, loaded))
    return Parts(store, embedder, ingester, retriever, chat, guardrails, settings, metrics, health)


async def _embedder(settings: Settings, again: Callable[[], None]) -> tuple[Embedder, IndexSpec]:
    """With what it is known by. A service that is away is waited for by whoever needs it, where
    the indexes agree on what it is."""
    connect = partial(embedding.load, settings.embedding)
    try:
        loaded = await connect()
    except EmbedderError as error:
        spec = None
        if settings.embedding.source == "remote" and settings.qdrant is None:
            spec = await asyncio.to_thread(agreed.spec_of_all, settings.storage.directory)
        if spec is None:
            raise
        _LOG.warning("%s What needs no new vectors is answered", error.detail)
        return UnverifiedEmbedder(spec, connect, again), spec
    try:
        return loaded, await spec_of(loaded)
    except BaseException:
        await loaded.close()
        raise


async def _counter(embedder: Embedder) -> Counter:
    """Raises EmbedderError where nobody knows yet how much the service reads of a text."""
    if isinstance(embedder, UnverifiedEmbedder):
        embedder = await embedder.verified()
    return await asyncio.to_thread(Counter.of, embedder.directory, embedder.max_tokens)


async def _alone(work: Callable[[], None]) -> None:
    """In a thread of its own: what nobody waits for any more may have taken all others."""
    thread = ThreadPoolExecutor(1, thread_name_prefix="closing")
    try:
        await asyncio.get_running_loop().run_in_executor(thread, work)
    finally:
        thread.shutdown(wait=False)


async def _store(
    settings: Settings, embedder: Embedder, spec: IndexSpec, metrics: Metrics
) -> Store:
    analyzer = Analyzer(settings.language)
    if settings.qdrant is not None:
        from rag.qdrant.store import QdrantStore  # its client takes half a second

        remote = QdrantStore(settings.qdrant, spec, analyzer)
        try:
            await asyncio.to_thread(remote.check)
        except BaseException:
            remote.close()
            raise
        return remote
    loop = asyncio.get_running_loop()

    def reembed(texts: Sequence[str]) -> Vectors:
        """For the store's threads: the embedder is the loop's."""
        return asyncio.run_coroutine_threadsafe(embedder.embed_documents(texts), loop).result()

    def opened() -> LocalStore:
        return LocalStore.open(
            settings.storage,
            spec,
            reembed,
            analyzer=analyzer,
            embedded_text=embedded_text,
            observe_upload=metrics.files.uploaded,
        )

    local = await asyncio.to_thread(opened)
    metrics.files.watch(lambda: local.writable, lambda: local.problems)
    return local
