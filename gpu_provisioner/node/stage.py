"""What a stage of a node's end is, and the words that stages share."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from apis.karpenter.v1.nodeclaim import NODE_CLAIMS, NodeClaim
from gpu_provisioner.events import Events
from kube.objects import NODES, Node


class Outcome(NamedTuple):
    """`wait` in seconds until the stage wants to look again; None when it is done."""

    claim: NodeClaim | None
    wait: float | None = None


class Stage(Protocol):
    """A part of the end of a node. `claim` is None where the node has lost its claim."""

    async def __call__(self, node: Node, claim: NodeClaim | None, /) -> Outcome: ...


def tell(
    recorder: Events, type_: str, reason: str, message: str, node: Node, claim: NodeClaim | None
) -> None:
    """On the Node, and on its claim too: who looks at either sees what is waited for."""
    recorder.event(NODES, node.metadata, type_, reason, message)
    if claim is not None:
        recorder.event(NODE_CLAIMS, claim.metadata, type_, reason, message)
