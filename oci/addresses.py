"""What a URL's host is to a cluster: outside, inside, or a cloud's metadata.

The one home of the rule: admission judges what is written (`target`), and whoever connects judges
the machine that a name has led to as well (`refused_peer`), since names are not resolved here and
may be resolved differently each time. A host is taken as resolvers and HTTP clients take it, who
read `2852039166`, `0xa9fea9fe` and `[::ffff:a9fe:a9fe]` as 169.254.169.254 too. Pure.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import unquote, urlsplit

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_METADATA_NAMES = frozenset(
    {
        "instance-data",
        "instance-data.ec2.internal",
        "metadata.google",
        "metadata.google.internal",
        "metadata.tencentyun.com",
    }
)
_METADATA = frozenset(
    map(
        ipaddress.ip_address,
        (
            *("100.100.100.200", "168.63.129.16", "192.0.0.192"),
            *("fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254"),
        ),
    )
)
"""Where Alibaba, Azure, Oracle, AWS and Google tell machines their secrets, beside the link-local
169.254.… of nearly all."""
_SHARED = ipaddress.IPv4Network("100.64.0.0/10")
"""Behind the NAT of carriers and clouds (RFC 6598): pods and nodes of many clusters."""
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_OWN_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")
"""Of whoever runs the translator (RFC 8215), who has prefixes of 48 to 96 bits to choose from."""
_NUMBER = r"(0[xX][0-9a-fA-F]*|[0-9]+)"
_NUMBERS = re.compile(rf"{_NUMBER}(\.{_NUMBER}){{0,3}}")
_BLANK = re.compile(r"[\x00-\x20\x7f]")


class NoTargetError(ValueError):
    """Nothing can be asked by that URL; the message says why, after the URL."""


@dataclass(frozen=True, slots=True)
class Target:
    """Whom a request would reach."""

    host: str
    loopback: bool = False
    """The pod itself."""
    internal: bool = False
    """The pod itself, or a private network."""
    metadata: bool = False
    """A cloud's metadata, and whatever else is link-local."""


def target(url: str) -> Target:
    """Raises NoTargetError."""
    host = _host(url)
    if _is_own_name(host):
        return Target(host, loopback=True, internal=True)
    if host in _METADATA_NAMES:
        return Target(host, internal=True, metadata=True)
    found = tuple(_addresses(host))
    loopback = any(_is_own(each) for each in found)
    return Target(
        host,
        loopback=loopback,
        internal=loopback or any(map(_is_private, found)),
        metadata=any(_is_metadata(each) for each in found),
    )


def is_metadata(host: str) -> bool:
    """Whether a host, with its port or without, is where a cloud tells its machines their secrets.
    Not, where it is no host at all."""
    try:
        return target(f"https://{host}/").metadata
    except NoTargetError:
        return False


def refused_peer(asked: str, peer: str, *, loopback: bool = False) -> str:
    """Why the machine with the address `peer` is not talked to for the sake of the URL, or
    nothing. Where a cloud tells its machines their secrets is gone to for nobody; what answers on
    loopback is asked for in so many words (or with `loopback`), or not at all. Private networks
    have names of their own, and are reached."""
    found = tuple(_addresses(peer))
    if any(_is_metadata(each) for each in found):
        return f"leads to {peer}, where a cloud tells its machines their secrets"
    if any(_is_own(each) for each in found) and not (loopback or _asks_for_loopback(asked)):
        return f"leads to {peer}, which is the pod itself"
    return ""


def refused_redirect(asked: str, answered: str) -> str:
    """Why the second URL is not gone on to from the first, or nothing; before it is resolved."""
    try:
        host = target(answered).host
    except NoTargetError as error:
        return f"leads on to what {error}"
    if host in _METADATA_NAMES:
        return f"leads to {host}, where a cloud tells its machines their secrets"
    return refused_peer(asked, "127.0.0.1" if _is_own_name(host) else host)


def _asks_for_loopback(url: str) -> bool:
    try:
        return target(url).loopback
    except NoTargetError:
        return False


def _is_metadata(address: _Address) -> bool:
    return address.is_link_local or address in _METADATA


def _is_own(address: _Address) -> bool:
    return address.is_loopback or address.is_unspecified


def _is_private(address: _Address) -> bool:
    return address.is_private or address in _SHARED


def _is_own_name(host: str) -> bool:
    return host == "localhost" or host.endswith(".localhost")


def _host(url: str) -> str:
    if _BLANK.search(url):
        raise NoTargetError("is no URL: it has a blank in it")
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        parts.port  # noqa: B018  # raises where it is none
    except ValueError as error:
        raise NoTargetError("is no URL") from error
    if parts.scheme.lower() not in ("http", "https"):
        raise NoTargetError("must start with http:// or https://")
    if not host:
        raise NoTargetError("names no host")
    if parts.username is not None or parts.password is not None:
        raise NoTargetError(
            "must hold no user and password, which everybody who reads the object would have"
        )
    plain = unicodedata.normalize("NFKC", unquote(host)).replace("\u3002", ".")
    return plain.lower().rstrip(".")


def _addresses(host: str) -> Iterator[_Address]:
    """The address that the host is, and the one that is wrapped in it; none where it is a name."""
    try:
        given: _Address = ipaddress.ip_address(host.split("%", 1)[0])
    except ValueError:
        spelled = _spelled(host)
        if spelled is not None:
            yield spelled
        return
    yield given
    if isinstance(given, ipaddress.IPv6Address):
        wrapped = (given.ipv4_mapped, given.sixtofour, given.teredo and given.teredo[1])
        yield from filter(None, wrapped)
        if given in _NAT64 or int(given) >> 32 == 0:
            yield ipaddress.IPv4Address(int(given) & 0xFFFFFFFF)
        if given in _OWN_NAT64:
            yield from map(ipaddress.IPv4Address, filter(None, _translated(int(given))))


def _translated(value: int) -> tuple[int, int]:
    """The addresses that a prefix of 96 bits and one of 48 would have in it (RFC 6052): the last 32
    bits, and those around the ninth octet. The one that it does not have is 0."""
    return value & 0xFFFFFFFF, (value >> 64 & 0xFFFF) << 16 | value >> 40 & 0xFFFF


def _spelled(host: str) -> ipaddress.IPv4Address | None:
    """An address as inet_aton reads it: one to four numbers, each decimal, octal or hexadecimal,
    the last of which fills what is left."""
    if not _NUMBERS.fullmatch(host):
        return None
    try:
        *first, last = [_number(each) for each in host.split(".")]
    except ValueError:
        return None  # an octal number with an 8 in it
    if any(each > 255 for each in first) or last >= 256 ** (4 - len(first)):
        return None
    value = last + sum(each << 8 * (3 - at) for at, each in enumerate(first))
    return ipaddress.IPv4Address(value)


def _number(text: str) -> int:
    if text[:2].lower() == "0x":
        return int(text[2:] or "0", 16)
    return int(text, 8 if text.startswith("0") else 10)
