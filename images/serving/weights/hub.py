"""`hub`: the files of a commit of Hugging Face into the store."""

from __future__ import annotations

from collections.abc import Callable

from hub import choice, repository
from hub.choice import Request
from hub.repository import ENDPOINT
from oci.errors import TransferError
from oci.progress import Watch, unwatched
from oci.web import Web
from serving.weights import store as stores
from serving.weights.store import Store

SECRET = "name a Secret with the key HF_TOKEN as inference.preset.presetOptions.modelAccessSecret"  # noqa: S105
"""What to do where a token is needed."""


def load(
    request: Request,
    store: Store,
    web: Web,
    *,
    endpoint: str = ENDPOINT,
    token: str = "",
    remedy: str = SECRET,
    tell: Callable[[str], None] = print,
    watch: Watch = unwatched,
) -> str:
    """The commit, whose files are now in the store; none of it is asked for twice."""
    with store.locked(tell):
        commit = request.revision or store.head()
        if commit and store.is_complete(commit, request.what):
            tell(f"{request.repository} at {commit} is already here")
            return commit
        found = repository.snapshot(
            request.repository,
            commit or "main",
            web,
            endpoint=endpoint,
            token=token,
            remedy=remedy,
        )
        commit = found.commit
        if request.revision and commit != request.revision:
            raise TransferError(f"{request.repository} has no commit {request.revision}")
        wanted = choice.chosen(found.files, request)
        tell(f"{request.repository} at {commit}: {len(wanted)} files")
        blobs = found.fetch(wanted, store.blobs, web, watch, what=stores.WHAT, remedy=stores.REMEDY)
        store.link(commit, {blob.name: blob.key for blob in blobs})
        if not request.revision:
            store.set_head(commit)
        store.finish(commit, request.what, {blob.name: blob.size for blob in blobs})
        return commit
