"""What browsers are shown: the description of the routes, and the page at /ui. All of it comes from
here: nothing is fetched from elsewhere, and the headers say so."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

from rag.routes import reference

UI_DIRECTORY = Path(__file__).parents[1] / "ui"
_OWN = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
_STYLE_HASH = base64.b64encode(hashlib.sha256(reference.STYLE.encode()).digest()).decode()
_REFERENCE = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'none'; "
    "base-uri 'none'; frame-ancestors 'none'"
)


def install(app: FastAPI) -> None:
    """At /docs and /ui."""

    async def docs(_: Request) -> Response:
        return HTMLResponse(reference.page(app.openapi()), headers=_headers(_REFERENCE))

    app.add_route("/docs", docs, include_in_schema=False)
    app.mount("/ui", Pages(directory=UI_DIRECTORY, html=True, check_dir=False))


class Pages(StaticFiles):
    """Files that no other site may show, and that show nothing of other sites."""

    async def get_response(self, path: str, scope: Any) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update({**_headers(_OWN), "Cache-Control": "no-cache"})
        return response


def _headers(policy: str) -> dict[str, str]:
    return {"Content-Security-Policy": policy, "Referrer-Policy": "no-referrer"}
