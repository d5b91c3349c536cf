"""Rules on the URLs of services that a RAGEngine sends requests to, with a key of the user's."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from apis.errors import Errors, FieldError
from apis.kaito import grammar, ragmessages
from apis.kaito.validation.sources import service_refusal, shown
from oci import addresses

_CHAT = re.compile(r".*/chat/completions.*|/*|.*/v[0-9][\w.]*/*")
"""Paths by which the service finds an OpenAI-compatible server's chat, as rag.chat reads them."""


def service(path: str, given: str) -> Errors:
    """It has a form that can be asked, and does not lead to a cloud's metadata. Upstream takes
    `/a/path` too, and whatever there is behind the scheme."""
    if not grammar.is_(grammar.SERVICE_URL, given):
        yield FieldError(path, ragmessages.URL)
    elif refusal := service_refusal(given):
        yield FieldError(path, f'"{shown(given)}" {refusal}')


def leads_to_the_pod(given: str) -> bool:
    """Whether whoever asks there asks itself."""
    try:
        return addresses.target(given).loopback
    except addresses.NoTargetError:
        return False


def chats(given: str) -> bool:
    """Whether chat completions are there, or a server or version whose chat is below."""
    try:
        return _CHAT.fullmatch(urlsplit(given).path) is not None
    except ValueError:
        return True  # no URL at all, which is said elsewhere
