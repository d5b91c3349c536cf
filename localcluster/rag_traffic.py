"""What clients of a RAGEngine do all along, while its pods change: nobody of them may fail.

Searches over connections of their own and over one that is kept, documents put one by one, answers
streamed one by one. None repeats what failed, so that every gap is seen.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

INDEX = "traffic"
"""Of the documents that are put meanwhile."""
_PAUSE_SECONDS = 0.05
_TIMEOUT_SECONDS = 120.0
_DONE = b"data: [DONE]"

Json = Mapping[str, Any]


@dataclass
class Traffic:
    """What became of it."""

    answered: dict[str, int] = field(default_factory=dict)
    """Requests, by what they were."""
    failed: list[str] = field(default_factory=list)
    acknowledged: list[str] = field(default_factory=list)
    """The ids of documents that the service said it had."""

    def since(self, before: Mapping[str, int]) -> str | None:
        """What was answered since then, once each client was, or one has failed."""
        now = dict(self.answered)
        more = {what: count - before.get(what, 0) for what, count in now.items()}
        return _listed(more) if self.failed or all(more.values()) else None

    def __str__(self) -> str:
        return _listed(self.answered)


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {what}" for what, count in counts.items())


class _FailedError(Exception):
    """An answer that is none."""


@contextmanager
def running(url: str, search: Json, chat: Json) -> Iterator[Traffic]:
    """Until the end of the block; `search` and `chat` are the bodies."""
    traffic, done = Traffic(), threading.Event()
    host = urllib.parse.urlsplit(url).netloc
    kept = http.client.HTTPConnection(host, timeout=_TIMEOUT_SECONDS)
    clients: dict[str, Callable[[int], None]] = {
        "searches": lambda _: _search(_new(host), search),
        "searches on a kept connection": lambda _: _search(kept, search),
        "documents put": lambda at: traffic.acknowledged.append(_put(_new(host), at)),
        "streamed answers": lambda _: _stream(_new(host), chat),
    }

    traffic.answered = dict.fromkeys(clients, 0)

    def work(what: str, once: Callable[[int], None]) -> None:
        count = 0
        while not done.wait(_PAUSE_SECONDS):
            try:
                once(count)
                count += 1
            except (OSError, ValueError, http.client.HTTPException, _FailedError) as error:
                traffic.failed.append(f"{time.strftime('%X')} {what}: {error!r}")
            traffic.answered[what] = count

    threads = [threading.Thread(target=work, args=each) for each in clients.items()]
    for thread in threads:
        thread.start()
    try:
        yield traffic
    finally:
        done.set()
        for thread in threads:
            thread.join()
        kept.close()


def _new(host: str) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(host, timeout=_TIMEOUT_SECONDS)


def _search(connection: http.client.HTTPConnection, body: Json) -> None:
    if not json.loads(_asked(connection, "/retrieve", body))["results"]:
        raise _FailedError("nothing was found")


def _put(connection: http.client.HTTPConnection, number: int) -> str:
    document = {"text": f"Ticket {number} was sold.", "metadata": {"number": number}}
    body = {"index_name": INDEX, "documents": [document]}
    (found,) = json.loads(_asked(connection, "/index", body))
    return str(found["doc_id"])


def _stream(connection: http.client.HTTPConnection, body: Json) -> None:
    said = _asked(connection, "/v1/chat/completions", {**body, "stream": True})
    if not said.rstrip().endswith(_DONE):
        raise _FailedError(f"the stream broke off: …{said[-200:].decode(errors='replace')}")


def _asked(connection: http.client.HTTPConnection, path: str, body: Json) -> bytes:
    headers = {"Content-Type": "application/json"}
    connection.request("POST", path, json.dumps(body), headers)
    answer = connection.getresponse()
    said = answer.read()
    if answer.status >= 300:
        raise _FailedError(f"{answer.status} {said[:200].decode(errors='replace')}")
    return said
