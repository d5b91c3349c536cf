"""Qdrant's indexes do what any index must do; the in-process client stands for the server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from rag.qdrant.index import QdrantIndex
from rag.qdrant.settings import QdrantSettings
from rag.qdrant.store import QdrantStore

from tests.unit.rag.index_contract import ANALYZER, SPEC, IndexContract, StoreContract


@pytest.fixture
def store() -> Iterator[QdrantStore]:
    store = QdrantStore(QdrantSettings(), SPEC, ANALYZER)
    yield store
    store.close()


class TestQdrantIndex(IndexContract):
    @pytest.fixture
    def index(self, store: QdrantStore) -> QdrantIndex:
        return store.create("an-index", SPEC)


class TestQdrantStore(StoreContract):
    pass
