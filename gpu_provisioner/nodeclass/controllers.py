"""The controllers of node classes, one for each kind that the cloud has, and what wakes them."""

from __future__ import annotations

from collections.abc import Iterable

from apis.karpenter.v1.nodeclaim import NodeClaim
from cloudproviders.nodeclass import NodeClass
from cloudproviders.provider import GroupKind
from gpu_provisioner.nodeclass.status import NodeClasses
from gpu_provisioner.shared import Caches, Shared
from kube.controller import Controller, Runnable
from kube.informer import Informer
from kube.meta import Key, Resource

NODE_CLASS = "nodeclass.status"


def controllers(shared: Shared, caches: Caches) -> list[Runnable]:
    """Classes that are not served here are another provisioner's to write on."""
    return [
        _controller(
            shared,
            caches,
            resource,
            caches.node_classes[GroupKind(resource.group, resource.kind)],
        )
        for resource in shared.cloud.node_class_resources
        if shared.managed.node_class(GroupKind(resource.group, resource.kind))
    ]


def _controller(
    shared: Shared,
    caches: Caches,
    resource: Resource[NodeClass],
    informer: Informer[NodeClass],
) -> Controller[NodeClass]:
    name = f"{NODE_CLASS}.{resource.kind.lower()}"
    cloud = shared.metered(name)
    controller = Controller(
        name,
        informer,
        NodeClasses(shared, caches.stores, cloud, resource),
        stirs=_changed,
        backoff=(1.0, 60.0),
        clock=shared.clock,
    )

    def ending_class_of(claim: NodeClaim) -> Iterable[Key]:
        ref = claim.spec.node_class_ref
        if (ref.group, ref.kind) != (resource.group, resource.kind):
            return
        found = informer.store.get(ref.name)
        if found is not None and found.metadata.deletion_timestamp is not None:
            yield found.metadata.key

    controller.watch(caches.claims, ending_class_of)
    return controller


def _changed(old: NodeClass, new: NodeClass) -> bool:
    """The status is our own word; of the rest everything matters."""
    return (
        old.metadata.uid != new.metadata.uid
        or old.metadata.generation != new.metadata.generation
        or old.metadata.deletion_timestamp != new.metadata.deletion_timestamp
        or old.metadata.annotations != new.metadata.annotations
        or old.metadata.finalizers != new.metadata.finalizers
    )
