"""The one door to Qdrant: calls go out, and errors come back as ours."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any
from urllib.parse import urlsplit

from qdrant_client import QdrantClient
from qdrant_client.http.exceptions import (
    ApiException,
    ResponseHandlingException,
    UnexpectedResponse,
)

from rag import outgoing
from rag.errors import BusyError, NotFoundError, StorageError, StorageFullError
from rag.qdrant.settings import QdrantSettings

_RETRY_SECONDS = 5.0
_LEAST = (1, 16)
_VERSION = re.compile(r"v?(\d+)\.(\d+)")
_OF_NONE = ("collection_exists", "create_collection")
_TOLD = 200
"""Characters of what the server says."""


class MissingCollectionError(NotFoundError):
    """By the name that the collection has in the server."""


class Connection:
    """Safe to use from many threads. The in-process client is not, and is called one by one."""

    def __init__(self, settings: QdrantSettings) -> None:
        self.remote = settings.remote
        self._where = _shown(settings.url) if settings.remote else settings.url or "in memory"
        self._client = _client(settings)
        self._turn: AbstractContextManager[Any] = (
            nullcontext() if self.remote else threading.RLock()
        )

    def call(self, method: str, collection: str = "", **arguments: Any) -> Any:
        """A method of QdrantClient, of a collection or of none. Raises MissingCollectionError,
        StorageError, BusyError."""
        if collection:
            arguments["collection_name"] = collection
        with self._turn, self._translated(collection):
            # A local client knows no missing collection, but for a ValueError like any other.
            if not self.remote and collection and method not in _OF_NONE:
                self._present(collection)
            return getattr(self._client, method)(**arguments)

    def check(self) -> None:
        """Raises StorageError where the server is too old to keep what we note of a collection: it
        would take it, forget it, and we would not know the collection for ours."""
        if not self.remote:
            return
        told = str(self.call("info").version)
        found = _VERSION.match(told)
        if found is None or (int(found[1]), int(found[2])) < _LEAST:
            raise StorageError(
                f"Qdrant at {self._where} is version {told[:_TOLD]}; collections have metadata"
                f" from {_LEAST[0]}.{_LEAST[1]} on, which is needed."
            )

    def close(self) -> None:
        with self._turn:
            self._client.close()

    def _present(self, collection: str) -> None:
        if not self._client.collection_exists(collection):
            raise MissingCollectionError(f"There is no collection {collection}.")

    @contextmanager
    def _translated(self, collection: str) -> Iterator[None]:
        try:
            yield
        except UnexpectedResponse as error:
            raise self._refused(error, collection) from error
        except ResponseHandlingException as error:
            raise self._unreachable(error.source) from error
        except ApiException as error:
            raise self._unreachable(error) from error

    def _refused(self, error: UnexpectedResponse, collection: str) -> Exception:
        said = (error.content or b"").decode(errors="replace")[:_TOLD]
        match error.status_code:
            case 404 if collection:
                return MissingCollectionError(f"There is no collection {collection}.")
            case 401 | 403:
                return StorageError(f"Qdrant at {self._where} refuses the API key.")
            case 429:
                return BusyError(f"Qdrant at {self._where} is busy.", retry_after=_RETRY_SECONDS)
            case 507:
                return StorageFullError(f"Qdrant at {self._where} is full: {said}")
        return StorageError(f"Qdrant at {self._where} answers {error.status_code}: {said}")

    def _unreachable(self, error: Exception) -> StorageError:
        reason = str(error) or type(error).__name__
        return StorageError(
            f"Qdrant at {self._where} cannot be reached: {reason}", retry_after=_RETRY_SECONDS
        )


def conflict(error: StorageError) -> bool:
    """Whether what was to be made is there already."""
    cause = error.__cause__
    return isinstance(cause, UnexpectedResponse) and cause.status_code in (400, 409)


def _shown(url: str) -> str:
    """For people who ask: without user, password and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _client(settings: QdrantSettings) -> QdrantClient:
    build: Callable[..., QdrantClient] = QdrantClient
    if settings.remote:
        return build(
            url=settings.url,
            api_key=settings.api_key or None,
            timeout=max(1, round(settings.timeout)),
            event_hooks=outgoing.hooks_of_threads(),
            check_compatibility=False,  # it would ask the server before there is a reason to
        )
    if settings.url:
        return build(path=settings.url, force_disable_check_same_thread=True)
    return build(location=":memory:")
