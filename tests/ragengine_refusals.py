"""What RAGEngine's CRD alone refuses, rule by rule, as `refusals` has it for Workspaces."""

from __future__ import annotations

from typing import Any

from apis.kaito import messages as m
from apis.kaito import ragmessages as r
from kube.meta import Manifest
from tests.refusals import _ABSENT, Refusal, changed

ASKING: Manifest = {
    "apiVersion": "kaito.sh/v1beta1",
    "kind": "RAGEngine",
    "metadata": {"name": "rag", "namespace": "default"},
    "spec": {
        "compute": {"count": 1, "labelSelector": {"matchLabels": {"apps": "rag"}}},
        "storage": {
            "persistentVolume": {"persistentVolumeClaim": "indexes", "mountPath": "/mnt/data"}
        },
        "embedding": {"local": {"modelID": "BAAI/bge-small-en-v1.5"}},
        "inferenceService": {
            "url": "http://phi-4/v1/chat/completions",
            "accessSecret": "key",
            "contextWindowSize": 16384,
        },
    },
}


def engine(**fields: Any) -> Manifest:
    """With the fields of `spec` at these paths, `__` for a dot, set or taken away."""
    paths = {f"spec.{path.replace('__', '.')}": value for path, value in fields.items()}
    return changed(ASKING, paths)


def embedding(**local: Any) -> Manifest:
    return engine(embedding={"local": local})


def storage(**fields: Any) -> Manifest:
    return engine(storage=fields)


def database(**fields: Any) -> Manifest:
    asked = {"engine": "qdrant", "url": "http://qdrant:6333", **fields}
    return storage(vectorDB=asked)


def volume(**fields: Any) -> Manifest:
    return storage(persistentVolume={"persistentVolumeClaim": "indexes", **fields})


def selecting(**labels: str) -> Manifest:
    return engine(compute__labelSelector={"matchLabels": labels})


def named(name: str) -> Manifest:
    return changed(ASKING, {"metadata.name": name})


_LOCAL = "spec.embedding.local"
_MODEL = f"{_LOCAL}.modelID"
_SERVICE = "spec.inferenceService"
_VOLUME = "spec.storage.persistentVolume"
_DATABASE = "spec.storage.vectorDB"
_COMPUTE = "spec.compute"
_SELECTOR = f"{_COMPUTE}.labelSelector"
_PARTITION = f"{_COMPUTE}.partition"
_HALF = {"mode": "accelerator", "count": 1}
_REMOTE = {"url": "https://api.openai.com/v1/embeddings"}

