"""Where data may come from and go to: URLs that reach outside, and image references."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from apis.errors import Errors, FieldError
from apis.kaito import grammar, messages

_INTERNAL = frozenset(
    {"localhost", "metadata.google.internal", "metadata.google", "instance-data.ec2.internal"}
)
_METADATA = frozenset(
    map(ipaddress.ip_address, ("100.100.100.200", "168.63.129.16", "192.0.0.192"))
)
"""Where Alibaba, Azure and Oracle tell machines their secrets: public addresses by their look."""


def url_refusal(url: str) -> str:
    """Why data may not be fetched from there, or nothing. Names are not resolved."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".")
    except ValueError:
        return "is no URL"
    if parts.scheme.lower() not in ("http", "https"):
        return "must start with http:// or https://"
    if not host:
        return "names no host"
    if parts.username is not None or parts.password is not None:
        return "must hold no user and password: everybody who reads the Workspace would have them"
    if host in _INTERNAL or host.endswith(".localhost"):
        return f"points into the cluster's own network ({host})"
    try:
        address = ipaddress.ip_address(host.split("%", 1)[0])
    except ValueError:
        return ""
    if _is_internal(address):
        return f"points into the cluster's own network ({host})"
    return ""


def shown(url: str) -> str:
    """For a message: without user and password, whatever else is wrong with it."""
    return re.sub(r"//[^/]*@", "//", url)


def _is_internal(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    inner = address.is_loopback or address.is_private or address.is_link_local
    return inner or address in _METADATA


def image_errors(path: str, image: str) -> Errors:
    """What is wrong with an image reference; nothing where none is given."""
    if image and not grammar.is_(grammar.IMAGE, image):
        yield FieldError(path, messages.IMAGE)
    if len(image) > grammar.MAX_IMAGE:
        yield FieldError(path, messages.IMAGE_LENGTH)


def hugging_face_errors(path: str, repository: str) -> Errors:
    """What is wrong with a repository of Hugging Face; nothing where none is given."""
    if repository and not grammar.is_(grammar.HUGGING_FACE, repository):
        yield FieldError(path, messages.HUGGING_FACE)
