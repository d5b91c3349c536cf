"""Everything that a round knows of the world, looked up once. Pure: a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from apis.karpenter.v1.nodeclaim import NodeClaim
from kube.objects import ConfigMap, Node, Pod, Unstructured


@dataclass(frozen=True, slots=True)
class Observed:
    """The objects that concern one Workspace, as the caches show them at `now`.

    `departed` holds the last state of claims that stood for an ordinal and are gone by now.
    `nodes` holds those that carry the Workspace's labels, those that its claims name and, where
    nodes are brought along, those that the user's labels select.
    """

    now: datetime
    claims: tuple[NodeClaim, ...] = ()
    departed: tuple[NodeClaim, ...] = ()
    nodes: tuple[Node, ...] = ()
    stateful_set: Unstructured | None = None
    services: Mapping[str, Unstructured] = field(default_factory=dict)
    pods: tuple[Pod, ...] = ()
    config: ConfigMap | None = None
