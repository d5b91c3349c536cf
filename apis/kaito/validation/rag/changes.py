"""What a change that is allowed brings about."""

from __future__ import annotations

from apis.errors import Errors, FieldError
from apis.kaito import objectstores
from apis.kaito.v1beta1.ragengine import RAGEngine
from apis.kaito.validation.rag import objectstore, parts

_ANEW = (
    "comes from elsewhere: unless its vectors are the same, every index is embedded anew"
    " before the new pod takes over. How long that takes is not known beforehand; the old"
    " pod answers meanwhile"
)
_REFUSED = (
    "comes from elsewhere: unless its vectors are the same, every index in the database refuses"
    " the new pod until it is deleted and its documents are put again, or this is set back"
)


def on(old: RAGEngine, new: RAGEngine) -> Errors:
    """Told where it is made, since it costs time or leaves data behind."""
    before, after = _model(old), _model(new)
    if before != after and before is not None and after is not None:
        storage = parts.storage(new)
        said = _REFUSED if storage is not None and storage.external is not None else _ANEW
        yield FieldError("spec.embedding", said)
    if _place(old) != _place(new) and _place(old) is not None:
        yield FieldError(
            objectstore.PATH if objectstores.alone(old) else "spec.storage",
            "is another place: what the old one holds stays there and is not carried over",
        )


def _model(engine: RAGEngine) -> object:
    """What vectors depend on, which keys and Secrets are not."""
    local, remote = parts.local(engine), parts.remote(engine)
    if local is not None:
        return local.model_id, local.image
    return remote.url if remote is not None else None


def _place(engine: RAGEngine) -> object:
    if objectstores.alone(engine):
        return objectstores.asked(engine)
    storage = parts.storage(engine)
    if storage is None:
        return None
    if storage.external is not None:
        return storage.external.engine.lower(), storage.external.url
    return storage.volume and storage.volume.persistent_volume_claim
