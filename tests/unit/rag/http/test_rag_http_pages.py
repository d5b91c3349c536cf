"""The pages: nothing in them comes from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from rag.routes import pages
from rag.routes.reference import STYLE

from tests.unit.rag.http.conftest import Make
from tests.unit.rag.http.fakes import World


async def test_openapi_describes_every_route_with_an_example(world: World) -> None:
    described = (await world.ask("GET /openapi.json")).json()
    assert described["info"]["title"] == "KAITO RAG Engine"
    found = {
        f"{method.upper()} {path}" for path, each in described["paths"].items() for method in each
    }
    assert found == {
        "GET /health",
        "GET /livez",
        "GET /metrics",
        "POST /index",
        "GET /indexes",
        "GET /indexes/{index_name}/documents",
        "POST /indexes/{index_name}/documents",
        "POST /indexes/{index_name}/documents/delete",
        "DELETE /indexes/{index_name}",
        "POST /persist/{index_name}",
        "POST /load/{index_name}",
        "POST /retrieve",
        "POST /v1/chat/completions",
    }
    schemas = described["components"]["schemas"]
    for name in ("IndexRequest", "UpdateRequest", "DeleteRequest", "RetrieveRequest", "Document"):
        assert schemas[name]["examples"], name


async def test_the_reference_needs_no_other_site(world: World) -> None:
    answer = await world.ask("GET /docs")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert not re.search(r"(?:https?:)?//[a-z]", answer.text)
    assert "<script" not in answer.text
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert f"<style>{STYLE}</style>" in answer.text
    for path in ("/retrieve", "/indexes/{index_name}/documents/delete"):
        assert f"<code>{path}</code>" in answer.text
    for name in ("max_node_count", "metadata_filter", "overwrite"):
        assert f"<code>{name}</code>" in answer.text
    assert "&quot;index_name&quot;: &quot;manuals&quot;" in answer.text


async def test_what_describes_the_routes_is_escaped(world: World) -> None:
    from rag.app import create_app
    from rag.routes import reference

    described = create_app(world.parts).openapi()
    described["info"]["title"] = "<script>"
    assert "<script>" not in reference.page(described)


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "index.html").write_text("<!doctype html>")
    (tmp_path / "page.js").write_text("1")
    monkeypatch.setattr(pages, "UI_DIRECTORY", tmp_path)


@pytest.mark.usefixtures("page")
@pytest.mark.parametrize("path", ["/ui/", "/ui/page.js"])
async def test_the_page_may_load_only_its_own_files(path: str, make: Make, tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()  # no key is valid, and none is needed
    answer = await make(KAITO_API_KEYS_DIR=str(tmp_path / "keys")).ask(f"GET {path}")
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-cache"


@pytest.mark.usefixtures("page")
async def test_nothing_beside_the_page_is_served(make: Make, tmp_path: Path) -> None:
    for path in ("/ui/../app.py", "/ui/%2e%2e/app.py", "/ui/..%2fapp.py", "/ui//etc/passwd"):
        assert (await make().ask(f"GET {path}")).status_code == 404
    assert (await make().ask("GET /ui", follow_redirects=True)).status_code == 200