CREATED: tuple[Refusal, ...] = (
    Refusal("rag name", "digit first", named("1rag"), "metadata.name", r.NAME),
    Refusal("rag name", "dot", named("rag.a"), "metadata.name", r.NAME),
    Refusal("rag name", "long", named("a" * 64), "metadata.name", r.NAME),
    Refusal("R-1", "no spec", changed(ASKING, {"spec": _ABSENT}), "spec", r.SPEC),
    Refusal("R-1", "no embedding", engine(embedding=_ABSENT), "spec.embedding", r.EMBEDDING),
    Refusal("R-1", "neither", engine(embedding={}), "spec.embedding", r.ONE_EMBEDDING),
    Refusal("R-1", "both", engine(embedding__remote=_REMOTE), "spec.embedding", r.ONE_EMBEDDING),
    Refusal("R-2", "neither", embedding(), _LOCAL, r.ONE_LOCAL),
    Refusal("R-2", "empty", embedding(modelID=""), _LOCAL, r.ONE_LOCAL),
    Refusal("R-2", "both", embedding(modelID="a/b", image="a/b:1"), _LOCAL, r.ONE_LOCAL),
    Refusal("R-2", "image", embedding(image="A/B:1"), f"{_LOCAL}.image", m.IMAGE),
    Refusal("R-2", "long image", embedding(image="a" * 256), f"{_LOCAL}.image", m.IMAGE_LENGTH),
    Refusal("rag model", "no owner", embedding(modelID="all-MiniLM-L6-v2"), _MODEL, r.MODEL_ID),
    Refusal("rag model", "steps", embedding(modelID="./models/bge"), _MODEL, r.MODEL_ID),
    Refusal("rag model", "path", embedding(modelID="/models/bge"), _MODEL, r.MODEL_PATH),
    Refusal(
        "R-3",
        "path",
        engine(inferenceService__url="/v1/chat/completions"),
        f"{_SERVICE}.url",
        r.URL,
    ),
    Refusal(
        "R-3",
        "placeholder",
        engine(inferenceService__url="<inference-url>/v1/completions"),
        f"{_SERVICE}.url",
        r.URL,
    ),
    Refusal(
        "R-3",
        "password",
        engine(inferenceService__url="https://user:secret@example.com/v1"),
        f"{_SERVICE}.url",
        r.URL,
    ),
    Refusal("R-3", "blank", engine(inferenceService__url="http://a/ b"), f"{_SERVICE}.url", r.URL),
    Refusal(
        "R-3",
        "no embedder",
        engine(embedding={"remote": {"url": ""}}),
        "spec.embedding.remote.url",
        r.URL,
    ),
    Refusal(
        "R-3",
        "scheme",
        engine(embedding={"remote": {"url": "grpc://embedder:80"}}),
        "spec.embedding.remote.url",
        r.URL,
    ),
    Refusal(
        "R-4",
        "zero",
        engine(inferenceService__contextWindowSize=0),
        f"{_SERVICE}.contextWindowSize",
        r.CONTEXT_WINDOW,
    ),
    Refusal(
        "R-5",
        "Exists",
        engine(compute__labelSelector={"matchExpressions": [{"key": "a", "operator": "Exists"}]}),
        f"{_SELECTOR}.matchExpressions[0]",
        m.SELECTOR_PLAIN,
    ),
    Refusal(
        "R-5",
        "all reserved",
        selecting(**{"kaito.sh/ragengine": "other"}),
        _SELECTOR,
        m.SELECTOR_RESERVED,
    ),
    Refusal(
        "rag partition",
        "count",
        engine(compute__partition={"mode": "mig", "profile": "1g.10gb", "count": 1}),
        f"{_PARTITION}.count",
        m.MIG_COUNT,
    ),
    Refusal(
        "rag partition",
        "no profile",
        engine(compute__partition={"mode": "mig"}),
        f"{_PARTITION}.profile",
        m.MIG_PROFILE,
    ),
    Refusal(
        "rag partition",
        "profile",
        engine(compute__partition={**_HALF, "profile": "1g.10gb"}),
        f"{_PARTITION}.profile",
        m.ACCELERATOR_PROFILE,
    ),
    Refusal(
        "rag partition",
        "no count",
        engine(compute__partition={"mode": "accelerator"}),
        f"{_PARTITION}.count",
        m.ACCELERATOR_COUNT,
    ),
    Refusal(
        "R-6",
        "no name",
        engine(guardrails={"enabled": True, "configMapRef": {"name": ""}}),
        "spec.guardrails.configMapRef.name",
        r.CONFIG_MAP,
    ),
    Refusal(
        "rag volume",
        "no claim",
        volume(persistentVolumeClaim=""),
        f"{_VOLUME}.persistentVolumeClaim",
        r.CLAIM,
    ),
    Refusal(
        "rag volume",
        "odd claim",
        storage(persistentVolumeClaim="Mine"),
        "spec.storage.persistentVolumeClaim",
        r.CLAIM,
    ),
    Refusal(
        "rag volume", "relative", volume(mountPath="data"), f"{_VOLUME}.mountPath", r.MOUNT_PATH
    ),
    Refusal(
        "rag volume", "dots", volume(mountPath="/mnt/../etc"), f"{_VOLUME}.mountPath", r.MOUNT_PATH
    ),
    Refusal(
        "rag volume", "colon", volume(mountPath="/mnt/a:b"), f"{_VOLUME}.mountPath", r.MOUNT_PATH
    ),
    Refusal("rag volume", "root", volume(mountPath="/"), f"{_VOLUME}.mountPath", r.OWN_PATH),
    Refusal("rag volume", "etc", volume(mountPath="/etc/rag"), f"{_VOLUME}.mountPath", r.OWN_PATH),
    Refusal("rag volume", "run", volume(mountPath="/var/run/"), f"{_VOLUME}.mountPath", r.OWN_PATH),
    Refusal("rag volume", "code", volume(mountPath="/app"), f"{_VOLUME}.mountPath", r.OWN_PATH),
    Refusal(
        "rag volume",
        "flat",
        storage(persistentVolumeClaim="indexes", mountPath="/tmp/x"),
        "spec.storage.mountPath",
        r.OWN_PATH,
    ),
    Refusal(
        "rag volume",
        "two claims",
        storage(persistentVolumeClaim="one", persistentVolume={"persistentVolumeClaim": "other"}),
        "spec.storage.persistentVolumeClaim",
        r.ONE_VOLUME,
    ),
    Refusal(
        "rag volume",
        "two paths",
        storage(
            persistentVolumeClaim="one",
            mountPath="/mnt/a",
            persistentVolume={"persistentVolumeClaim": "one", "mountPath": "/mnt/b"},
        ),
        "spec.storage.persistentVolumeClaim",
        r.ONE_VOLUME,
    ),
    Refusal("rag database", "engine", database(engine="milvus"), f"{_DATABASE}.engine", r.ENGINE),
    Refusal("rag database", "no scheme", database(url="qdrant:6333"), f"{_DATABASE}.url", r.URL),
    Refusal(
        "rag database", "upper case", database(engine="Qdrant", url=""), f"{_DATABASE}.url", r.URL
    ),
    Refusal(
        "rag secret",
        "database",
        database(accessSecret="Sk-Key"),
        f"{_DATABASE}.accessSecret",
        r.SECRET,
    ),
    Refusal(
        "rag secret",
        "token",
        embedding(modelID="a/b", modelAccessSecret="hf_AbCdEf"),
        f"{_LOCAL}.modelAccessSecret",
        r.SECRET,
    ),
    Refusal(
        "rag secret",
        "pull",
        embedding(image="a/b:1", imagePullSecret="a_b"),
        f"{_LOCAL}.imagePullSecret",
        r.SECRET,
    ),
    Refusal(
        "rag secret",
        "remote",
        engine(embedding={"remote": {**_REMOTE, "accessSecret": "sk-Ab"}}),
        "spec.embedding.remote.accessSecret",
        r.SECRET,
    ),
    Refusal(
        "rag secret",
        "model",
        engine(inferenceService__accessSecret="sk-Ab"),
        f"{_SERVICE}.accessSecret",
        r.SECRET,
    ),
)

