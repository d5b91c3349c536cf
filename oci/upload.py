"""A blob on its way to a registry: mounted, sent in chunks that are gone on with, or at once."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.message import Message
from http import HTTPStatus
from urllib.parse import urlencode, urljoin, urlsplit, urlunsplit

from oci.connection import Connection
from oci.errors import PushRefusedError, TransferError
from oci.layers import Layer
from oci.web import LARGEST_BYTES, PassingError, RefusedError

CHUNK = 64 << 20
"""Bytes of one PATCH: what is sent again where the connection breaks. What is not larger goes
in a single PUT."""

_CLOSED = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})


@dataclass(slots=True)
class Session:
    """An upload that the registry has begun. Its place changes with every answer; an empty one
    is to be asked for anew."""

    url: str
    done: int = 0
    smallest: int = 0
    """What the registry wants a chunk to have at least, but for the last."""


def begin(connection: Connection, *, digest: str = "", mount_from: str = "") -> Session:
    """PushRefusedError where it does not begin. With `mount_from` the place is empty where the
    registry has taken the blob from there."""
    url = f"{connection.reference.url}/blobs/uploads/"
    query = f"?{urlencode({'mount': digest, 'from': mount_from})}" if mount_from else ""
    try:
        _, headers = connection.ask("POST", f"{url}{query}", {"Content-Length": "0"}, b"")
    except RefusedError as error:
        if mount_from and error.status in _CLOSED:
            return begin(connection)  # that repository is not for us to read
        raise connection.refused(error) from error
    where = headers.get("Location", "")
    if mount_from and digest in where:
        return Session("")
    if not where:
        raise PushRefusedError(f"{connection.reference.host} does not say where to upload to")
    return Session(urljoin(url, where), smallest=int(headers.get("OCI-Chunk-Min-Length") or 0))


def cancel(connection: Connection, session: Session) -> None:
    """A registry that cannot forget an upload does so by itself after a while."""
    try:
        connection.ask("DELETE", session.url, {})
    except TransferError:
        return


def send(
    connection: Connection,
    blob: Layer,
    *,
    mount_from: str = "",
    sent: Callable[[int], None] = lambda _: None,
) -> None:
    """The blob is in the repository then. PushRefusedError, UnreachableError."""
    for again in (True, False):
        session = begin(connection, digest=blob.digest, mount_from=mount_from)
        if not session.url:
            return
        try:
            _send(connection, blob, session, sent)
        except RefusedError as error:
            if again and error.status == HTTPStatus.NOT_FOUND:
                continue  # the registry has forgotten what it had begun
            raise connection.refused(error) from error
        return


def _send(
    connection: Connection, blob: Layer, session: Session, sent: Callable[[int], None]
) -> None:
    if blob.size > CHUNK and not _in_chunks(connection, blob, session, sent):
        session = begin(connection)
    left = blob.size - session.done
    connection.web.persist(lambda: _end(connection, blob, session))
    sent(left)


def _in_chunks(
    connection: Connection, blob: Layer, session: Session, sent: Callable[[int], None]
) -> bool:
    """All but what the last request brings. False where the registry takes no chunks, which the
    specification allows."""
    size = max(CHUNK, session.smallest)
    while blob.size - session.done > size:
        before = session.done
        try:
            connection.web.persist(
                lambda: _patch(connection, blob, session, size), progress=lambda: session.done
            )
        except RefusedError:
            if session.done:
                raise
            return False
        sent(session.done - before)
    return True


def _patch(connection: Connection, blob: Layer, session: Session, size: int) -> None:
    """The next chunk. After a failure the registry is asked what it has of it."""
    start, end = session.done, session.done + size
    try:
        answer = _request(
            connection,
            "PATCH",
            session.url,
            blob,
            (start, end),
            {"Content-Range": f"{start}-{end - 1}"},
        )
    except PassingError:
        _look(connection, session)
        if session.done < end:
            raise
        return
    _follow(session, answer)
    session.done = end


def _look(connection: Connection, session: Session) -> None:
    """How far the upload is, by the registry's own word; as before where it does not tell."""
    try:
        _, headers = connection.ask("GET", session.url, {})
    except RefusedError:
        return
    _follow(session, headers)
    last = headers.get("Range", "").removeprefix("bytes=").partition("-")[2]
    if last.isdigit():
        session.done = int(last) + 1 if int(last) else 0


def _end(connection: Connection, blob: Layer, session: Session) -> None:
    """With what is not there yet."""
    session.url = session.url or begin(connection).url
    where = _with(session.url, digest=blob.digest)
    try:
        _request(connection, "PUT", where, blob, (session.done, blob.size), {})
    except PassingError:
        if connection.has(blob.digest):
            return  # the answer alone was lost
        if session.done:
            _look(connection, session)
        else:
            session.url = ""  # how much of it arrived nobody knows
        raise


def _request(
    connection: Connection,
    method: str,
    url: str,
    blob: Layer,
    span: tuple[int, int],
    more: Mapping[str, str],
) -> Message:
    """The bytes of the span; the answer's headers."""
    headers = {
        **more,
        "Content-Type": "application/octet-stream",
        "Content-Length": str(span[1] - span[0]),
    }

    def request(own: Mapping[str, str]) -> Message:
        body = blob.content.chunks(*span)  # anew with each try
        with connection.web.send(method, url, {**headers, **own}, body) as answer:
            try:
                answer.read(LARGEST_BYTES)
            except (OSError, http.client.HTTPException) as error:
                raise PassingError(f"{method}: {error}") from error
            found: Message = answer.headers
            return found

    return connection.authorized(url, request)


def _follow(session: Session, headers: Message) -> None:
    if where := headers.get("Location", ""):
        session.url = urljoin(session.url, where)


def _with(url: str, **query: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(query="&".join(filter(None, (parts.query, urlencode(query))))))
