"""Whether the class that a pool refers to can be launched from. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from apis.karpenter.v1 import conditions as c
from apis.karpenter.v1.nodepool import NodePool
from apis.model import condition_or_unknown
from cloudproviders.nodeclass import NodeClass
from cloudproviders.provider import GroupKind
from gpu_provisioner.nodepool.said import YES, Said
from kube.store import Store


def node_class_ready(pool: NodePool, node_classes: Mapping[GroupKind, Store[NodeClass]]) -> Said:
    """The class's own word, relayed. A kind that is a mere name, as KaitoNodeClass, is ready."""
    ref = pool.spec.template.spec.node_class_ref
    known = node_classes.get(GroupKind(ref.group, ref.kind))
    if known is None:
        return YES
    found = known.get(ref.name)
    if found is None:
        return Said("False", c.NODE_CLASS_NOT_FOUND, f"{ref.kind} {ref.name} does not exist")
    if found.metadata.deletion_timestamp is not None:
        return Said("False", c.NODE_CLASS_TERMINATING, f"{ref.kind} {ref.name} is being deleted")
    ready = condition_or_unknown(found.status.conditions, c.READY)
    stale = 0 < ready.observed_generation < found.metadata.generation
    if ready.status == "Unknown" or stale:
        return Said(
            "False",
            c.NODE_CLASS_READINESS_UNKNOWN,
            ready.message or f"{ref.kind} {ref.name} has not been looked at yet",
        )
    if ready.status == "False":
        return Said("False", ready.reason, f"{ready.message}{_details(found)}")
    return YES


def _details(node_class: NodeClass) -> str:
    """What its Ready only sums up: who looks at the pool should not have to look further."""
    told = "; ".join(
        f"{each.reason}: {each.message}"
        for each in node_class.status.conditions
        if each.status == "False" and each.type != c.READY and each.message
    )
    return f" ({told})" if told else ""
