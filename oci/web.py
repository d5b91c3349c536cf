"""HTTP as transfers need it: errors sorted into those that pass and those that stay, and secrets
that do not leave the host they are for."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from email.message import Message
from typing import IO, Any, TypeVar
from urllib.parse import urlsplit

from oci import addresses, reach
from oci.errors import TransferError, UnreachableError
from oci.reach import shown

T = TypeVar("T")

TIMEOUT_SECONDS = 60.0
"""Without a byte."""
ATTEMPTS = 8
"""Without any progress, one after the other."""

_SCHEMES = ("https", "http")
_LATER = frozenset({408, 425, 429, 500, 502, 503, 504})
_LONGEST_ANSWER = 10_000
LARGEST_BYTES = 64 << 20
"""Of an answer that is kept in memory. Registries take manifests of 4 MiB; a hub's list of the
files of a large model is of that order."""


class PassingError(Exception):
    """It may work the next time."""


class RefusedError(TransferError):
    """The server answered, and its answer will not change."""

    def __init__(self, message: str, status: int, headers: Message, detail: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers
        self.detail = detail
        """A registry's own words; empty where it has none."""


class SameHost(urllib.request.HTTPRedirectHandler):
    """Storage behind a hub or registry is another host, and has its own signature in the URL."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: Any,
        newurl: str,
    ) -> urllib.request.Request | None:
        if "@" in urlsplit(newurl).netloc:
            why = "leads on to an address with a user or password"
        else:
            why = addresses.refused_redirect(req.full_url, newurl)
        if why:
            fp.close()
            reach.refuse(req.full_url, why)
        found = super().redirect_request(req, fp, code, msg, headers, newurl)
        if found is None:
            return None
        if req.get_method() == "HEAD":
            found.method = "HEAD"  # else Python 3.11 would fetch what was only asked for
        if urlsplit(req.full_url)[:2] != urlsplit(newurl)[:2]:
            found.remove_header("Authorization")
        return found


class Web:
    """A client that goes to no cloud's metadata, whoever's name or redirect leads there.

    `sleep` is what passes the time before a further try; `handlers` are urllib's, for who judges
    more strictly where a request goes."""

    def __init__(
        self,
        sleep: Callable[[float], None] = time.sleep,
        handlers: Iterable[urllib.request.BaseHandler] = (),
    ) -> None:
        self._opener = urllib.request.build_opener(
            SameHost, reach.Plain, reach.Encrypted, *handlers
        )
        self._sleep = sleep

    def guarded(self, *handlers: urllib.request.BaseHandler) -> Web:
        """The same with handlers."""
        return Web(self._sleep, handlers)

    def open(self, url: str, headers: Mapping[str, str]) -> Any:
        """The response, whose body is still to be read; PassingError or RefusedError."""
        return self.send("GET", url, headers)

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | Iterable[bytes] | None = None,
    ) -> Any:
        """The same of any method. A body that is not in memory needs a Content-Length.

        What servers name (a realm, a redirect) may be no file of this machine."""
        if urlsplit(url).scheme not in _SCHEMES:
            raise TransferError(f"{shown(url)} is no address of HTTP")
        if "@" in urlsplit(url).netloc:
            raise TransferError(
                f"{shown(url)}: an address with a user or password in it is not taken"
            )
        if _is_metadata(url):  # behind a proxy the connection would not tell
            reach.refuse(url, "leads to where a cloud tells its machines their secrets")
        request = urllib.request.Request(  # noqa: S310  # https, or a test's
            url, data=body, headers=dict(headers), method=method
        )
        try:
            return self._opener.open(request, timeout=TIMEOUT_SECONDS)
        except urllib.error.HTTPError as error:
            with error:
                detail = _detail(error)
            message = f"{shown(url)} answers {error.code} {error.reason}"
            if error.code in _LATER:
                raise PassingError(message) from error
            raise RefusedError(message, error.code, error.headers, detail) from error
        except (OSError, http.client.HTTPException) as error:
            raise PassingError(f"{shown(url)}: {_reason(error)}") from error

    def read(self, url: str, headers: Mapping[str, str]) -> tuple[bytes, Message]:
        """Body and headers of something small, tried again while it may work."""
        return self.ask("GET", url, headers)

    def ask(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> tuple[bytes, Message]:
        """The same of any method, for what may be asked twice."""
        return self.persist(lambda: self._ask(method, url, headers, body))

    def read_json(self, url: str, headers: Mapping[str, str]) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(self.read(url, headers)[0])
        except ValueError as error:
            raise TransferError(f"{shown(url)} does not answer in JSON") from error
        return found

    def persist(self, work: Callable[[], T], progress: Callable[[], int] = lambda: 0) -> T:
        """The result of `work`; UnreachableError once it failed ATTEMPTS times without progress."""
        failures, done = 0, progress()
        while True:
            try:
                return work()
            except PassingError as error:
                failures, done = (1, progress()) if progress() > done else (failures + 1, done)
                if failures == ATTEMPTS:
                    raise UnreachableError(f"{error} ({ATTEMPTS} times)") from error
                self._sleep(min(0.5 * 2**failures, 30.0))

    def _ask(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> tuple[bytes, Message]:
        with self.send(method, url, headers, body) as answer:
            try:
                body = answer.read(LARGEST_BYTES + 1)
            except (OSError, http.client.HTTPException) as error:
                raise PassingError(f"{shown(url)}: {_reason(error)}") from error
            if len(body) > LARGEST_BYTES:
                raise TransferError(
                    f"{shown(url)} answers with more than {LARGEST_BYTES >> 20} MiB"
                )
            if answer.length:
                raise PassingError(f"{shown(url)}: the connection ended early")
            return body, answer.headers


def _detail(error: urllib.error.HTTPError) -> str:
    """As the distribution specification has errors: `{"errors": [{"message": …}]}`."""
    try:
        told = json.loads(error.read(_LONGEST_ANSWER))["errors"][0]
        return str(told.get("message") or told.get("code") or "")
    except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError, AttributeError):
        return ""


def _is_metadata(url: str) -> bool:
    try:
        return addresses.target(url).metadata
    except addresses.NoTargetError as error:
        raise TransferError(f"{shown(url)} {error}") from error


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", "") or error or type(error).__name__)
