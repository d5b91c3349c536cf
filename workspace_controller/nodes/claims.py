"""Nodes by NodeClaim: the default. Any Karpenter provider may serve them. Pure.

For every ordinal at most one live claim. Which claim stands for an ordinal is told by the
claim's own annotation; claims that do not have it (of an earlier controller, or made by hand)
fill ordinals that are free, so that nodes which exist are used before new ones are paid for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from apis.kaito.v1beta1 import conditions as c
from apis.karpenter.v1 import conditions as kc
from apis.karpenter.v1.nodeclaim import NODE_CLAIMS, NodeClaim
from cloudproviders.instancetype import InstanceType
from cloudproviders.profile import CloudProfile
from kube import quantity
from kube.meta import Condition
from kube.objects import Node
from workspace_controller import messages
from workspace_controller.manifests import scheduling
from workspace_controller.manifests.nodeclaim import node_claim, owner_labels
from workspace_controller.manifests.scheduling import Reach
from workspace_controller.nodes import attempts, complaints, readiness, shapes, unmanaged
from workspace_controller.nodes.asking import NodeOwner, NodesSeen
from workspace_controller.nodes.attempts import Attempt
from workspace_controller.nodes.provisioner import (
    Holding,
    Need,
    NodeShape,
    selector,
    user_labels,
)
from workspace_controller.plan import Deletion, Plan

Holders: TypeAlias = Mapping[int, NodeClaim]


@dataclass(frozen=True, slots=True)
class ClaimProvisioner:
    """Makes claims in the shape of one cloud, for the instance types of its catalogue."""

    cloud: CloudProfile
    instance_types: Mapping[str, InstanceType]

    def shape(self, owner: NodeOwner, seen: NodesSeen) -> NodeShape | None:
        return shapes.asked_for(owner, self.instance_types)

    def waiting(self, owner: NodeOwner, seen: NodesSeen) -> Plan:
        """Never: the catalogue answers at once."""
        return Plan()

    def reach(self, owner: NodeOwner) -> Reach:
        own = scheduling.labelled({**user_labels(owner), **owner_labels(owner)})
        type_ = shapes.type_asked_for(owner, self.instance_types)
        return Reach((own, *unmanaged.reach_preferred(owner, type_)))

    def holdings(self, owner: NodeOwner) -> tuple[Holding, ...]:
        return (Holding(NODE_CLAIMS, selector(owner_labels(owner))),)

    def release(self, owner: NodeOwner, seen: NodesSeen) -> Plan:
        """The next claims have other names, so they need not wait for the end of these."""
        live = (claim for claim in seen.claims if not claim.deleting)
        return Plan(
            annotations=attempts.given_back(
                owner.metadata.uid,
                owner.metadata.annotations,
                {each.metadata.name for each in seen.claims},
            ),
            delete=tuple(Deletion.of(NODE_CLAIMS, claim) for claim in live),
        )

    def plan(self, owner: NodeOwner, seen: NodesSeen, need: Need) -> Plan:
        """Claims until there are enough, and the conditions of claims and nodes."""
        there = unmanaged.each_once(
            unmanaged.marked(owner, seen, need.shape),
            unmanaged.preferred(owner, seen, need.shape),
        )
        wanted = max(0, need.nodes - len(there))
        holders = _holders(seen.claims)
        memory = _memory(owner, seen, holders)
        due = _due(holders, wanted)
        for ordinal in due:
            memory.setdefault(ordinal, Attempt())
        nodes = (*_claimed_nodes(seen, holders), *there)

        claims_ready = _claims_ready(owner, holders, {each: memory[each] for each in due}, wanted)
        nodes_ready = readiness.nodes_ready(nodes, need.shape, need.nodes)
        resource = readiness.resource_ready((claims_ready, nodes_ready))
        waits = {each: memory[each].wait_seconds(seen.now) for each in due}
        return Plan(
            annotations=attempts.to_store(owner.metadata.annotations, memory),
            delete=_surplus(seen, holders, wanted, need.nodes),
            create=tuple(
                node_claim(
                    owner,
                    need,
                    self.cloud,
                    name=_name(owner, ordinal, memory[ordinal]),
                    ordinal=ordinal,
                )
                for ordinal, seconds in waits.items()
                if seconds <= 0
            ),
            conditions=(claims_ready, nodes_ready, resource),
            worker_nodes=tuple(sorted(node.metadata.name for node in nodes)),
            waits_for=None if resource.status == "True" else resource.reason,
            look_again=min((seconds for seconds in waits.values() if seconds > 0), default=None),
        )


def _name(owner: NodeOwner, ordinal: int, attempt: Attempt) -> str:
    return attempts.claim_name(owner.metadata.uid, ordinal, attempt.number)


def _holders(claims: Sequence[NodeClaim]) -> dict[int, NodeClaim]:
    """Which live claim stands for which ordinal; claims without an ordinal take free ones."""
    live = sorted((claim for claim in claims if not claim.deleting), key=_seniority)
    held: dict[int, NodeClaim] = {}
    homeless: list[NodeClaim] = []
    for claim in live:
        ordinal = _ordinal(claim)
        if ordinal is None or ordinal in held:
            homeless.append(claim)
        else:
            held[ordinal] = claim
    free = (ordinal for ordinal in range(len(live) + len(held)) if ordinal not in held)
    return {**held, **dict(zip(free, homeless, strict=False))}


def _seniority(claim: NodeClaim) -> tuple[bool, str]:
    return (not claim.is_true(kc.READY), claim.metadata.name)


def _ordinal(claim: NodeClaim) -> int | None:
    return quantity.count(claim.metadata.annotations.get(attempts.ORDINAL_ANNOTATION, ""))


def _memory(owner: NodeOwner, seen: NodesSeen, holders: Holders) -> dict[int, Attempt]:
    """What is to be remembered now, of the claims that were seen and of those that were lost."""
    memory = attempts.read(owner.metadata.annotations)
    there = {claim.metadata.name for claim in seen.claims}
    going = {claim.metadata.name: claim for claim in seen.claims if claim.deleting}
    going |= {each.metadata.name: each for each in seen.departed if each.metadata.name not in there}
    for ordinal, claim in holders.items():
        known = memory.get(ordinal, Attempt(number=0))
        memory[ordinal] = known.seen(ready=complaints.is_ready(claim))
    for ordinal in sorted(set(memory) - set(holders)):
        attempt = memory[ordinal]
        leaving = going.get(_name(owner, ordinal, attempt))
        if attempt.made or leaving is not None:
            said = complaints.first([leaving]) if leaving is not None else None
            memory[ordinal] = attempt.lost(
                seen.now,
                reason=said.reason if said else "",
                message=said.message if said else "",
            )
    return memory


def _due(holders: Holders, wanted: int) -> list[int]:
    """The lowest free ordinals, one for each claim that is lacking."""
    lacking = max(0, wanted - len(holders))
    free = [ordinal for ordinal in range(wanted + len(holders)) if ordinal not in holders]
    return free[:lacking]


def _claims_ready(
    owner: NodeOwner, holders: Holders, memory: Mapping[int, Attempt], wanted: int
) -> Condition:
    """NodeClaimReady: enough claims are Ready, or the first real complaint of one that is not."""
    ready = sum(complaints.is_ready(claim) for claim in holders.values())
    said = complaints.first(holders.values()) or _regret(owner, memory)
    return complaints.claims_ready(ready, wanted, said)


def _regret(owner: NodeOwner, memory: Mapping[int, Attempt]) -> Condition | None:
    """Why the claims of earlier attempts went, while the next are on their way."""
    for ordinal in sorted(memory):
        attempt = memory[ordinal]
        if not attempt.losses:
            continue
        gone = attempts.claim_name(owner.metadata.uid, ordinal, attempt.number - 1)
        why = attempt.message or f"NodeClaim {gone} was deleted before it was ready"
        after = f" after {attempt.not_before:%H:%M:%S} UTC" if attempt.not_before else ""
        following = "" if attempt.made else f"; attempt {attempt.number} follows{after}"
        return Condition(
            type=c.NODE_CLAIM_READY,
            status="False",
            reason=attempt.reason or c.REASON_NODE_CLAIM_NOT_READY,
            message=messages.cut(why) + following,
        )
    return None


def _claimed_nodes(seen: NodesSeen, holders: Holders) -> list[Node]:
    named = {claim.status.node_name for claim in holders.values()} - {""}
    return [node for node in seen.nodes if node.metadata.name in named]


def _surplus(seen: NodesSeen, holders: Holders, wanted: int, replicas: int) -> tuple[Deletion, ...]:
    """Claims beyond what is wanted, once the workload has shrunk and left their nodes."""
    extra = len(holders) - wanted
    if extra <= 0 or not unmanaged.has_shrunk(seen.replicated, replicas):
        return ()
    busy = unmanaged.busy(seen.pods)
    idle = [
        (ordinal, claim) for ordinal, claim in holders.items() if claim.status.node_name not in busy
    ]
    idle.sort(key=lambda held: (complaints.is_ready(held[1]), -held[0]))
    return tuple(Deletion.of(NODE_CLAIMS, claim) for _, claim in idle[:extra])
