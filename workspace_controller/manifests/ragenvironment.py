"""What a RAGEngine's pod is told: its environment, and the Secrets and volumes that it needs.

Secrets go by reference, and their names stand here once: what is asked for before a pod is made is
what the pod would wait for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from apis import container
from apis.kaito import objectstores, ragsettings
from apis.kaito.v1beta1 import labels
from apis.kaito.v1beta1.ragengine import (
    EmbeddingSpec,
    Guardrails,
    LocalEmbedding,
    PersistentVolume,
    RAGEngine,
    RAGEngineSpec,
    StorageSpec,
)
from kube.meta import Manifest
from workspace_controller.manifests import environment
from workspace_controller.settings import Settings

ENV_EMBEDDING_TYPE = "EMBEDDING_TYPE"
"""What upstream's controller sets, and its service does not read; as is the next."""
ENV_MODEL_ID = "MODEL_ID"
ENV_POD_UID = "POD_UID"
_DOCKER_CONFIG = ".dockerconfigjson"
NOTHING: Mapping[str, str] = MappingProxyType({})
"""The settings of those who name none."""


@dataclass(frozen=True, slots=True)
class SecretUse:
    """A Secret that the pod needs; `key` is empty where any key will do."""

    name: str
    key: str
    field: str
    """Where the user names it."""
    keys: tuple[str, ...] = ()
    """Those that it may have, of which it has at least one; where `key` is not all that counts."""


def spec(engine: RAGEngine) -> RAGEngineSpec:
    return engine.spec or RAGEngineSpec()


def local(engine: RAGEngine) -> LocalEmbedding | None:
    """The model that the pod runs itself; None where a service embeds."""
    asked = spec(engine).embedding or EmbeddingSpec()
    return None if asked.remote else asked.local or LocalEmbedding()


def volume(engine: RAGEngine) -> PersistentVolume | None:
    return (spec(engine).storage or StorageSpec()).volume


def mount_path(engine: RAGEngine) -> str:
    """Where the indexes' volume is mounted."""
    asked = volume(engine)
    return (asked.mount_path if asked else "") or container.RAG_DATA_DIR


def guardrails(engine: RAGEngine) -> Guardrails:
    return spec(engine).guardrails or Guardrails()


def secrets(engine: RAGEngine) -> tuple[SecretUse, ...]:
    """All that the engine names."""
    asked = spec(engine)
    embedding, service = asked.embedding, asked.inference_service
    database = (asked.storage or StorageSpec()).external
    remote = embedding.remote if embedding else None
    own = local(engine) or LocalEmbedding()
    named = (
        (own.model_access_secret, container.TOKEN_SECRET_KEY, "embedding.local.modelAccessSecret"),
        (own.image_pull_secret, _DOCKER_CONFIG, "embedding.local.imagePullSecret"),
        (
            remote.access_secret if remote else "",
            container.ENV_RAG_REMOTE_SECRET,
            "embedding.remote.accessSecret",
        ),
        (
            service.access_secret if service and service.url else "",
            container.ENV_RAG_LLM_SECRET,
            "inferenceService.accessSecret",
        ),
        (
            database.access_secret if database else "",
            container.ENV_RAG_STORE_SECRET,
            "storage.vectorDB.accessSecret",
        ),
    )
    of_spec = (SecretUse(name, key, f"spec.{path}") for name, key, path in named if name)
    return (*of_spec, *_annotated(engine))


def _annotated(engine: RAGEngine) -> Iterator[SecretUse]:
    reranker, store = (
        labels.RAG_RERANKER_SECRET_ANNOTATION,
        labels.RAG_OBJECT_STORE_SECRET_ANNOTATION,
    )
    url = objectstores.asked(engine) or ""
    for annotation, key, keys in (
        (labels.API_KEY_SECRET_ANNOTATION, "", ()),
        (reranker, container.ENV_RAG_RERANKER_SECRET, ()),
        (store, "", objectstores.keys(url)),
    ):
        name = engine.metadata.annotations.get(annotation, "")
        if name and (url or annotation != store):
            yield SecretUse(name, key, f"annotation {annotation}", keys)


