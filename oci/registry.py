"""An OCI registry, as its distribution specification has it: what is in a repository is read, and
images are written to it."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping
from typing import Any

from oci import referrers, upload
from oci.connection import Connection
from oci.credentials import NONE, Credentials
from oci.download import Blob
from oci.errors import RegistryError
from oci.image import MANIFEST, Packed, digest
from oci.reference import DIGEST, Reference
from oci.web import Web

_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


class Registry:
    """One repository of a registry, with what opens it."""

    def __init__(
        self, reference: Reference, credentials: Credentials = NONE, web: Web | None = None
    ) -> None:
        self.reference = reference
        self._connection = Connection(reference, credentials, web or Web())

    def pull_manifest(self, wanted: str = "") -> bytes:
        """Its bytes, verified where it is asked for by digest; by default what the reference names.
        NotFoundError, AccessDeniedError, UnreachableError."""
        return self._connection.get_manifest(wanted or self.reference.wanted)

    def layers(self) -> list[dict[str, Any]]:
        """The descriptors of the image or artifact; of an index, those for this machine."""
        manifest = json.loads(self.pull_manifest())
        if "manifests" in manifest:
            chosen = _for_this_machine(manifest["manifests"])
            manifest = json.loads(self.pull_manifest(chosen["digest"]))
        found: list[dict[str, Any]] = manifest.get("layers") or manifest.get("blobs") or []
        if not found:
            raise RegistryError(f"{self.reference} has no layers, so there is nothing in it")
        return found

    def pull_blob(self, descriptor: Mapping[str, Any], name: str = "") -> Blob:
        """What `oci.download.fetch` loads, verifies and goes on with. `name` is for users."""
        found = str(descriptor["digest"])
        if not DIGEST.fullmatch(found):
            raise RegistryError(f"{name} has the digest {found}; only sha256 can be verified")
        authorization = self._connection.authorization
        return Blob(
            name=name or found,
            url=f"{self.reference.url}/blobs/{found}",
            size=int(descriptor["size"]),
            digest=found,
            headers=authorization.headers,
            renewed=authorization.renewed,
        )

    def pull_small(self, descriptor: Mapping[str, Any]) -> bytes:
        """A blob of some kilobytes, such as an image's config, verified."""
        wanted = str(descriptor["digest"])
        body, _ = self._connection.ask("GET", f"{self.reference.url}/blobs/{wanted}", {})
        if digest(body) != wanted:
            raise RegistryError(f"{self.reference.host} answers with something else than {wanted}")
        return body

    def referrers(self, subject: str) -> list[dict[str, Any]]:
        """Descriptors of what names the manifest with this digest as its subject."""
        return referrers.read(self._connection, subject)

    def check_push(self) -> None:
        """Ask for an upload and take it back: PushRefusedError where the repository cannot be
        written to, before any work was done for it."""
        upload.cancel(self._connection, upload.begin(self._connection))

    def push(
        self,
        image: Packed,
        tag: str = "",
        *,
        mount_from: str = "",
        sent: Callable[[int], None] = lambda _: None,
    ) -> str:
        """The digest of what is now there under the tag, by default that of the reference.

        Blobs that are there are not sent; `mount_from`, another repository of the registry, may
        have them. `sent` is told of bytes. PushRefusedError, UnreachableError."""
        for blob in {each.digest: each for each in image.blobs}.values():
            if not self._connection.has(blob.digest):
                upload.send(self._connection, blob, mount_from=mount_from, sent=sent)
        told = json.loads(image.manifest)
        subject, found = told.get("subject"), digest(image.manifest)
        tag = tag or (found if subject else self.reference.tag or "latest")
        headers = self._connection.put_manifest(
            tag, image.manifest, told.get("mediaType", MANIFEST)
        )
        if subject and "OCI-Subject" not in headers:
            referrers.add(self._connection, subject["digest"], image)
        return found


def _for_this_machine(manifests: list[dict[str, Any]]) -> dict[str, Any]:
    machine = _MACHINES.get(platform.machine(), platform.machine())
    for each in manifests:
        if each.get("platform", {}).get("architecture") == machine:
            return each
    return manifests[0]
