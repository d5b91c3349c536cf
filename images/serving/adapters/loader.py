"""Bring one adapter into a serving pod that runs, or take it out: what a loader pod is for."""

from __future__ import annotations

import contextlib
import http.client
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from urllib.parse import quote, urlsplit

from serving.adapters import archive
from serving.adapters.agent import PREFIX, TOKEN_HEADER

_TRIES = 5
_PAUSE_SECONDS = 3.0
_TIMEOUT_SECONDS = 900.0
"""Loading may take a while: the answer comes once the adapter is served."""
_OK = 200


class RefusedError(Exception):
    """The serving pod does not take it; its own words."""


@dataclass(frozen=True, slots=True)
class Server:
    """A serving pod, by its address. `token` may change its settings."""

    url: str
    token: str = field(repr=False)

    def put(self, name: str, folder: Path) -> None:
        """Returns once the adapter is served. Asks first, since what is refused in the midst of an
        upload may not get to say why."""
        _patiently(lambda: self._ask("GET"))
        with tempfile.TemporaryFile(dir=folder.parent) as file:
            archive.pack(folder, file)
            _patiently(lambda: self._ask("PUT", name, file))

    def delete(self, name: str) -> None:
        _patiently(lambda: self._ask("DELETE", name))

    def _ask(self, method: str, name: str = "", body: IO[bytes] | None = None) -> None:
        headers = {TOKEN_HEADER.decode(): self.token}
        if body is not None:
            headers["content-length"] = str(body.seek(0, 2))
            body.seek(0)
        address = urlsplit(self.url)
        connection = http.client.HTTPConnection(
            address.hostname or "", address.port, timeout=_TIMEOUT_SECONDS
        )
        try:
            with contextlib.suppress(BrokenPipeError):
                connection.request(method, f"{PREFIX}/{quote(name)}", body, headers)
            answer = connection.getresponse()
            words = answer.read().decode(errors="replace")
        except http.client.HTTPException as error:
            raise OSError(f"{type(error).__name__}: {error}") from error
        finally:
            connection.close()
        if answer.status != _OK:
            raise RefusedError(_message(words) or f"the server answered {answer.status}")


def _patiently(ask: Callable[[], None]) -> None:
    """Again where there is no answer: the server may be starting anew."""
    for left in reversed(range(_TRIES)):
        try:
            ask()
        except OSError as error:
            if not left:
                raise RefusedError(f"no answer from the serving pod: {error}") from error
            time.sleep(_PAUSE_SECONDS)
        else:
            return


def _message(words: str) -> str:
    try:
        return str(json.loads(words)["error"])
    except (ValueError, TypeError, KeyError):
        return " ".join(words.split())[:200]
