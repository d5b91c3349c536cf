"""The first line of a namespace's GPU quota: what is too much is refused before it is stored.

By caches, so that a review costs the API server nothing; two users at once may both be let in by
that, and the second line (`tenancy`) gives nodes to one of them alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from pydantic import ValidationError

from apis.errors import FieldError
from apis.kaito.v1beta1.ragengine import RAGEngine
from apis.kaito.v1beta1.workspace import Workspace
from apis.kaito.validation import quota
from kube.admission import AdmissionRequest
from kube.client import Client
from kube.meta import Manifest
from kube.objects import NAMESPACES
from workspace_controller.quota import Owner, TenantStores

_PATH = "metadata.namespace"
_KINDS: Mapping[str, type[Workspace] | type[RAGEngine]] = {
    "Workspace": Workspace,
    "RAGEngine": RAGEngine,
}
_ASK_BY = ("resource", "inference", "tuning", "spec")
"""The parts of an object that say how many GPUs it wants."""

Configs: TypeAlias = Callable[[str], Mapping[str, str] | None]


class QuotaAdmission:
    """Judges what nothing else is wrong with."""

    def __init__(self, client: Client, stores: TenantStores) -> None:
        self._client = client
        self._stores = stores

    async def refusal(self, request: AdmissionRequest, configs: Configs) -> FieldError | None:
        """Why it may not be stored; None where it may. `configs`: ConfigMaps it was asked about."""
        if not _may_ask_for_more(request):
            return None
        new = _read(request.object)
        old = _read(request.old_object) if request.operation == "UPDATE" else None
        if new is None or new.resource is None:
            return None
        named = new.inference.config if isinstance(new, Workspace) and new.inference else ""
        asked = self._stores.asks(new, configs(named) if named else None)
        before = self._stores.asks(old) if old is not None else 0
        if asked is not None and asked <= (before or 0):
            return None
        if asked is None and old is not None and _same_ask(old, new):
            return None  # nobody can count it, before and after; our own annotations are such
        return await self._judged(request.namespace, new, asked)

    async def _judged(self, namespace: str, new: Owner, asked: int | None) -> FieldError | None:
        annotations = await self._annotations(namespace)
        try:
            account = self._stores.account(namespace, annotations=annotations)
        except quota.QuotaError as error:
            return FieldError(_PATH, str(error))
        if account is None:
            return None
        if asked is None:
            type_ = new.resource.instance_type if new.resource else ""
            return FieldError(_PATH, account.unknown(type_))
        said = account.refuses(new.kind, new.metadata.name, asked)
        return FieldError(_PATH, said) if said else None

    async def _annotations(self, namespace: str) -> Mapping[str, str]:
        """Of a namespace that was made together with the object the cache may not know."""
        known = self._stores.annotations(namespace)
        if known is not None:
            return known
        found = await self._client.get(NAMESPACES, namespace)
        return {} if found is None else found.metadata.annotations


def _may_ask_for_more(request: AdmissionRequest) -> bool:
    """Our own writes to an object never do."""
    if request.subresource or request.deleting or request.object.get("kind") not in _KINDS:
        return False
    if request.operation != "UPDATE":
        return request.operation == "CREATE"
    return _asking(request.object) != _asking(request.old_object)


def _asking(manifest: Manifest) -> tuple[object, ...]:
    annotations = (manifest.get("metadata") or {}).get("annotations")
    return (annotations, *(manifest.get(part) for part in _ASK_BY))


def _same_ask(old: Owner, new: Owner) -> bool:
    if isinstance(old, Workspace) and isinstance(new, Workspace):
        return (old.resource, old.inference, old.tuning) == (
            new.resource,
            new.inference,
            new.tuning,
        )
    return old.resource == new.resource


def _read(manifest: Manifest) -> Owner | None:
    """None where it is shaped like none, which the schema tells; or of an elder version."""
    try:
        return _KINDS[manifest["kind"]].model_validate(manifest)
    except (ValidationError, KeyError):
        return None
