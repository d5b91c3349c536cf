"""The index in memory does what any index must do, in one segment or in many."""

from __future__ import annotations

import pytest
from rag.memory import generation
from rag.memory.index import MemoryIndex

from tests.unit.rag.index_contract import ANALYZER, DIMENSION, SearchContract


class TestMemoryIndex(SearchContract):
    @pytest.fixture
    def index(self) -> MemoryIndex:
        return MemoryIndex(DIMENSION, ANALYZER)


class TestManySegments(SearchContract):
    @pytest.fixture
    def index(self, monkeypatch: pytest.MonkeyPatch) -> MemoryIndex:
        monkeypatch.setattr(generation, "SMALL", 0)
        monkeypatch.setattr(generation, "RATIO", 0)
        monkeypatch.setattr(generation, "DEAD", 1)
        return MemoryIndex(DIMENSION, ANALYZER)
