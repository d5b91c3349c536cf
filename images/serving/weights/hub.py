"""Hugging Face: the files of a commit, those of them that an engine loads, and their digests."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

from serving.weights import download
from serving.weights.download import Blob
from serving.weights.store import Store
from serving.weights.web import DownloadError, RefusedError, Web

ENDPOINT = "https://huggingface.co"
MISTRAL = "mistral"

_FORMATS = ("*.safetensors", "*.bin", "*.pt")
"""Of weights that vLLM loads; the first that there is, as vLLM takes them."""
_CONSOLIDATED = "consolidated*.safetensors"
_WEIGHTS = (
    *(".safetensors", ".bin", ".pt", ".pth", ".gguf", ".onnx", ".onnx_data", ".msgpack"),
    *(".h5", ".ot", ".ckpt", ".tflite", ".npz", ".nemo", ".mlmodel"),
)
_ELSEWHERE = ("original/", "metal/", "onnx/", "openvino/", "coreml/", "gguf/")
"""Folders that hold the same weights once more."""


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
    headers: Mapping[str, str]

    def fetch(
        self,
        wanted: Iterable[Mapping[str, Any]],
        directory: Path,
        web: Web,
        tell: Callable[[str], None] = print,
    ) -> list[Blob]:
        """These of `files` into the directory, verified, as `download.fetch` does it."""
        blobs = [self._blob(each) for each in wanted]
        try:
            download.fetch(blobs, directory, web, tell)
        except RefusedError as error:
            # Whose terms are not accepted may read the list of files all the same.
            why = _why(self.repository, self.commit, self.endpoint, error, known=bool(self.headers))
            raise DownloadError(why) from error
        return blobs

    def _blob(self, file: Mapping[str, Any]) -> Blob:
        """DownloadError where nothing tells whether it arrives whole."""
        name = str(file["rfilename"])
        if ".." in name.split("/") or name.startswith("/"):
            raise DownloadError(f"{self.repository} has a file that would lie elsewhere: {name}")
        size, digest = (file.get("lfs") or file).get("size"), _digest(file)
        if size is None or not digest:
            raise DownloadError(
                f"{self.endpoint} tells no size and digest of {name}: nothing to verify by"
            )
        url = f"{self.endpoint}/{quote(self.repository)}/resolve/{self.commit}/{quote(name)}"
        return Blob(name=name, url=url, size=size, digest=digest, headers=self.headers)


def snapshot(
    repository: str, revision: str, web: Web, *, endpoint: str = ENDPOINT, token: str = ""
) -> Snapshot:
    """Asked once, so that all files are of the same commit; DownloadError says what to do where
    the hub does not give it."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    url = f"{endpoint}/api/models/{quote(repository)}/revision/{quote(revision, safe='')}"
    try:
        answer = web.read_json(f"{url}?blobs=true", headers)
    except RefusedError as error:
        why = _why(repository, revision, endpoint, error, known=bool(token))
        raise DownloadError(why) from error
    commit, files = str(answer.get("sha")), answer.get("siblings")
    if not _COMMIT.fullmatch(commit) or not isinstance(files, list):
        raise DownloadError(f"{endpoint} does not tell the commit and the files of {repository}")
    return Snapshot(repository, commit, files, endpoint, headers)


@dataclass(frozen=True)
class Request:
    """Which files of which repository. Empty: the main branch, all that vLLM loads."""

    repository: str
    revision: str = ""
    file: str = ""
    load_format: str = ""

    @property
    def what(self) -> str:
        """The choice among the files of a commit."""
        return f"{self.file}|{self.load_format if self.load_format == MISTRAL else ''}"


def load(
    request: Request,
    store: Store,
    web: Web,
    *,
    endpoint: str = ENDPOINT,
    token: str = "",
    tell: Callable[[str], None] = print,
) -> str:
    """The commit, whose files are now in the store; none of it is asked for twice."""
    with store.locked(tell):
        commit = request.revision or store.head()
        if commit and store.is_complete(commit, request.what):
            tell(f"{request.repository} at {commit} is already here")
            return commit
        found = snapshot(request.repository, commit or "main", web, endpoint=endpoint, token=token)
        commit = found.commit
        if request.revision and commit != request.revision:
            raise DownloadError(f"{request.repository} has no commit {request.revision}")
        wanted = chosen(found.files, request)
        tell(f"{request.repository} at {commit}: {len(wanted)} files")
        blobs = found.fetch(wanted, store.blobs, web, tell)
        store.link(commit, {blob.name: blob.key for blob in blobs})
        if not request.revision:
            store.set_head(commit)
        store.finish(commit, request.what, {blob.name: blob.size for blob in blobs})
        return commit


def chosen(files: Iterable[dict[str, Any]], request: Request) -> list[dict[str, Any]]:
    """One format of the weights, and what is no weights: configuration, tokenizer, code."""
    kept = [each for each in files if not each["rfilename"].startswith(_ELSEWHERE)]
    rest = [each for each in kept if not each["rfilename"].lower().endswith(_WEIGHTS)]
    if request.file:
        weights = [each for each in kept if _is_part(each["rfilename"], request.file)]
    else:
        weights = _one_format([each for each in kept if each not in rest], request.load_format)
    if not weights:
        raise DownloadError(
            f"{request.repository} has no {request.file or 'weights that the engine could load'}"
        )
    return [*weights, *rest]


def _one_format(weights: list[dict[str, Any]], load_format: str) -> list[dict[str, Any]]:
    """Of the root folder, which is the one that is loaded."""
    root = [each for each in weights if "/" not in each["rfilename"]]
    consolidated = [each for each in root if fnmatch.fnmatch(each["rfilename"], _CONSOLIDATED)]
    others = [each for each in root if each not in consolidated]
    if load_format == MISTRAL:
        return consolidated
    for pattern in _FORMATS:
        if found := [each for each in others if fnmatch.fnmatch(each["rfilename"], pattern)]:
            return found
    return consolidated


def _is_part(name: str, file: str) -> bool:
    """The file itself, or with it the other parts of a GGUF that was split."""
    first = "-00001-of-"
    if first not in file:
        return name == file
    start, _, end = file.partition(first)
    return name.startswith(f"{start}-") and name.endswith(f"-of-{end}")


def _why(name: str, revision: str, endpoint: str, error: RefusedError, *, known: bool) -> str:
    if error.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return (
            f"{endpoint} does not give {name}"
            + (" to this token" if known else " without a token")
            + ": it is gated, private or does not exist; accept its terms there, and name a"
            " Secret with the key HF_TOKEN as inference.preset.presetOptions.modelAccessSecret"
        )
    if error.status == HTTPStatus.NOT_FOUND:
        return f"{endpoint} has no {name} at {revision}"
    return str(error)


def _digest(file: Mapping[str, Any]) -> str:
    """Large files have a SHA-256; of the others the hub knows what git calls them."""
    large = file.get("lfs") or {}
    digest = f"sha256:{large['sha256']}" if large else f"git:{file.get('blobId')}"
    return digest if _DIGEST.fullmatch(digest) else ""
