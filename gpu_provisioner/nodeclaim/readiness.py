"""Whether a claim's node class can be launched from, asked before the cloud is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from apis.karpenter.v1 import conditions
from apis.karpenter.v1.nodeclaim import NodeClaim, NodeClassRef
from cloudproviders.errors import NodeClassNotReadyError
from cloudproviders.nodeclass import NodeClass
from cloudproviders.provider import GroupKind
from gpu_provisioner.nodeclaim.step import Reason
from gpu_provisioner.nodeclass.hash import hash_annotation, version_annotation
from kube.client import Client
from kube.errors import NotFoundError
from kube.meta import Condition, Resource, find_condition
from kube.store import Store


class NodeClasses:
    """Those that are objects. Classes of other kinds are mere names, with nothing to be asked."""

    def __init__(
        self,
        client: Client,
        resources: Iterable[Resource[NodeClass]],
        stores: Mapping[GroupKind, Store[NodeClass]],
    ) -> None:
        self._client = client
        self._resources = {GroupKind(each.group, each.kind): each for each in resources}
        self._stores = stores

    async def of(self, claim: NodeClaim) -> NodeClass | Reason | None:
        """The class, ready; why nobody knows yet; None where the reference is a mere name.

        Raises NodeClassNotReadyError where it is missing, on its way out or not ready.
        """
        ref = claim.spec.node_class_ref
        kind = GroupKind(ref.group, ref.kind)
        if (resource := self._resources.get(kind)) is None:
            return None
        store = self._stores.get(kind)
        found = store.get(ref.name) if store is not None else None
        if found is None:
            try:  # it may be younger than what we have seen
                found = await self._look_up(resource, ref.name)
            except NotFoundError:
                return _unknown(f"there are no node classes {_kind(ref)}: install their CRD")
        if found is None:
            raise NodeClassNotReadyError(
                f"{_named(ref)} does not exist: create it, or refer to one that does"
            )
        return _judged(found, ref)

    async def _look_up(self, resource: Resource[NodeClass], name: str) -> NodeClass | None:
        """By a list, which is refused where the kind is not served; None: it lacks the name."""
        found = await self._client.list(resource, fields=f"metadata.name={name}")
        return next((each for each in found.items if each.metadata.name == name), None)


def stamps(claim: NodeClaim, node_class: NodeClass) -> dict[str, str]:
    """Annotations by which it is found out later that the class has changed since."""
    ref = claim.spec.node_class_ref
    kind = GroupKind(ref.group, ref.kind)
    carried = node_class.metadata.annotations
    return {
        name: carried[name]
        for name in (hash_annotation(kind), version_annotation(kind))
        if name in carried
    }


def _judged(found: NodeClass, ref: NodeClassRef) -> NodeClass | Reason:
    if found.metadata.deletion_timestamp is not None:
        raise NodeClassNotReadyError(f"{_named(ref)} is being deleted: refer to another")
    ready = find_condition(found.status.conditions, conditions.READY)
    if ready is None or ready.status == "Unknown" or _outdated(ready, found):
        return _unknown(f"{_named(ref)} has not been looked at yet")
    if ready.status == "False":
        raise NodeClassNotReadyError(
            f"{_named(ref)} is not ready: {_because(found.status.conditions, ready)}"
        )
    return found


def _because(told: Iterable[Condition], ready: Condition) -> str:
    """The class's own words: of what makes it not ready, or of Ready itself."""
    failed = [each for each in told if each.status == "False" and each.type != ready.type]
    return "; ".join(f"{each.reason}: {each.message}" for each in failed or [ready])


def _outdated(ready: Condition, found: NodeClass) -> bool:
    """Said of an older spec. 0: nobody said of which."""
    return ready.observed_generation not in {0, found.metadata.generation}


def _unknown(message: str) -> Reason:
    return Reason(conditions.NODE_CLASS_READINESS_UNKNOWN, message)


def _kind(ref: NodeClassRef) -> str:
    return f"{ref.kind}.{ref.group}"


def _named(ref: NodeClassRef) -> str:
    return f"node class {ref.name} ({_kind(ref)})"
