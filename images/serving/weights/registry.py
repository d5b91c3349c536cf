"""An OCI registry: a manifest by its digest, and its blobs (OCI distribution specification)."""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode, urlsplit

from serving.weights.download import Blob
from serving.weights.web import DownloadError, RefusedError, Web

_MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_REFERENCE = re.compile(
    r"(?P<host>[^/@]+)/(?P<name>[^:@]+)(:[^@]+)?@(?P<digest>sha256:[0-9a-f]{64})"
)
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Reference:
    """`host/name@digest`; a tag beside the digest says nothing."""

    host: str
    name: str
    digest: str

    @classmethod
    def parse(cls, text: str) -> Reference:
        match = _REFERENCE.fullmatch(text)
        if match is None:
            raise DownloadError(f"{text} is no registry/name@sha256:…")
        return cls(match["host"], match["name"], match["digest"])

    @property
    def url(self) -> str:
        """Where its API is. Without TLS only on this machine, as every client has it."""
        host = "registry-1.docker.io" if self.host == "docker.io" else self.host
        plain = host.partition(":")[0] in ("localhost", "127.0.0.1")
        return f"{'http' if plain else 'https'}://{host}/v2/{self.name}"


class Registry:
    """One repository of a registry, with the right to read it."""

    def __init__(self, reference: Reference, web: Web, basic: str = "") -> None:
        self._reference = reference
        self._web = web
        self._basic = basic
        self._headers: dict[str, str] = {}

    def layers(self) -> list[dict[str, Any]]:
        """The descriptors of the image or artifact; of an index, those for this machine."""
        manifest = self._manifest(self._reference.digest)
        if "manifests" in manifest:
            manifest = self._manifest(_for_this_machine(manifest["manifests"])["digest"])
        found: list[dict[str, Any]] = manifest.get("layers") or manifest.get("blobs") or []
        if not found:
            raise DownloadError(f"{self._reference.digest} has no layers, so no weights")
        return found

    def blob(self, descriptor: Mapping[str, Any], name: str) -> Blob:
        digest = str(descriptor["digest"])
        if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
            raise DownloadError(f"{name} has the digest {digest}; only sha256 can be verified")
        return Blob(
            name=name,
            url=f"{self._reference.url}/blobs/{digest}",
            size=int(descriptor["size"]),
            digest=digest,
            headers=self._headers,
        )

    def _manifest(self, digest: str) -> dict[str, Any]:
        url = f"{self._reference.url}/manifests/{digest}"
        accept = {"Accept": ", ".join(_MANIFESTS)}
        try:
            body, _ = self._authorized(url, accept)
        except RefusedError as error:
            raise DownloadError(_why(error, self._reference, known=bool(self._basic))) from error
        if f"sha256:{hashlib.sha256(body).hexdigest()}" != digest:
            raise DownloadError(f"{url} answers with something else than {digest}")
        found: dict[str, Any] = json.loads(body)
        return found

    def _authorized(self, url: str, headers: Mapping[str, str]) -> tuple[bytes, Any]:
        """Asked openly first: the refusal says where a token is to be had."""
        try:
            return self._web.read(url, {**headers, **self._headers})
        except RefusedError as error:
            if error.status != HTTPStatus.UNAUTHORIZED or self._headers:
                raise
            self._headers = self._credentials(error.headers.get("WWW-Authenticate", ""))
        return self._web.read(url, {**headers, **self._headers})

    def _credentials(self, challenge: str) -> dict[str, str]:
        scheme = challenge.partition(" ")[0].lower()
        if scheme == "basic":
            return {"Authorization": self._basic} if self._basic else {}
        said = dict(_CHALLENGE.findall(challenge))
        if scheme != "bearer" or "realm" not in said:
            return {}
        query = {"scope": said.get("scope", f"repository:{self._reference.name}:pull")}
        if "service" in said:
            query["service"] = said["service"]
        realm = said["realm"]
        if urlsplit(realm).scheme != urlsplit(self._reference.url).scheme:
            raise DownloadError(f"{self._reference.host} sends us to {realm}: that is not https")
        own = {"Authorization": self._basic} if self._basic else {}
        answer = self._web.read_json(f"{realm}?{urlencode(query)}", own)
        return {"Authorization": f"Bearer {answer.get('token') or answer.get('access_token')}"}


def _for_this_machine(manifests: list[dict[str, Any]]) -> dict[str, Any]:
    machine = _MACHINES.get(platform.machine(), platform.machine())
    for each in manifests:
        if each.get("platform", {}).get("architecture") == machine:
            return each
    return manifests[0]


def _why(error: RefusedError, reference: Reference, *, known: bool) -> str:
    if error.status == HTTPStatus.NOT_FOUND:
        return f"{reference.host} has no {reference.name}@{reference.digest}"
    if error.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        remedy = (
            "the pull secret does not open it"
            if known
            else "name a pull secret of it in annotation kaito.sh/model-weights-pull-secrets"
        )
        return f"{reference.host} does not give {reference.name}: {remedy}"
    return str(error)
