"""Rules on what turns text into vectors."""

from __future__ import annotations

from apis.errors import Errors, FieldError
from apis.kaito import grammar, ragmessages
from apis.kaito.v1beta1.ragengine import LocalEmbedding, RAGEngine
from apis.kaito.validation.facts import Facts
from apis.kaito.validation.rag import names, parts, urls
from apis.kaito.validation.rag.judged import Judged
from apis.kaito.validation.sources import image_errors

_PATH = "spec.embedding"
_LOCAL = f"{_PATH}.local"
_REMOTE = f"{_PATH}.remote"


def one(engine: RAGEngine, _: Facts) -> Errors:
    """R-1."""
    asked = parts.embedding(engine)
    if asked is None:
        if engine.spec is not None:
            yield FieldError(_PATH, ragmessages.EMBEDDING)
    elif (asked.local is None) == (asked.remote is None):
        yield FieldError(_PATH, ragmessages.ONE_EMBEDDING)


def one_local(engine: RAGEngine, _: Facts) -> Errors:
    """R-2."""
    local = parts.local(engine)
    if local is not None and bool(local.image) == bool(local.model_id):
        yield FieldError(_LOCAL, ragmessages.ONE_LOCAL)


def model(engine: RAGEngine, _: Facts) -> Errors:
    """R-2, and that it is owner/model: upstream finds out when the pod starts."""
    given = _local(engine).model_id
    if given.startswith("/"):
        yield FieldError(f"{_LOCAL}.modelID", ragmessages.MODEL_PATH)
    elif given and not grammar.is_(grammar.MODEL_ID, given):
        yield FieldError(f"{_LOCAL}.modelID", ragmessages.MODEL_ID)


def image(engine: RAGEngine, _: Facts) -> Errors:
    """R-2."""
    yield from image_errors(f"{_LOCAL}.image", _local(engine).image)


def secrets(engine: RAGEngine, _: Facts) -> Errors:
    local, remote = _local(engine), parts.remote(engine)
    yield from names.secret(f"{_LOCAL}.imagePullSecret", local.image_pull_secret)
    yield from names.secret(f"{_LOCAL}.modelAccessSecret", local.model_access_secret)
    if remote is not None:
        yield from names.secret(f"{_REMOTE}.accessSecret", remote.access_secret)


def remote_url(engine: RAGEngine, _: Facts) -> Errors:
    """R-3."""
    if (remote := parts.remote(engine)) is not None:
        yield from urls.service(f"{_REMOTE}.url", remote.url)


_NO_MODEL = LocalEmbedding()


def _local(engine: RAGEngine) -> LocalEmbedding:
    return parts.local(engine) or _NO_MODEL


def _secrets(engine: RAGEngine) -> object:
    local, remote = _local(engine), parts.remote(engine)
    return local.image_pull_secret, local.model_access_secret, remote and remote.access_secret


def _remote_url(engine: RAGEngine) -> object:
    remote = parts.remote(engine)
    return remote and remote.url


RULES = (
    Judged(one, parts.embedding),
    Judged(one_local, parts.local),
    Judged(model, lambda it: _local(it).model_id),
    Judged(image, lambda it: _local(it).image),
    Judged(secrets, _secrets),
    Judged(remote_url, _remote_url),
)
