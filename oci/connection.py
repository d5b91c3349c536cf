"""One repository of a registry over HTTP: requests with what opens it, manifests, and the words
for refusals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from email.message import Message
from http import HTTPStatus
from typing import TypeVar
from urllib.parse import urlsplit

from oci.authorization import Authorization
from oci.credentials import Credentials
from oci.errors import AccessDeniedError, NotFoundError, PushRefusedError, RegistryError
from oci.image import INDEX, MANIFEST, digest
from oci.reference import DIGEST, Reference
from oci.web import RefusedError, Web

T = TypeVar("T")

_MANIFESTS = (
    MANIFEST,
    INDEX,
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_CLOSED = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})


class Connection:
    """Of one reference. Every method raises UnreachableError where nobody answers."""

    def __init__(self, reference: Reference, credentials: Credentials, web: Web) -> None:
        self.reference = reference
        self.web = web
        self.authorization = Authorization(reference, credentials, web)

    def get_manifest(self, wanted: str) -> bytes:
        """By tag or digest; what is asked for by digest is verified. NotFoundError,
        AccessDeniedError."""
        url = f"{self.reference.url}/manifests/{wanted}"
        try:
            body, _ = self.ask("GET", url, {"Accept": ", ".join(_MANIFESTS)})
        except RefusedError as error:
            raise self._why(error, wanted) from error
        if DIGEST.fullmatch(wanted) and digest(body) != wanted:
            raise RegistryError(f"{url} answers with something else than {wanted}")
        return body

    def put_manifest(self, wanted: str, manifest: bytes, media_type: str) -> Message:
        """Under a tag or its digest; the answer's headers. PushRefusedError."""
        url = f"{self.reference.url}/manifests/{wanted}"
        try:
            return self.ask("PUT", url, {"Content-Type": media_type}, manifest)[1]
        except RefusedError as error:
            raise self.refused(error) from error

    def has(self, wanted: str) -> bool:
        """Whether a blob is there. Who may not read may still write."""
        try:
            self.ask("HEAD", f"{self.reference.url}/blobs/{wanted}", {})
        except RefusedError as error:
            if error.status == HTTPStatus.NOT_FOUND or error.status in _CLOSED:
                return False
            raise
        return True

    def ask(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> tuple[bytes, Message]:
        """Body and headers of an answer, tried again while it may work; RefusedError."""
        return self.authorized(url, lambda own: self.web.ask(method, url, {**headers, **own}, body))

    def authorized(self, url: str, request: Callable[[Mapping[str, str]], T]) -> T:
        """`request` with what opens the registry; storage elsewhere is shown nothing."""
        if urlsplit(url)[:2] != urlsplit(self.reference.url)[:2]:
            return request({})
        shown = self.authorization.headers
        while True:
            try:
                found = request(shown)
            except RefusedError as error:
                if error.status not in _CLOSED:
                    self.authorization.accepted()
                    raise
                further = self.authorization.renewed(error.headers, shown)
                if further is None:
                    raise
                shown = further
            else:
                self.authorization.accepted()
                return found

    def refused(self, error: RefusedError) -> PushRefusedError:
        """Why nothing can be pushed, and what to do."""
        said = f" ({error.detail})" if error.detail else ""
        if error.status in _CLOSED:
            remedy = (
                "the credentials do not allow to push there"
                if self.authorization.known
                else "give credentials for it (a Secret, or a Docker config.json)"
            )
        elif error.status == HTTPStatus.NOT_FOUND:
            remedy = "create the repository first"
        else:
            remedy = str(error)
        return PushRefusedError(
            f"{self.reference.host}/{self.reference.name} takes no push{said}: {remedy}"
        )

    def _why(self, error: RefusedError, wanted: str) -> RegistryError:
        host, name = self.reference.host, self.reference.name
        if error.status == HTTPStatus.NOT_FOUND:
            mark = "@" if DIGEST.fullmatch(wanted) else ":"
            return NotFoundError(f"{host} has no {name}{mark}{wanted}")
        if error.status in _CLOSED:
            remedy = (
                "the pull secret does not open it"
                if self.authorization.known
                else "it is closed or does not exist; give credentials for it (a pull secret)"
            )
            return AccessDeniedError(f"{host} does not give {name}: {remedy}")
        return RegistryError(str(error))
