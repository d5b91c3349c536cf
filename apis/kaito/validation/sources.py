"""Where data may come from and go to: URLs that reach outside, and image references."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

_INTERNAL = frozenset(
    {"localhost", "metadata.google.internal", "metadata.google", "instance-data.ec2.internal"}
)

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST = r"(?:[A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9-]*[A-Za-z0-9])"
_IMAGE = re.compile(
    rf"(?:{_HOST}(?:\.{_HOST})*(?::[0-9]+)?/)?"
    rf"{_COMPONENT}(?:/{_COMPONENT})*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?"
    r"(?:@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?"
)
MAX_IMAGE_NAME = 255


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
    if host in _INTERNAL or host.endswith(".localhost"):
        return f"points into the cluster's own network ({host})"
    try:
        address = ipaddress.ip_address(host.split("%", 1)[0])
    except ValueError:
        return ""
    if address.is_loopback or address.is_private or address.is_link_local:
        return f"points into the cluster's own network ({host})"
    return ""


def image_refusal(image: str) -> str:
    """Why this is no image reference, or nothing (Docker's grammar)."""
    if not _IMAGE.fullmatch(image):
        return "is no image reference, as registry.example.com/name:tag in lower case"
    if len(image) > MAX_IMAGE_NAME:
        return f"has {len(image)} characters, more than {MAX_IMAGE_NAME}"
    return ""
