"""What is watched beside the rest where nodes come by NodePools."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kube.client import Client
from kube.clock import Clock
from kube.informer import Informer
from kube.meta import Resource
from kube.objects import Unstructured
from workspace_controller.manifests.nodepool import POOLS
from workspace_controller.nodes.classes import NodeClasses


def kinds(node_classes: NodeClasses | None) -> tuple[Resource[Unstructured], ...]:
    """What is written where nodes come by pools."""
    return () if node_classes is None else (POOLS, node_classes.resource)


@dataclass(frozen=True)
class PoolInformers:
    """NodePools, and the node classes that they are made from. Either kind may not be served: it
    is somebody else's to install. `classes` is None for a kind of which no object need exist."""

    pools: Informer[Unstructured]
    classes: Informer[Unstructured] | None

    @classmethod
    def of(cls, client: Client, clock: Clock, node_classes: NodeClasses) -> PoolInformers:
        """All pools, not only ours: a name that somebody else has is to be seen."""
        classes = None
        if node_classes.are_objects:
            classes = Informer(client, node_classes.resource, clock=clock, optional=True)
        return cls(Informer(client, POOLS, clock=clock, optional=True), classes)

    def all(self) -> list[Informer[Any]]:
        return [self.pools] if self.classes is None else [self.pools, self.classes]

    def by_name(self) -> Mapping[str, Unstructured] | None:
        """The node classes; None while the cluster does not know their kind."""
        if self.classes is None or not self.classes.served:
            return None
        return {each.metadata.name: each for each in self.classes.store.list()}
