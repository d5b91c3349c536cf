"""Names of images: `host[:port]/name[:tag][@digest]`, short ones completed as Docker does."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace

from oci.errors import RegistryError

DOCKER_HUB = "docker.io"
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
_NAME = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"(?P<name>{_NAME}(?:/{_NAME})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_HOST = re.compile(
    r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?|\[[0-9a-f:]+\](:[0-9]+)?"
)


@dataclass(frozen=True, slots=True)
class Reference:
    """An image in a registry. A tag beside a digest says nothing; without both it is `latest`."""

    host: str
    name: str
    tag: str = ""
    digest: str = ""
    plain: bool = False
    """Without TLS."""

    @classmethod
    def parse(cls, text: str, insecure: Collection[str] = ()) -> Reference:
        """RegistryError where it names none. `insecure`: hosts (with their ports) that are asked
        without TLS, as those of this machine always are."""
        first, slash, rest = text.partition("/")
        if not slash or not ("." in first or ":" in first or first == "localhost"):
            first, rest = DOCKER_HUB, text if slash else f"library/{text}"
        match = _REFERENCE.fullmatch(rest)
        if match is None or not _HOST.fullmatch(first):
            raise RegistryError(
                f'"{text}" is no image reference; write registry/name:tag or'
                " registry/name@sha256:…, the name in lower case"
            )
        plain = first in insecure or first.rsplit(":", 1)[0] in _LOOPBACK or first in _LOOPBACK
        return cls(first, match["name"], match["tag"] or "", match["digest"] or "", plain)

    @property
    def url(self) -> str:
        """Where its part of the registry's API begins."""
        return f"{self.root}/v2/{self.name}"

    @property
    def root(self) -> str:
        """Scheme and host."""
        host = "registry-1.docker.io" if self.host == DOCKER_HUB else self.host
        return f"{'http' if self.plain else 'https'}://{host}"

    @property
    def wanted(self) -> str:
        """What a manifest is asked for by."""
        return self.digest or self.tag or "latest"

    def at(self, digest: str) -> Reference:
        """The same repository's image of this digest."""
        return replace(self, tag="", digest=digest)

    def tagged(self, tag: str) -> Reference:
        return replace(self, tag=tag, digest="")

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.host}/{self.name}{tag}" + (f"@{self.digest}" if self.digest else "")


def insecure_hosts(text: str) -> frozenset[str]:
    """`host:port,other:port`, as KAITO_INSECURE_REGISTRIES has them."""
    return frozenset(each.strip() for each in text.split(",") if each.strip())
