"""All indexes of a Qdrant server that are ours."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
from qdrant_client import models

from rag.documents import IndexSpec
from rag.errors import BadRequestError, IndexExistsError, StorageError, UnknownIndexError
from rag.memory.analysis import Analyzer
from rag.qdrant import fields
from rag.qdrant.connection import Connection, MissingCollectionError, conflict
from rag.qdrant.index import Place, QdrantIndex
from rag.qdrant.settings import QdrantSettings

_MARK = "kaito-rag"
"""In a collection's metadata: what has it is ours, what has not is left alone."""
_FORMAT = 1
_SAME_MODEL = 0.999
_PLAIN = re.compile(r"[A-Za-z0-9._-]")
_ESCAPED = re.compile(r"~([0-9a-f]{2})")


class QdrantStore:
    """Its state is the server's; any number of replicas may use it."""

    def __init__(
        self, settings: QdrantSettings, spec: IndexSpec, analyzer: Analyzer | None = None
    ) -> None:
        """`spec` is that of this service's embedder. Nothing is asked of the server yet."""
        self._settings = settings
        self._spec = spec
        self._analyzer = analyzer or Analyzer()
        self._connection = Connection(settings)
        self._indexes: dict[str, QdrantIndex] = {}
        self._creating = threading.Lock()
        self._is_checked = False

    def check(self) -> None:
        """Once, before anything is made. Raises StorageError where the server is too old."""
        if not self._is_checked:
            self._connection.check()
            self._is_checked = True

    @property
    def writable(self) -> bool:
        return True

    def wait_writable(self, seconds: float) -> bool:
        return True

    @property
    def elsewhere(self) -> bool:
        return True

    def names(self) -> list[str]:
        found = self._connection.call("get_collections").collections
        prefix = self._settings.prefix
        ours = [each.name for each in found if each.name.startswith(prefix)]
        return sorted(
            _unescaped(name.removeprefix(prefix)) for name in ours if self._marked(name) is not None
        )

    def get(self, name: str) -> QdrantIndex:
        """Raises UnknownIndexError; StorageError where it was made with another embedder."""
        mark = self._marked(self._collection(name))
        if mark is None:
            self._indexes.pop(name, None)
            raise UnknownIndexError(name)
        spec = self._checked(name, mark)
        index = self._indexes.get(name)
        if index is None or index.spec != spec:
            # The same one for all who ask at once, so that their searches go together.
            index = self._indexes.setdefault(name, QdrantIndex(name, spec, self._place(name)))
        return index

    def create(self, name: str, spec: IndexSpec) -> QdrantIndex:
        with self._creating:
            try:
                return self.get(name)
            except UnknownIndexError:
                self.check()
                self._make(name, spec)
            return self.get(name)

    def drop(self, name: str) -> None:
        self._indexes.pop(name, None)
        if self._marked(self._collection(name)) is None:
            raise UnknownIndexError(name)
        self._connection.call("delete_collection", self._collection(name))

    def persist(self, name: str, path: str | None) -> Path:
        """What is in Qdrant is durable there, and its own snapshots are whole, which a copy that
        is read from it point by point, beside writers, would not be."""
        self.get(name)
        raise BadRequestError(self._remedy(name, "POST", "snapshots", "takes a snapshot"))

    def load(self, name: str, path: str | None, *, overwrite: bool) -> Path:
        raise BadRequestError(self._remedy(name, "PUT", "snapshots/recover", "restores one"))

    def close(self) -> None:
        self._connection.close()

    def _remedy(self, name: str, verb: str, path: str, does: str) -> str:
        url = f"{self._settings.url.rstrip('/')}/collections/{self._collection(name)}/{path}"
        return f"Index '{name}' is kept in Qdrant, and saved with Qdrant: {verb} {url} {does}."

    def _place(self, name: str) -> Place:
        return Place(self._connection, self._collection(name), self._analyzer, self._settings.exact)

    def _collection(self, name: str) -> str:
        return self._settings.prefix + _escaped(name)

    def _marked(self, collection: str) -> dict[str, Any] | None:
        """What was noted of it when it was made; None where it is not there, or not ours."""
        try:
            found = self._connection.call("get_collection", collection)
        except MissingCollectionError:
            return None
        mark = (found.config.metadata or {}).get(_MARK)
        return mark if isinstance(mark, dict) else None

    def _checked(self, name: str, mark: dict[str, Any]) -> IndexSpec:
        if mark["format"] > _FORMAT:
            raise StorageError(f"Index '{name}' was made by a later version of this service.")
        spec = IndexSpec(mark["model"], mark["dimension"], tuple(mark["fingerprint"]))
        if not _same(spec, self._spec):
            raise StorageError(
                f"Index '{name}' was made with the embedding model '{spec.model}' "
                f"({spec.dimension} numbers), and this service has '{self._spec.model}' "
                f"({self._spec.dimension}). Start it with the former, or delete the index and put "
                "its documents again."
            )
        if mark["terms"] != self._analyzer.signature:
            raise StorageError(
                f"Index '{name}' was made with the text analysis {mark['terms']}, and this service "
                f"has {self._analyzer.signature}. Delete it and put its documents again."
            )
        return spec

    def _make(self, name: str, spec: IndexSpec) -> None:
        collection = self._collection(name)
        if self._connection.call("collection_exists", collection):
            raise IndexExistsError(
                f"The collection {collection} in Qdrant was not made by this service."
            )
        mark = {
            "format": _FORMAT,
            "model": spec.model,
            "dimension": spec.dimension,
            "fingerprint": list(spec.fingerprint),
            "terms": self._analyzer.signature,
        }
        try:
            self._connection.call(
                "create_collection",
                collection,
                vectors_config={
                    fields.DENSE: models.VectorParams(
                        size=spec.dimension, distance=models.Distance.DOT
                    )
                },
                sparse_vectors_config={
                    fields.SPARSE: models.SparseVectorParams(modifier=models.Modifier.IDF)
                },
                metadata={_MARK: mark},
            )
        except StorageError as error:
            if not conflict(error) or self._marked(collection) is None:
                raise  # else another replica was first
        if self._connection.remote:
            for name in ("kind", "doc_id", "tags", "version"):
                self._connection.call(
                    "create_payload_index",
                    collection,
                    field_name=name,
                    field_schema=models.PayloadSchemaType.KEYWORD,
                )


def _same(one: IndexSpec, other: IndexSpec) -> bool:
    if one.dimension != other.dimension or len(one.fingerprint) != len(other.fingerprint):
        return False
    a, b = np.array(one.fingerprint), np.array(other.fingerprint)
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    return bool(length and float(a @ b) / length >= _SAME_MODEL)


def _escaped(name: str) -> str:
    """Letters and digits as they are, so that people find it; a name goes into a URL."""
    return "".join(
        each if _PLAIN.match(each) else "".join(f"~{byte:02x}" for byte in each.encode())
        for each in name
    )


def _unescaped(name: str) -> str:
    encoded = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), name)
    return encoded.encode("latin-1").decode(errors="replace")
