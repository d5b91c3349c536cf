"""Rules on the object store that keeps snapshots of the indexes (ours: upstream has none)."""

from __future__ import annotations

from apis.errors import Errors, FieldError
from apis.kaito import objectstores
from apis.kaito.v1beta1 import labels
from apis.kaito.v1beta1.ragengine import RAGEngine
from apis.kaito.validation.facts import Facts
from apis.kaito.validation.rag import names, parts
from apis.kaito.validation.rag.judged import Judged

PATH = f"metadata.annotations[{labels.RAG_OBJECT_STORE_ANNOTATION}]"
_SECRET_PATH = f"metadata.annotations[{labels.RAG_OBJECT_STORE_SECRET_ANNOTATION}]"


def url(engine: RAGEngine, _: Facts) -> Errors:
    """The service's schemes, but for file://, and nothing that only a Secret should hold."""
    given = objectstores.asked(engine)
    if given is not None and not objectstores.is_url(given):
        yield FieldError(
            PATH,
            "must be s3://bucket/prefix, gs://bucket/prefix or az://container/prefix, with or"
            " without a prefix: keys and an endpoint belong into a Secret, which annotation"
            f" {labels.RAG_OBJECT_STORE_SECRET_ANNOTATION} names, and file:// would end with the"
            " pod",
        )


def one_keeper(engine: RAGEngine, _: Facts) -> Errors:
    """A volume beside it is the files', which the store has copies of."""
    storage = parts.storage(engine)
    if (
        objectstores.asked(engine) is not None
        and storage is not None
        and storage.external is not None
    ):
        yield FieldError(
            PATH,
            "contradicts spec.storage.vectorDB, which keeps the indexes itself; keep one of both",
        )


def secret(engine: RAGEngine, _: Facts) -> Errors:
    yield from names.secret(_SECRET_PATH, _secret(engine))


def notes(engine: RAGEngine) -> Errors:
    """What users may not expect."""
    if objectstores.asked(engine) is None and _secret(engine):
        yield FieldError(
            _SECRET_PATH, f"is not looked at without {labels.RAG_OBJECT_STORE_ANNOTATION}"
        )
    if objectstores.alone(engine):
        yield FieldError(
            PATH,
            "keeps snapshots: an edit replaces the pod in place, with a gap, and what was written"
            " since the last one ends with a pod that is lost; a persistentVolume beside it spares"
            " both",
        )


def _secret(engine: RAGEngine) -> str:
    return engine.metadata.annotations.get(labels.RAG_OBJECT_STORE_SECRET_ANNOTATION, "")


RULES = (
    Judged(url, objectstores.asked),
    Judged(one_keeper, lambda it: (objectstores.asked(it), parts.storage(it))),
    Judged(secret, _secret),
)
