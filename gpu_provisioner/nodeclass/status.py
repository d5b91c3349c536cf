"""Node classes: looked up in the cloud, judged, stamped, and held while claims refer to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from apis.karpenter.v1 import conditions as c
from apis.karpenter.v1.arithmetic import settled
from cloudproviders.errors import CloudError
from cloudproviders.nodeclass import NodeClass, NodeClassStatus
from cloudproviders.provider import CloudProvider, GroupKind
from gpu_provisioner import events
from gpu_provisioner.indexes import CLASS, class_key
from gpu_provisioner.lock import behind, locked
from gpu_provisioner.nodeclass.hash import HASH_VERSION, hash_annotation
from gpu_provisioner.shared import Shared, Stores
from gpu_provisioner.stamp import Stamp
from kube.apply import merge_patch
from kube.controller import Result
from kube.errors import KubeError, NotFoundError
from kube.meta import Condition, Manifest, ObjectMeta, Resource
from kube.objects import Unstructured
from kube.transport import NETWORK_ERRORS

HELD_SECONDS = 10 * 60.0
"""Until a class that claims refer to is looked at again; the end of the last one wakes us."""
_NAMED = 5
"""Claims that an event names."""


class NodeClasses:
    """Those of one kind. The cloud finds out, this writes: only what has changed."""

    def __init__(
        self, shared: Shared, stores: Stores, cloud: CloudProvider, resource: Resource[NodeClass]
    ) -> None:
        self._client = shared.client
        self._claims = shared.claims
        self._cloud = cloud
        self._stores = stores
        self._recorder = shared.recorder
        self._timings = shared.timings
        self._clock = shared.clock
        self._resource = resource
        self._whole = Resource(
            resource.group,
            resource.version,
            resource.kind,
            resource.plural,
            Unstructured,
            resource.namespaced,
        )
        self._kind = GroupKind(resource.group, resource.kind)
        self._finalizer = f"{resource.group}/termination"

    async def reconcile(self, node_class: NodeClass, /) -> Result:
        if node_class.metadata.deletion_timestamp is not None:
            return await self._end(node_class)
        metadata = await self._held(node_class.metadata)
        try:
            found = await self._cloud.resolve(node_class)
        except (CloudError, KubeError, *NETWORK_ERRORS) as failed:
            await self._unresolved(metadata, failed)
            raise
        await self._stamp(metadata, found)
        await self._write(metadata.name, metadata.generation, found)
        return Result(self._timings.node_class)

    async def _end(self, node_class: NodeClass) -> Result:
        """A machine without its class could neither be judged nor made again."""
        metadata = node_class.metadata
        if self._finalizer not in metadata.finalizers:
            return Result()
        key = class_key(self._kind.group, self._kind.kind, metadata.name)
        users = sorted(claim.metadata.name for claim in self._stores.claims.by_index(CLASS, key))
        if users:
            named = ", ".join(users[:_NAMED]) + (", …" if len(users) > _NAMED else "")
            self._event(
                metadata,
                events.WAITING_ON_NODE_CLAIMS,
                f"{len(users)} NodeClaims refer to it: {named}",
            )
            return Result(HELD_SECONDS)
        kept = [each for each in metadata.finalizers if each != self._finalizer]
        await self._patch(metadata, {"metadata": {"finalizers": kept}})
        return Result()

    async def _held(self, metadata: ObjectMeta) -> ObjectMeta:
        if self._finalizer in metadata.finalizers:
            return metadata
        finalizers = [*metadata.finalizers, self._finalizer]
        return (await self._patch(metadata, {"metadata": {"finalizers": finalizers}})).metadata

    async def _stamp(self, metadata: ObjectMeta, found: NodeClassStatus) -> None:
        """The class first: until its claims follow, versions differ, and nothing drifts."""
        if not found.hash:
            return
        stamp = Stamp(hash_annotation(self._kind), found.hash, HASH_VERSION)
        if not stamp.on(metadata):
            await self._patch(metadata, {"metadata": {"annotations": stamp.annotations}})
        key = class_key(self._kind.group, self._kind.kind, metadata.name)
        for claim in self._stores.claims.by_index(CLASS, key):
            if claim.is_true(c.LAUNCHED) and not claim.deleting:
                await self._claims.save(claim, stamp.renewed(claim))

    async def _write(self, name: str, generation: int, found: NodeClassStatus) -> None:
        """Compared with the whole of what stands there, which the cache does not keep."""
        live = await self._client.get(self._whole, name)
        if live is None or live.metadata.generation != generation:
            return  # its change brings us back
        after = {**live.status, **_plain(found.fields), **self._conditions(live, found)}
        if told := merge_patch(live.status, after):
            await self._patch(live.metadata, {"status": told}, subresource="status")

    async def _unresolved(self, metadata: ObjectMeta, failed: Exception) -> None:
        """What was found out before still holds; only a class never judged is told so."""
        self._event(metadata, events.NODE_CLASS_NOT_RESOLVED, str(failed))
        live = await self._client.get(self._whole, metadata.name)
        if live is None or live.status.get("conditions"):
            return
        said = Condition(
            type=c.READY,
            status="Unknown",
            reason=events.NODE_CLASS_NOT_RESOLVED,
            message=str(failed),
        )
        conditions = settled(live.metadata, (), [said], (), self._clock.now())
        await self._patch(live.metadata, {"status": _listed(conditions)}, subresource="status")

    def _conditions(self, live: Unstructured, found: NodeClassStatus) -> Manifest:
        """The cloud's, and Ready as their sum. Those of somebody before us go."""
        kinds = tuple(each.type for each in found.conditions)
        kept = tuple(
            each
            for each in msgspec.convert(live.status.get("conditions", []), list[Condition])
            if each.type in kinds or each.type == c.READY
        )
        new = [
            Condition(type=each.type, status=each.status, reason=each.reason, message=each.message)
            for each in found.conditions
        ] or [Condition(type=c.READY, status="True")]
        return _listed(settled(live.metadata, kept, new, kinds, self._clock.now()))

    async def _patch(
        self, metadata: ObjectMeta, patch: Manifest, *, subresource: str = ""
    ) -> NodeClass:
        try:
            return await self._client.patch(
                self._resource, metadata.name, locked(metadata, patch), subresource=subresource
            )
        except NotFoundError as gone:
            raise behind(gone) from gone

    def _event(self, metadata: ObjectMeta, reason: str, message: str) -> None:
        self._recorder.event(self._resource, metadata, events.WARNING, reason, message)


def _listed(conditions: tuple[Condition, ...]) -> Manifest:
    return {"conditions": msgspec.to_builtins(list(conditions))}


def _plain(fields: Mapping[str, Any]) -> Manifest:
    """As JSON has it, to be compared with what came as JSON."""
    plain: Manifest = msgspec.json.decode(msgspec.json.encode(dict(fields)))
    return plain
