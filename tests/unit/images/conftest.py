"""The images' own packages: they are no part of the distribution."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "images"))

from tests.unit.images.adapter_server import TOKEN, Client, Engine  # it needs the path


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Client:
    folder = tmp_path / "served"
    folder.mkdir()
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    monkeypatch.setenv("KAITO_ADAPTERS_DIR", str(folder))
    monkeypatch.setenv("KAITO_ADAPTERS_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("KAITO_ADAPTERS_MAX_BYTES", "100000")
    return Client(Engine(), folder)
