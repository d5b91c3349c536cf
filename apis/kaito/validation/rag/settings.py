"""Rules on the ConfigMap that sets what a RAGEngine's service does (ours: upstream has none).

Nothing is left out without a word, and a value that would end the service at its start is refused
before a pod is made of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from apis import container
from apis.errors import Errors, FieldError
from apis.kaito import ragsettings
from apis.kaito.v1beta1 import labels
from apis.kaito.v1beta1.ragengine import RAGEngine
from apis.kaito.validation.facts import Facts, no_config_map
from apis.kaito.validation.rag import names, parts
from apis.kaito.validation.rag.judged import Judged

PATH = f"metadata.annotations[{labels.RAG_SETTINGS_ANNOTATION}]"
_KEY_PATH = f"metadata.annotations[{labels.RAG_RERANKER_SECRET_ANNOTATION}]"


def reference(engine: RAGEngine, _: Facts) -> Errors:
    if (name := config_map_name(engine)) is not None:
        yield from names.config_map(PATH, name)
    yield from names.secret(_KEY_PATH, _reranker_secret(engine))


def values(engine: RAGEngine, facts: Facts) -> Errors:
    """Of the ConfigMap as it is; what becomes of it later the status tells."""
    name = config_map_name(engine)
    if not name or facts.config_map is None:
        return
    data = facts.config_map(name)
    if data is None:
        yield no_config_map(PATH, name, engine.metadata.namespace)
        return
    for key, wrong in _wrong(engine, data):
        yield FieldError(PATH, f'key {key} of ConfigMap "{name}": {wrong}')


def config_map_name(engine: RAGEngine) -> str | None:
    """None where none is asked for."""
    return engine.metadata.annotations.get(labels.RAG_SETTINGS_ANNOTATION)


def _wrong(engine: RAGEngine, data: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for key, text in sorted(data.items()):
        if refusal := ragsettings.refusal(key, text):
            yield key, refusal
    for key in (ragsettings.CHAT_TOKENIZER, ragsettings.RERANKER_MODEL):
        given = data.get(key, "").strip()
        is_path = given.startswith("/") or (given and key == ragsettings.CHAT_TOKENIZER)
        if is_path and not _on_volume(engine, given):
            yield key, f"{given!r} is not on the pod's volume: {_volume_remedy(engine)}"
    if ragsettings.fetches_reranker(data) and _model_of_node(engine):
        yield (
            ragsettings.RERANKER_MODEL,
            f"cannot be fetched beside {labels.USE_LOCAL_WEIGHTS_ANNOTATION}, whose directory is"
            f" read-only: name a service by {ragsettings.RERANKER_URL}, or a directory on the"
            " volume",
        )


def _model_of_node(engine: RAGEngine) -> bool:
    local = parts.local(engine)
    given = engine.metadata.annotations.get(labels.USE_LOCAL_WEIGHTS_ANNOTATION)
    return given == "true" and local is not None and bool(local.model_id)


def _on_volume(engine: RAGEngine, path: str) -> bool:
    root = _mounted(engine)
    return bool(root) and path.startswith(f"{root}/") and ".." not in path.split("/")


def _mounted(engine: RAGEngine) -> str:
    """Where the volume is, without a slash at the end; empty where there is none."""
    kept = parts.storage(engine)
    volume = kept.volume if kept else None
    return (volume.mount_path or container.RAG_DATA_DIR).rstrip("/") if volume else ""


def _volume_remedy(engine: RAGEngine) -> str:
    if root := _mounted(engine):
        return f"put the file there, and name it as {root}/…"
    return "name one in spec.storage.persistentVolume, and put the file there"


def _reranker_secret(engine: RAGEngine) -> str:
    return engine.metadata.annotations.get(labels.RAG_RERANKER_SECRET_ANNOTATION, "")


RULES = (
    Judged(reference, lambda it: (config_map_name(it), _reranker_secret(it))),
    Judged(values, config_map_name),
)