UPDATED: tuple[Refusal, ...] = (
    Refusal("R-1", "spec gone", changed(ASKING, {"spec": _ABSENT}), "spec", r.SPEC, ASKING),
    Refusal("R-1", "gone", engine(embedding=_ABSENT), "spec.embedding", r.EMBEDDING, ASKING),
    Refusal("R-2", "changed", embedding(modelID="a/b", image="a/b:1"), _LOCAL, r.ONE_LOCAL, ASKING),
    Refusal(
        "R-3",
        "changed",
        engine(inferenceService__url="phi-4"),
        f"{_SERVICE}.url",
        r.URL,
        ASKING,
    ),
    Refusal("R-7", "count", engine(compute__count=2), f"{_COMPUTE}.count", m.KEPT, ASKING),
    Refusal("R-7", "gone", engine(compute=_ABSENT), _COMPUTE, m.PRESENCE_KEPT, ASKING),
    Refusal("R-7", "added", ASKING, _COMPUTE, m.PRESENCE_KEPT, engine(compute=_ABSENT)),
    Refusal("R-7", "selector", selecting(apps="other"), _SELECTOR, m.KEPT, ASKING),
    Refusal(
        "R-7",
        "partition added",
        engine(compute__partition=_HALF),
        _PARTITION,
        m.PRESENCE_KEPT,
        ASKING,
    ),
    Refusal(
        "R-7",
        "partition",
        engine(compute__partition={**_HALF, "count": 2}),
        _PARTITION,
        m.KEPT,
        engine(compute__partition=_HALF),
    ),
)

REFUSALS = (*CREATED, *UPDATED)
