"""What an edit brings about, beside the roll of the pod: told once, when it is applied. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from apis import container
from kube.apply import holds
from kube.meta import Manifest
from workspace_controller.manifests.ragvolumes import INDEXES
from workspace_controller.plan import Event

_EMBEDDING = (
    container.ENV_RAG_EMBEDDING_SOURCE,
    container.ENV_RAG_LOCAL_MODEL,
    container.ENV_RAG_LOCAL_IMAGE,
    container.ENV_RAG_REMOTE_URL,
    "REMOTE_EMBEDDING_MODEL",
)
_STORE = (container.ENV_RAG_STORE, container.ENV_RAG_STORE_URL)


def events(before: Manifest, after: Manifest, gap: str) -> tuple[Event, ...]:
    """Of what is there, and what is applied to it; `gap`: why no second pod comes up beside."""
    old, new = _template(before), _template(after)
    return tuple(_events(old, new, gap)) if _rolls(old, new) else ()


def _rolls(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether the pod becomes another; what is there has the API server's defaults besides, and an
    emptyDir says nothing that every volume does not hold."""
    fewer = _environment(before).keys() - _environment(after).keys()
    fewer |= _volumes(before).keys() - _volumes(after).keys()
    moved = _where(before) != _where(after)
    return bool(fewer) or moved or not holds(before, after)


def _events(before: Mapping[str, Any], after: Mapping[str, Any], gap: str) -> Iterator[Event]:
    old, new = _environment(before), _environment(after)
    kept, keeps = _where(before), _where(after)
    if _of(old, _EMBEDDING) != _of(new, _EMBEDDING):
        yield _embedded(new, kept == keeps and keeps != _IN_POD)
    if kept != keeps:
        yield Event(
            "Warning", "StorageChanged", f"indexes stay in {kept}; {keeps} starts with its own"
        )
    elif keeps == _IN_POD:
        yield Event(
            "Warning",
            "IndexesNotKept",
            "indexes end with the pod that is replaced: spec.storage names nothing to keep them",
        )
    if gap:
        yield Event(
            "Warning",
            "ServiceGap",
            f"nothing answers until the next pod is ready: {gap}, so no second one comes up",
        )


_IN_POD = "the pod's own disk"


def _embedded(environment: Mapping[str, Any], stays: bool) -> Event:
    """`stays`: the next pod finds the indexes of the one before."""
    if not stays:
        return Event("Normal", "EmbeddingChanged", "another model embeds")
    if not _in_files(environment):
        return Event(
            "Warning",
            "EmbeddingChanged",
            "another model embeds: every index in the database refuses it until it is deleted and "
            "its documents are put again, or the model is set back",
        )
    return Event(
        "Normal",
        "EmbeddingChanged",
        "another model embeds: the next pod embeds all indexes anew before it answers",
    )


def _in_files(environment: Mapping[str, Any]) -> bool:
    return bool(environment.get(container.ENV_RAG_STORE, "faiss") == container.RAG_STORES[0])


def _where(template: Mapping[str, Any]) -> str:
    """What keeps the indexes, in words."""
    environment = _environment(template)
    if not _in_files(environment):
        return " ".join(str(environment.get(name, "")) for name in _STORE)
    claim = (_volumes(template).get(INDEXES) or {}).get("persistentVolumeClaim") or {}
    if not claim:
        return str(environment.get(container.ENV_RAG_OBJECT_STORE) or _IN_POD)
    directory = environment.get(container.ENV_RAG_DIRECTORY, "")
    return f"{directory} of PersistentVolumeClaim {claim.get('claimName', '')}"


def _template(deployment: Manifest) -> Mapping[str, Any]:
    spec: Mapping[str, Any] = deployment.get("spec", {}).get("template", {}).get("spec", {})
    return spec


def _environment(template: Mapping[str, Any]) -> dict[str, Any]:
    containers = template.get("containers") or [{}]
    return {each["name"]: each.get("value") for each in containers[0].get("env") or ()}


def _volumes(template: Mapping[str, Any]) -> dict[str, Any]:
    return {each["name"]: each for each in template.get("volumes") or ()}


def _of(environment: Mapping[str, Any], names: tuple[str, ...]) -> list[Any]:
    return [environment.get(name) for name in names]
