"""A repository of Hugging Face at one commit: its files, and their digests."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

from oci import download
from oci.download import Blob
from oci.errors import AccessDeniedError, NotFoundError, TransferError
from oci.progress import Watch, unwatched
from oci.web import RefusedError, Web

ENDPOINT = "https://huggingface.co"

_COMMIT = re.compile(r"[0-9a-f]{40}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|git:[0-9a-f]{40}")
"""They become names of files here, and come from elsewhere."""


@dataclass(frozen=True)
class Snapshot:
    """A repository as it is at one commit."""

    repository: str
    commit: str
    files: list[dict[str, Any]]
    endpoint: str
    headers: Mapping[str, str] = field(repr=False)
    remedy: str = ""
    """What to do with a token that opens it."""
    kind: str = "models"
    """Or datasets."""

    def fetch(
        self,
        wanted: Iterable[Mapping[str, Any]],
        directory: Path,
        web: Web,
        watch: Watch = unwatched,
        *,
        what: str = "the files",
        remedy: str = "make room on it",
    ) -> list[Blob]:
        """These of `files` into the directory, verified, as `oci.download.fetch` does it."""
        blobs = [self._blob(each) for each in wanted]
        try:
            download.fetch(blobs, directory, web, watch, what=what, remedy=remedy)
        except RefusedError as error:
            # Whose terms are not accepted may read the list of files all the same.
            raise self.why(self.commit, error) from error
        return blobs

    def why(self, revision: str, error: RefusedError) -> TransferError:
        """A refusal, and what to do."""
        if error.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            return AccessDeniedError(
                f"{self.endpoint} does not give {self.repository}"
                + (" to this token" if self.headers else " without a token")
                + ": it is gated, private or does not exist; accept its terms there, and "
                + self.remedy
            )
        if error.status == HTTPStatus.NOT_FOUND:
            return NotFoundError(f"{self.endpoint} has no {self.repository} at {revision}")
        return TransferError(str(error))

    def _blob(self, file: Mapping[str, Any]) -> Blob:
        """TransferError where nothing tells whether it arrives whole."""
        name = str(file["rfilename"])
        if ".." in name.split("/") or name.startswith("/"):
            raise TransferError(f"{self.repository} has a file that would lie elsewhere: {name}")
        size, digest = (file.get("lfs") or file).get("size"), _digest(file)
        if size is None or not digest:
            raise TransferError(
                f"{self.endpoint} tells no size and digest of {name}: nothing to verify by"
            )
        place = "" if self.kind == "models" else f"{self.kind}/"
        url = f"{self.endpoint}/{place}{quote(self.repository)}/resolve/{self.commit}/{quote(name)}"
        return Blob(name=name, url=url, size=size, digest=digest, headers=self.headers)


def snapshot(
    repository: str,
    revision: str,
    web: Web,
    *,
    endpoint: str = ENDPOINT,
    token: str = "",
    remedy: str = "give a token of Hugging Face",
    kind: str = "models",
) -> Snapshot:
    """Asked once, so that all files are of the same commit; TransferError says what to do where
    the hub does not give it. `remedy` ends that sentence."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    asked = Snapshot(repository, revision, [], endpoint, headers, remedy, kind)
    url = f"{endpoint}/api/{kind}/{quote(repository)}/revision/{quote(revision, safe='')}"
    try:
        answer = web.read_json(f"{url}?blobs=true", headers)
    except RefusedError as error:
        raise asked.why(revision, error) from error
    commit, files = str(answer.get("sha")), answer.get("siblings")
    if not _COMMIT.fullmatch(commit) or not isinstance(files, list):
        raise TransferError(f"{endpoint} does not tell the commit and the files of {repository}")
    return replace(asked, commit=commit, files=files)


def _digest(file: Mapping[str, Any]) -> str:
    """Large files have a SHA-256; of the others the hub knows what git calls them."""
    large = file.get("lfs") or {}
    digest = f"sha256:{large['sha256']}" if large else f"git:{file.get('blobId')}"
    return digest if _DIGEST.fullmatch(digest) else ""
