"""The forms that names and references take: for CEL (RE2) and Python alike, unanchored."""

from __future__ import annotations

import re

DNS_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
DNS_SUBDOMAIN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
MAX_SUBDOMAIN = 253
SERVICE_NAME = r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?"
"""A DNS-1035 label: it names a Service, which a DNS-1123 label that starts with a digit cannot."""

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST = r"(?:[A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9-]*[A-Za-z0-9])"
IMAGE = (
    rf"(?:{_HOST}(?:\.{_HOST})*(?::[0-9]+)?/)?"
    rf"{_COMPONENT}(?:/{_COMPONENT})*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?"
    r"(?:@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?"
)
"""An image reference in Docker's grammar."""
MAX_IMAGE = 255

MODEL_ID = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9_-][A-Za-z0-9._-]{0,95}"
"""owner/model; never `..`, for it becomes part of URLs and of paths."""

HUGGING_FACE = rf"{MODEL_ID}(@[0-9a-f]{{40}})?"
"""owner/repo, or owner/repo@commit."""

_BLANK = r"\x00-\x20\x7f"
SERVICE_URL = rf"(?i:https?)://[^:@/?#\\{_BLANK}][^@/?#\\{_BLANK}]*([/?#][^{_BLANK}]*)?"
"""http or https, a host, and nobody's name or password before it."""
MAX_URL = 2048

_STEP = rf"[^/:{_BLANK}]*[^./:{_BLANK}][^/:{_BLANK}]*"
MOUNT_PATH = rf"/|(/{_STEP})+/?"
"""Absolute, and without steps of dots alone; a mount takes no colon."""
OWN_PATH = (
    r"/((bin|boot|dev|etc|lib|lib64|proc|run|sbin|sys|tmp|usr|var/run|workspace)(/.*)?"
    r"|(app|opt|var)/?|opt/(kaito|venv)(/.*)?)?"
)
"""Where a pod of ours has files of its own: at or below most of them, at the rest alone."""

UNSIGNED_NUMBER = r"[+]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][-+]?[0-9]+)?"

_MIG_SIZES = {
    "1": (5, 6, 10, 12, 18, 20, 23, 24, 35, 45),
    "2": (10, 12, 20, 24, 35, 45),
    "3": (20, 40, 47, 48, 71, 90),
    "4": (20, 24, 40, 47, 48, 71, 90),
    "7": (40, 80, 94, 96, 141, 180),
}
MIG_PROFILES = tuple(f"{n}g.{size}gb" for n, sizes in _MIG_SIZES.items() for size in sizes)

MAX_ADAPTERS = 10
METHODS = ("lora", "qlora", "full")
"""Of fine-tuning; KAITO has the first two."""


def is_subdomain(text: str) -> bool:
    """Whether it can name an object of most kinds: a DNS-1123 subdomain."""
    return len(text) <= MAX_SUBDOMAIN and is_(DNS_SUBDOMAIN, text)


def is_(form: str, text: str) -> bool:
    """Whether the whole text has the form."""
    return re.fullmatch(form, text) is not None
