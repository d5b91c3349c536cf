"""An OCI registry on the loopback address: one repository that is pulled from and pushed to."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from tests.fakes.downloads import Answer, Downloads


class Registry(Downloads):
    """It wants a token, which `user`, `password` can have; without a user, everybody can."""

    def __init__(self, name: str = "models/falcon", user: str = "", password: str = "") -> None:
        super().__init__()
        self.name = name
        self._basic = base64.b64encode(f"{user}:{password}".encode()).decode() if user else ""
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.tags: dict[str, str] = {}
        self.elsewhere: dict[str, dict[str, bytes]] = {}
        """Blobs of other repositories, to mount from."""
        self.writable = True
        """Whether its tokens allow to push."""
        self.takes_chunks = True
        self.lists_referrers = True
        self.known_as = ""
        """Host and port by which clients elsewhere reach it; empty: its address here."""
        self.received = 0
        """Bytes of blobs."""
        self.scopes: list[str] = []
        """That tokens were asked for."""
        self._uploads: dict[str, bytearray] = {}
        self._begun = 0

    @property
    def host(self) -> str:
        return self.url.removeprefix("http://")

    def push(self, layers: list[tuple[bytes, dict[str, str], str]], **more: Any) -> str:
        """Layers are content, annotations, media type; the reference by digest."""
        found = [
            {
                "mediaType": type_,
                "digest": _keep(self.blobs, content),
                "size": len(content),
                "annotations": annotations,
            }
            for content, annotations, type_ in layers
        ]
        return self.reference(self.push_manifest({"schemaVersion": 2, "layers": found, **more}))

    def push_manifest(self, manifest: Mapping[str, Any]) -> str:
        return _keep(self.manifests, json.dumps(manifest).encode())

    def reference(self, digest: str) -> str:
        return f"{self.host}/{self.name}:v1@{digest}"

    def answer(
        self, path: str, query: Mapping[str, list[str]], headers: Mapping[str, str]
    ) -> Answer:
        if path == "/token":
            return self._token(query, headers)
        if not self._allows("pull", headers):
            return self._challenge("pull")
        kind, _, wanted = path.removeprefix(f"/v2/{self.name}/").partition("/")
        if kind == "referrers" and self.lists_referrers:
            index = {"schemaVersion": 2, "manifests": self._referrers(wanted)}
            return 200, {}, json.dumps(index).encode()
        if kind == "blobs" and wanted.startswith("uploads/"):
            return self._told(wanted.partition("/")[2])
        found = {"manifests": self.manifests, "blobs": self.blobs}.get(kind, {}).get(
            self.tags.get(wanted, wanted)
        )
        if found is None:
            return 404, {}, b""
        return 200, _type(found) if kind == "manifests" else {}, found

    def receive(
        self,
        method: str,
        path: str,
        query: Mapping[str, list[str]],
        headers: Mapping[str, str],
        body: bytes,
    ) -> Answer:
        action = "pull" if method == "HEAD" else "push"
        if not self._allows(action, headers):
            return self._challenge(action)
        kind, _, rest = path.removeprefix(f"/v2/{self.name}/").partition("/")
        if method == "HEAD":
            there = {"blobs": self.blobs, "manifests": self.manifests}[kind]
            return (200 if rest in there else 404), {}, b""
        if method == "PUT" and kind == "manifests":
            return self._put_manifest(rest, body)
        if rest == "uploads/":
            return self._begin(query)
        return self._upload(method, rest.partition("/")[2], query, headers, body)

    def _token(self, query: Mapping[str, list[str]], headers: Mapping[str, str]) -> Answer:
        shown = headers.get("Authorization")
        if shown != f"Basic {self._basic}" and (self._basic or shown):
            return 401, {}, b""
        scopes = query["scope"]
        self.scopes += scopes
        if not self.writable:
            scopes = [scope.removesuffix(",push") for scope in scopes]
        # No two tokens are the same.
        token = f"for {' '.join(scopes)} #{self.asked['/token']}"
        return 200, {}, json.dumps({"token": token}).encode()

    def _allows(self, action: str, headers: Mapping[str, str]) -> bool:
        scopes = headers.get("Authorization", "").removeprefix("Bearer for ").split()
        own = [scope for scope in scopes if scope.startswith(f"repository:{self.name}:")]
        return any(action in scope.rpartition(":")[2].split(",") for scope in own)

    def _challenge(self, action: str) -> Answer:
        actions = "pull,push" if action == "push" else "pull"
        challenge = (
            f'Bearer realm="http://{self.known_as or self.host}/token",service="registry",'
            f'scope="repository:{self.name}:{actions}"'
        )
        said = {"errors": [{"code": "DENIED", "message": "requested access is denied"}]}
        return 401, {"WWW-Authenticate": challenge}, json.dumps(said).encode()

    def _put_manifest(self, wanted: str, body: bytes) -> Answer:
        told = json.loads(body)
        named = [each for each in (told.get("config"), *told.get("layers", ())) if each]
        if any(each["digest"] not in self.blobs for each in named):
            return 400, {}, b'{"errors": [{"code": "MANIFEST_BLOB_UNKNOWN"}]}'
        digest = _keep(self.manifests, body)
        if not wanted.startswith("sha256:"):
            self.tags[wanted] = digest
        more = {}
        if "subject" in told and self.lists_referrers:
            more = {"OCI-Subject": told["subject"]["digest"]}
        return 201, {"Docker-Content-Digest": digest, **more}, b""

    def _referrers(self, subject: str) -> list[dict[str, Any]]:
        found = []
        for digest, manifest in self.manifests.items():
            told = json.loads(manifest)
            if (told.get("subject") or {}).get("digest") == subject:
                found.append({"digest": digest, "artifactType": told.get("artifactType")})
        return found

    def _begin(self, query: Mapping[str, list[str]]) -> Answer:
        mounted = self.elsewhere.get(query.get("from", [""])[0], {})
        digest = query.get("mount", [""])[0]
        if digest in mounted:
            self.blobs[digest] = mounted[digest]
            return 201, {"Location": f"/v2/{self.name}/blobs/{digest}"}, b""
        self._begun += 1
        self._uploads[str(self._begun)] = bytearray()
        return 202, {"Location": f"/v2/{self.name}/blobs/uploads/{self._begun}?state=1"}, b""

    def _told(self, session: str) -> Answer:
        if session not in self._uploads:
            return 404, {}, b""
        return 204, {"Range": f"0-{max(len(self._uploads[session]) - 1, 0)}"}, b""

    def _upload(
        self,
        method: str,
        session: str,
        query: Mapping[str, list[str]],
        headers: Mapping[str, str],
        body: bytes,
    ) -> Answer:
        if session not in self._uploads:
            return 404, {}, b""
        if method == "DELETE":
            del self._uploads[session]
            return 204, {}, b""
        have = self._uploads[session]
        if method == "PATCH":
            start = int(headers["Content-Range"].partition("-")[0])
            if not self.takes_chunks or start != len(have):
                return 416, {}, b""
        have += body
        self.received += len(body)
        if method == "PATCH":
            where = f"/v2/{self.name}/blobs/uploads/{session}?state=2"
            return 202, {"Location": where, "Range": f"0-{len(have) - 1}"}, b""
        del self._uploads[session]
        if query["digest"][0] != f"sha256:{hashlib.sha256(have).hexdigest()}":
            return 400, {}, b'{"errors": [{"code": "DIGEST_INVALID"}]}'
        _keep(self.blobs, bytes(have))
        return 201, {"Location": f"/v2/{self.name}/blobs/{query['digest'][0]}"}, b""

    @property
    def unfinished(self) -> int:
        """Uploads that were begun, and neither finished nor taken back."""
        return len(self._uploads)


def _type(manifest: bytes) -> dict[str, str]:
    told = json.loads(manifest)
    kind = "image.index" if "manifests" in told else "image.manifest"
    return {"Content-Type": told.get("mediaType") or f"application/vnd.oci.{kind}.v1+json"}


def _keep(where: dict[str, bytes], content: bytes) -> str:
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    where[digest] = content
    return digest