def variables(
    engine: RAGEngine, settings: Settings, chosen: Mapping[str, str] = NOTHING
) -> list[Manifest]:
    """The container's environment, in the names that KAITO's service reads. `chosen`: the data of
    its settings, by value, so that a change of them is one of the pod."""
    return [
        *_plain(
            {
                **_embedding(engine),
                **_llm(engine),
                **_store(engine),
                **_guardrails(engine),
                **dict(sorted(chosen.items())),
            }
        ),
        *_by_reference(engine),
        *_of_models(engine, settings, chosen),
        _field(container.ENV_POD_NAME, "metadata.name"),
        _field(ENV_POD_UID, "metadata.uid"),
    ]


def _embedding(engine: RAGEngine) -> dict[str, str]:
    asked = spec(engine).embedding or EmbeddingSpec()
    if asked.remote is not None:
        return {
            container.ENV_RAG_EMBEDDING_SOURCE: "remote",
            ENV_EMBEDDING_TYPE: "remote",
            container.ENV_RAG_REMOTE_URL: asked.remote.url,
        }
    own = asked.local or LocalEmbedding()
    model = {container.ENV_RAG_LOCAL_MODEL: own.model_id, ENV_MODEL_ID: own.model_id}
    return {
        container.ENV_RAG_EMBEDDING_SOURCE: "local",
        ENV_EMBEDDING_TYPE: "local",
        **(model if own.model_id else {}),
        **({container.ENV_RAG_LOCAL_IMAGE: own.image} if own.image else {}),
    }


def _llm(engine: RAGEngine) -> dict[str, str]:
    asked = spec(engine).inference_service
    if asked is None:
        return {}
    url = {container.ENV_RAG_LLM_URL: asked.url} if asked.url else {}
    return {**url, container.ENV_RAG_LLM_WINDOW: str(asked.context_window_size)}


def _store(engine: RAGEngine) -> dict[str, str]:
    database = (spec(engine).storage or StorageSpec()).external
    directory = f"{mount_path(engine).rstrip('/')}/{engine.metadata.name}"
    snapshots = objectstores.place(engine)
    found = {
        container.ENV_RAG_STORE: database.engine.lower() if database else container.RAG_STORES[0],
        container.ENV_RAG_DIRECTORY: directory,
        **({container.ENV_RAG_OBJECT_STORE: snapshots} if snapshots else {}),
    }
    if database is None:
        return found
    return {
        **found,
        container.ENV_RAG_STORE_URL: database.url,
        container.ENV_RAG_STORE_PREFIX: _prefix(engine),
    }


def _prefix(engine: RAGEngine) -> str:
    """A database is shared by engines of any namespace and embedding model: none of them lists,
    deletes or mistakes another's indexes. Neither name has a dot."""
    meta = engine.metadata
    return f"{container.RAG_STORE_PREFIX}{meta.namespace}.{meta.name}."


def _guardrails(engine: RAGEngine) -> dict[str, str]:
    enabled = guardrails(engine).enabled
    path = {container.ENV_RAG_GUARDRAILS_FILE: container.RAG_GUARDRAILS_FILE} if enabled else {}
    return {container.ENV_RAG_GUARDRAILS: "true" if enabled else "false", **path}


def _by_reference(engine: RAGEngine) -> list[Manifest]:
    """Those that the service reads from its environment; the rest are files, or the hub's."""
    in_environment = {
        container.ENV_RAG_REMOTE_SECRET,
        container.ENV_RAG_LLM_SECRET,
        container.ENV_RAG_STORE_SECRET,
        container.ENV_RAG_RERANKER_SECRET,
    }
    used = secrets(engine)
    return [
        *(_of_secret(each.key, each.name) for each in used if each.key in in_environment),
        *(
            _of_secret(key, each.name, optional=True)
            for each in used
            for key in each.keys  # of which it has some
        ),
    ]


def _of_models(engine: RAGEngine, settings: Settings, chosen: Mapping[str, str]) -> list[Manifest]:
    """What fetching a model needs."""
    own = local(engine)
    if own is None and not ragsettings.fetches_reranker(chosen):
        return []
    own = own or LocalEmbedding()
    return [
        *environment.hub(endpoint=settings.weights.endpoint, token_secret=own.model_access_secret),
        *(environment.registries(settings.insecure_registries) if own.image else ()),
    ]


def _of_secret(key: str, name: str, *, optional: bool = False) -> Manifest:
    reference: Manifest = {"name": name, "key": key}
    if optional:
        reference["optional"] = True
    return {"name": key, "valueFrom": {"secretKeyRef": reference}}


def _plain(found: dict[str, str]) -> list[Manifest]:
    return [{"name": name, "value": value} for name, value in found.items()]


def _field(name: str, path: str) -> Manifest:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
