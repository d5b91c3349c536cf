"""A service that embeds and was away when we started. What needs no vectors of it is answered all
the same: indexes say themselves by what they were embedded."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from rag.documents import IndexSpec, Vectors
from rag.embedding.fingerprint import spec_of
from rag.errors import EmbedderError
from rag.protocols import Embedder
from rag.storage.present import same_model

_LOG = logging.getLogger("rag")


class UnverifiedEmbedder:
    """Stands in for the service, and asks for it when somebody needs it. One that turns out to be
    another than the indexes are of is what only a start can do something about: they are embedded
    anew then, before anything is answered."""

    def __init__(
        self,
        spec: IndexSpec,
        connect: Callable[[], Awaitable[Embedder]],
        differs: Callable[[], None],
    ) -> None:
        """`spec`: what the indexes are of. `differs` is called where the service is of another."""
        self._spec = spec
        self._connect = connect
        self._differs = differs
        self._found: Embedder | None = None
        self._looking: asyncio.Task[Embedder] | None = None

    @property
    def model(self) -> str:
        return self._spec.model

    @property
    def dimension(self) -> int:
        return self._spec.dimension

    @property
    def directory(self) -> Path | None:
        return None

    @property
    def max_tokens(self) -> int:
        return 0 if self._found is None else self._found.max_tokens

    async def embed_documents(self, texts: Sequence[str]) -> Vectors:
        return await (await self.verified()).embed_documents(texts)

    async def embed_query(self, text: str) -> Vectors:
        return await (await self.verified()).embed_query(text)

    async def verified(self) -> Embedder:
        """The service itself. Raises EmbedderError while it is away; all who ask at the same time
        wait for one look."""
        if self._found is None:
            if self._looking is None or self._looking.done():
                self._looking = asyncio.create_task(self._look())
            self._found = await asyncio.shield(self._looking)
        return self._found

    async def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        if self._found is not None:
            await self._found.close()

    async def _look(self) -> Embedder:
        found = await self._connect()
        try:
            spec = await spec_of(found)
            if not same_model(spec, self._spec):
                _LOG.error(
                    "the embedding service has %s, and the indexes are of %s: starting anew",
                    *(spec.model, self._spec.model),
                )
                self._differs()
                raise EmbedderError("The embedding service has another model than before.")
        except BaseException:
            await found.close()
            raise
        _LOG.info("the embedding service is there, with %s", spec.model)
        return found
