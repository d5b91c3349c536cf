"""RAGEngine (kaito.sh/v1beta1, the storage version): a retrieval service, and what it runs on."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field, WithJsonSchema

from apis import container
from apis.kaito import ragschema, schema
from apis.kaito.v1beta1.workspace import ResourceSpec
from apis.model import ApiModel, ApiObject, ConditionField, Schema, condition_or_unknown
from kube.meta import Condition, Resource

DEFAULT_CONTEXT_WINDOW = 64_000
"""As KAITO's service has it. Its first releases had no such field, the later ones require it."""


class PersistentVolume(ApiModel):
    """A claim of the same namespace that keeps the indexes."""

    persistent_volume_claim: Annotated[str, Schema(ragschema.CLAIM)]
    """Its name."""
    mount_path: Annotated[str, Schema(ragschema.MOUNT_PATH)] = ""
    """Where it is mounted; /mnt/data where nothing is said."""


class VectorDB(ApiModel):
    """A vector database that keeps the indexes."""

    model_config = ConfigDict(json_schema_extra=ragschema.VECTOR_DB)

    engine: Annotated[str, Schema(ragschema.ENGINE)]
    """faiss, which is no database but files in the pod, or qdrant; in any case of letters."""
    url: Annotated[str, Schema(ragschema.DATABASE_URL)]
    """Where it answers; not looked at with faiss."""
    access_secret: Annotated[str, Schema(ragschema.SECRET)] = ""
    """A Secret of the same namespace, whose key VECTOR_DB_ACCESS_SECRET is the database's key."""


class StorageSpec(ApiModel):
    """What keeps the indexes; without it they end with the pod."""

    model_config = ConfigDict(json_schema_extra=ragschema.STORAGE)

    persistent_volume: PersistentVolume | None = None
    """A claim of the same namespace."""
    vector_db: VectorDB | None = Field(default=None, alias="vectorDB")
    """A vector database."""
    persistent_volume_claim: Annotated[str, Schema(ragschema.FLAT_CLAIM)] = ""
    """The form of v1alpha1; the webhook writes the same into persistentVolume."""
    mount_path: Annotated[str, Schema(ragschema.MOUNT_PATH)] = ""
    """The form of v1alpha1, with persistentVolumeClaim beside it."""

    @property
    def volume(self) -> PersistentVolume | None:
        """The claim in whichever form: a webhook that is switched off has not copied it."""
        if self.persistent_volume is not None or not self.persistent_volume_claim:
            return self.persistent_volume
        return PersistentVolume(
            persistent_volume_claim=self.persistent_volume_claim, mount_path=self.mount_path
        )

    @property
    def external(self) -> VectorDB | None:
        """The database that keeps the indexes outside the pod."""
        database = self.vector_db
        kept = database is not None and database.engine.lower() != container.RAG_STORES[0]
        return database if kept else None


class LocalEmbedding(ApiModel):
    """A model that the pod runs itself."""

    model_config = ConfigDict(json_schema_extra=ragschema.LOCAL)

    image: Annotated[str, Schema(schema.IMAGE)] = ""
    """An image that holds the model under /data or at its root."""
    image_pull_secret: Annotated[str, Schema(ragschema.SECRET)] = ""
    """A Secret of the same namespace to pull the image with."""
    model_id: Annotated[str, Schema(ragschema.MODEL_ID)] = Field(default="", alias="modelID")
    """A model of Hugging Face, as owner/model."""
    model_access_secret: Annotated[str, Schema(ragschema.SECRET)] = ""
    """A Secret of the same namespace, whose key HF_TOKEN opens gated models."""


class RemoteEmbedding(ApiModel):
    """A service that embeds."""

    url: Annotated[str, Schema(ragschema.URL)]
    """Where it answers: an OpenAI-compatible /v1/embeddings, or KAITO's own form."""
    access_secret: Annotated[str, Schema(ragschema.SECRET)] = ""
    """A Secret of the same namespace, whose key REMOTE_EMBEDDING_ACCESS_SECRET opens it."""


class EmbeddingSpec(ApiModel):
    """What turns text into vectors: one of local, remote."""

    model_config = ConfigDict(json_schema_extra=ragschema.EMBEDDING)

    local: LocalEmbedding | None = None
    """A model that the pod runs itself."""
    remote: RemoteEmbedding | None = None
    """A service that embeds."""


class InferenceService(ApiModel):
    """The model that answers."""

    url: Annotated[str, Schema(ragschema.OPTIONAL_URL)] = ""
    """Its OpenAI-compatible chat endpoint; empty for retrieval alone."""
    access_secret: Annotated[str, Schema(ragschema.SECRET)] = ""
    """A Secret of the same namespace, whose key LLM_ACCESS_SECRET opens it."""
    context_window_size: Annotated[int, Schema(ragschema.CONTEXT_WINDOW)] = DEFAULT_CONTEXT_WINDOW
    """Tokens that prompt and answer have together; 64000 where nothing is said."""


class ConfigMapRef(ApiModel):
    """A ConfigMap of the same namespace."""

    name: Annotated[str, Schema(ragschema.CONFIG_MAP)]
    """Its name."""


class Guardrails(ApiModel):
    """What the model may not say."""

    enabled: bool = False
    """Whether answers are looked at."""
    config_map_ref: ConfigMapRef | None = None
    """The policy, under the key guardrails.yaml; the release's own where nothing is said."""


class RAGEngineSpec(ApiModel):
    """What is asked for."""

    model_config = ConfigDict(json_schema_extra=ragschema.SPEC)

    compute: ResourceSpec | None = None
    """Its node; without it the pod runs wherever there is room."""
    storage: StorageSpec | None = None
    """What keeps the indexes."""
    embedding: EmbeddingSpec | None = None
    """What turns text into vectors."""
    inference_service: InferenceService | None = None
    """The model that answers; without it there is retrieval alone."""
    guardrails: Guardrails | None = None
    """What the model may not say."""
    query_service_name: Annotated[str, Schema(schema.OBJECT_NAME)] = ""
    """Of v1alpha1, without effect: the Service is named after the object."""
    index_service_name: Annotated[str, Schema(schema.OBJECT_NAME)] = ""
    """Of v1alpha1, without effect: the Service is named after the object."""


class RAGEngineStatus(ApiModel):
    """What became of it."""

    worker_nodes: tuple[str, ...] = ()
    """The node that runs the service."""
    conditions: tuple[Annotated[ConditionField, WithJsonSchema(schema.CONDITION)], ...] = ()
    state: str = ""
    """Pending, Ready or NotReady."""
    endpoint: str = ""
    """Where it answers inside the cluster."""


class RAGEngine(ApiObject):
    """A retrieval service over documents of one's own."""

    model_config = ConfigDict(json_schema_extra=ragschema.RAG_ENGINE)

    api_version: str = "kaito.sh/v1beta1"
    kind: str = "RAGEngine"
    spec: RAGEngineSpec | None = None
    """What is asked for."""
    status: RAGEngineStatus = RAGEngineStatus()

    @property
    def resource(self) -> ResourceSpec | None:
        """Its compute, as a Workspace has it; one node, whatever the count says."""
        asked = self.spec.compute if self.spec else None
        return None if asked is None else asked.model_copy(update={"count": 1})

    def condition(self, kind: str) -> Condition:
        """The condition; Unknown, AwaitingReconciliation where it was never set."""
        return condition_or_unknown(self.status.conditions, kind)


RAG_ENGINES = Resource("kaito.sh", "v1beta1", "RAGEngine", "ragengines", RAGEngine)
