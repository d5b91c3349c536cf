"""What is accepted, but does not do what it says, or not what users may expect of it."""

from __future__ import annotations

from apis.errors import Errors, FieldError
from apis.kaito import objectstores
from apis.kaito.v1beta1 import labels
from apis.kaito.v1beta1.ragengine import DEFAULT_CONTEXT_WINDOW, RAGEngine
from apis.kaito.validation import nodes
from apis.kaito.validation.facts import Facts
from apis.kaito.validation.rag import compute, guardrails, objectstore, parts, urls
from apis.kaito.validation.rag import service as inference

_COMPUTE = "spec.compute"
_STORAGE = "spec.storage"
_LOCAL = "spec.embedding.local"


def on(engine: RAGEngine, facts: Facts) -> Errors:
    """All of them, for an object that nothing is wrong with."""
    yield from _kept(engine)
    yield from _database(engine)
    yield from _compute(engine)
    yield from _embedding(engine)
    yield from _service(engine)
    yield from _annotations(engine)
    yield from _service_names(engine)
    yield from objectstore.notes(engine)
    yield from guardrails.notes(engine, facts)


def _kept(engine: RAGEngine) -> Errors:
    storage = parts.storage(engine)
    if storage is not None and storage.external is not None:
        return
    unkept = storage is None or storage.volume is None
    if unkept and not objectstores.alone(engine):
        yield FieldError(
            _STORAGE,
            "keeps nothing: indexes are in the pod's memory and on its disk, and end with the pod;"
            " name a persistentVolume or a vectorDB",
        )
    if storage is not None and storage.mount_path and not storage.persistent_volume_claim:
        yield FieldError(
            f"{_STORAGE}.mountPath",
            "is not looked at without persistentVolumeClaim; in v1beta1 both stand in"
            " persistentVolume",
        )


def _database(engine: RAGEngine) -> Errors:
    storage, database = parts.storage(engine), parts.database(engine)
    if storage is None or database is None:
        return
    if storage.external is None:
        if database.url:
            yield FieldError(
                f"{_STORAGE}.vectorDB.url",
                "is not looked at with engine faiss, which keeps indexes in the pod",
            )
    elif storage.volume is not None:
        yield FieldError(
            f"{_STORAGE}.persistentVolume",
            f"is not used: {database.engine.lower()} keeps the indexes; leave one of both out",
        )


def _compute(engine: RAGEngine) -> Errors:
    asked = compute.asked(engine)
    if asked is None:
        return
    yield from nodes.reserved_keys(_COMPUTE, asked.label_selector)
    if asked.count != 1:
        yield FieldError(
            f"{_COMPUTE}.count", f"{asked.count} is not looked at: one node runs the service"
        )


def _embedding(engine: RAGEngine) -> Errors:
    local = parts.local(engine)
    if local is None:
        return
    if local.image_pull_secret and not local.image:
        yield FieldError(f"{_LOCAL}.imagePullSecret", "is not looked at without image")
    if local.model_access_secret and not local.model_id:
        yield FieldError(f"{_LOCAL}.modelAccessSecret", "is not looked at without modelID")


def _service(engine: RAGEngine) -> Errors:
    asked = engine.spec.inference_service if engine.spec else None
    if asked is None:
        return
    if not asked.url:
        if asked.access_secret:
            yield FieldError(f"{inference.PATH}.accessSecret", "is not looked at without url")
        return
    if "context_window_size" not in asked.model_fields_set:
        yield FieldError(
            f"{inference.PATH}.contextWindowSize",
            f"is not set, and taken for {DEFAULT_CONTEXT_WINDOW}: a model that takes fewer tokens"
            " will refuse long questions; set what it takes",
        )
    if not urls.chats(asked.url):
        yield FieldError(
            f"{inference.PATH}.url",
            "is no address of chat completions, so every question will be answered with 400; end"
            " it with /v1/chat/completions",
        )
    if urls.leads_to_the_pod(asked.url):
        yield FieldError(
            f"{inference.PATH}.url",
            "leads to the pod of the RAGEngine itself; name the model's Service, as"
            " http://<workspace>.<namespace>/v1/chat/completions",
        )


def _annotations(engine: RAGEngine) -> Errors:
    given, local = engine.metadata.annotations, parts.local(engine)
    key = labels.USE_LOCAL_WEIGHTS_ANNOTATION
    if given.get(key) == "true" and (local is None or not local.model_id):
        yield FieldError(
            f"metadata.annotations[{key}]",
            f"is not looked at without {_LOCAL}.modelID, which names the directory on the node",
        )
    for key in (
        labels.MODEL_WEIGHTS_ANNOTATION,
        labels.MODEL_WEIGHTS_PULL_SECRETS_ANNOTATION,
    ):
        if key in given:
            yield FieldError(
                f"metadata.annotations[{key}]",
                f"is for Workspaces; a RAGEngine's model comes by {_LOCAL}.modelID or .image",
            )


def _service_names(engine: RAGEngine) -> Errors:
    spec = engine.spec
    if spec is None:
        return
    for name, given in (
        ("queryServiceName", spec.query_service_name),
        ("indexServiceName", spec.index_service_name),
    ):
        if given:
            yield FieldError(
                f"spec.{name}", "is not looked at: the Service is named after the object"
            )
