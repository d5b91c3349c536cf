"""Where the inference service answers: one address, from which the others follow."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit, urlunsplit

from rag.errors import BadRequestError

_CHAT: Final = "/chat/completions"
_VERSION: Final = re.compile(r"/v\d[\w.]*\Z")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`models` and `tokenize` lie beside `chat`, as vLLM, llama.cpp and our images have them."""

    chat: str
    models: str
    tokenize: str


def endpoint(url: str) -> Endpoint:
    """Of an address of chat completions, of a `/v1`, or of a server. BadRequestError, in upstream's
    words, for any other: what is behind /v1/completions is no chat."""
    parts = urlsplit(url.strip())
    path = parts.path.rstrip("/")
    if _CHAT in path:
        base = path[: path.rindex(_CHAT)]
    elif not path:
        base, path = "/v1", f"/v1{_CHAT}"
    elif _VERSION.search(path):
        base, path = path, f"{path}{_CHAT}"
    else:
        raise _unsupported(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise _unsupported(url)
    root = _VERSION.sub("", base)
    versioned = base if root != base else f"{base}/v1"
    return Endpoint(
        chat=_with(parts, path, parts.query),
        models=_with(parts, f"{versioned}/models"),
        tokenize=_with(parts, f"{root}/tokenize"),
    )


def _with(parts: SplitResult, path: str, query: str = "") -> str:
    return urlunsplit((parts.scheme, parts.netloc, path, query, ""))


def _unsupported(url: str) -> BadRequestError:
    """Without what may be a password in it."""
    shown = urlsplit(url)
    address = _with(shown._replace(netloc=shown.netloc.rpartition("@")[2]), shown.path)
    return BadRequestError(f"Chat completions not supported through endpoint {address}.")
