"""Nodes by NodeClaim: the default. Any Karpenter provider may serve them. Pure.

For every ordinal at most one live claim. Which claim stands for an ordinal is told by the
claim's own annotation; claims that do not have it (of an earlier controller, or made by hand)
fill ordinals that are free, so that nodes which exist are used before new ones are paid for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from apis.gpu import NO_GPU
from apis.kaito.v1beta1 import conditions as c
from apis.kaito.v1beta1.workspace import Workspace
from apis.karpenter.v1 import conditions as kc
from apis.karpenter.v1.labels import NODEPOOL_LABEL, REGISTERED_LABEL, UNREGISTERED_TAINT
from apis.karpenter.v1.nodeclaim import NodeClaim
from cloudproviders.instancetype import InstanceType
from cloudproviders.profile import CloudProfile
from kube.meta import Condition
from kube.objects import Node, Unstructured
from workspace_controller.errors import UserError
from workspace_controller.manifests.nodeclaim import node_claim, owner_labels
from workspace_controller.nodes import attempts, readiness
from workspace_controller.nodes.attempts import Attempt
from workspace_controller.nodes.provisioner import Need, NodeShape, user_labels
from workspace_controller.plan import Deletion, Plan
from workspace_controller.workspace.observed import Observed

Holders: TypeAlias = Mapping[int, NodeClaim]

_LONGEST_MESSAGE = 256
_STAGES = (kc.LAUNCHED, kc.REGISTERED, kc.INITIALIZED)


@dataclass(frozen=True, slots=True)
class ClaimProvisioner:
    """Makes claims in the shape of one cloud, for the instance types of its catalogue."""

    cloud: CloudProfile
    instance_types: Mapping[str, InstanceType]

    def shape(self, workspace: Workspace, seen: Observed) -> NodeShape:
        """From the catalogue. A type that it does not have may be asked for where nothing must
        be estimated, for the user's own pod template; else UserError."""
        asked = workspace.resource.instance_type if workspace.resource else ""
        found = self.instance_types.get(asked)
        if found is None and workspace.inference and workspace.inference.template is not None:
            return NodeShape(instance_type=asked, gpu=NO_GPU)
        if found is None:
            raise UserError(
                c.RESOURCE_READY,
                "InvalidInstanceType",
                f'resource.instanceType: "{asked}" is not in the catalogue, so nobody knows '
                "whether the preset fits; choose another, or serve with a template",
            )
        return NodeShape(
            instance_type=found.name, gpu=found.gpu, cpus=found.cpus, memory_gib=found.memory_gib
        )

    def waiting(self, workspace: Workspace, seen: Observed) -> Plan:
        """Never: the catalogue answers at once."""
        return Plan()

    def node_labels(self, workspace: Workspace) -> dict[str, str]:
        return {**user_labels(workspace), **owner_labels(workspace)}

    def plan(self, workspace: Workspace, seen: Observed, need: Need) -> Plan:
        """Claims until there are enough, and the conditions of claims and nodes."""
        standing = _standing_nodes(workspace, seen, need.shape)
        wanted = max(0, need.nodes - len(standing))
        holders = _holders(seen.claims)
        memory = _memory(workspace, seen, holders)
        due = _due(holders, wanted)
        for ordinal in due:
            memory.setdefault(ordinal, Attempt())
        nodes = (*_claimed_nodes(seen, holders), *standing)

        claims_ready = _claims_ready(
            workspace, holders, {each: memory[each] for each in due}, wanted
        )
        nodes_ready = readiness.nodes_ready(nodes, need.shape, need.nodes)
        resource = readiness.resource_ready((claims_ready, nodes_ready))
        waits = {each: memory[each].wait_seconds(seen.now) for each in due}
        return Plan(
            annotations=attempts.to_store(workspace.metadata.annotations, memory),
            delete=_surplus(seen, holders, wanted, need.nodes),
            create=tuple(
                node_claim(
                    workspace,
                    need,
                    self.cloud,
                    name=_name(workspace, ordinal, memory[ordinal]),
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


def _name(workspace: Workspace, ordinal: int, attempt: Attempt) -> str:
    return attempts.claim_name(workspace.metadata.uid, ordinal, attempt.number)


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
    text = claim.metadata.annotations.get(attempts.ORDINAL_ANNOTATION, "")
    return int(text) if text.isascii() and text.isdigit() else None


def _memory(workspace: Workspace, seen: Observed, holders: Holders) -> dict[int, Attempt]:
    """What is to be remembered now, of the claims that were seen and of those that were lost."""
    memory = attempts.read(workspace.metadata.annotations)
    there = {claim.metadata.name for claim in seen.claims}
    going = {claim.metadata.name: claim for claim in seen.claims if claim.deleting}
    going |= {each.metadata.name: each for each in seen.departed if each.metadata.name not in there}
    for ordinal, claim in holders.items():
        known = memory.get(ordinal, Attempt(number=0))
        memory[ordinal] = known.seen(ready=_is_ready(claim))
    for ordinal in sorted(set(memory) - set(holders)):
        attempt = memory[ordinal]
        leaving = going.get(_name(workspace, ordinal, attempt))
        if attempt.made or leaving is not None:
            said = _complaint([leaving]) if leaving is not None else None
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


def _is_ready(claim: NodeClaim) -> bool:
    """Ready; providers that write no conditions at all say it by naming the node."""
    if any(condition.type == kc.READY for condition in claim.status.conditions):
        return claim.is_true(kc.READY)
    return bool(claim.status.node_name)


def _claims_ready(
    workspace: Workspace, holders: Holders, memory: Mapping[int, Attempt], wanted: int
) -> Condition:
    """NodeClaimReady: enough claims are Ready, or the first real complaint of one that is not."""
    ready = sum(_is_ready(claim) for claim in holders.values())
    if ready >= wanted:
        return Condition(
            type=c.NODE_CLAIM_READY,
            status="True",
            reason=c.REASON_NODE_CLAIMS_READY,
            message="Enough NodeClaims are ready",
        )
    count = f"{ready} of {wanted} NodeClaims are ready"
    said = _complaint(list(holders.values())) or _regret(workspace, memory)
    return Condition(
        type=c.NODE_CLAIM_READY,
        status="False",
        reason=said.reason if said else c.REASON_NODE_CLAIM_NOT_READY,
        message=said.message if said else count,
    )


def _complaint(claims: Sequence[NodeClaim]) -> Condition | None:
    """The first stage that a claim has not passed, in its own words; a word that only says
    that nobody has looked yet is no complaint."""
    for claim in sorted(claims, key=lambda claim: claim.metadata.name):
        for stage in _STAGES:
            condition = claim.condition(stage)
            if condition.status == "True":
                continue
            if condition.message and condition.reason != kc.AWAITING_RECONCILIATION:
                return Condition(
                    type=stage,
                    status="False",
                    reason=condition.reason or c.REASON_NODE_CLAIM_NOT_READY,
                    message=_cut(condition.message),
                )
            break
    return None


def _regret(workspace: Workspace, memory: Mapping[int, Attempt]) -> Condition | None:
    """Why the claims of earlier attempts went, while the next are on their way."""
    for ordinal in sorted(memory):
        attempt = memory[ordinal]
        if not attempt.losses:
            continue
        gone = attempts.claim_name(workspace.metadata.uid, ordinal, attempt.number - 1)
        why = attempt.message or f"NodeClaim {gone} was deleted before it was ready"
        after = f" after {attempt.not_before:%H:%M:%S} UTC" if attempt.not_before else ""
        following = "" if attempt.made else f"; attempt {attempt.number} follows{after}"
        return Condition(
            type=c.NODE_CLAIM_READY,
            status="False",
            reason=attempt.reason or c.REASON_NODE_CLAIM_NOT_READY,
            message=_cut(why) + following,
        )
    return None


def _cut(message: str) -> str:
    return message if len(message) <= _LONGEST_MESSAGE else message[:_LONGEST_MESSAGE] + "..."


def _claimed_nodes(seen: Observed, holders: Holders) -> list[Node]:
    named = {claim.status.node_name for claim in holders.values()} - {""}
    return [node for node in seen.nodes if node.metadata.name in named]


def _standing_nodes(workspace: Workspace, seen: Observed, shape: NodeShape) -> list[Node]:
    """Nodes that carry the Workspace's labels and that no claim has brought: they are there, so
    they need not be asked for, and one that is not ready just now is waited for, not replaced at
    a price. A node on its way in or out through a claim is not among them."""
    claimed = {claim.status.node_name for claim in seen.claims}
    wanted = {**user_labels(workspace), **owner_labels(workspace)}
    return [
        node
        for node in seen.nodes
        if node.metadata.name not in claimed
        and wanted.items() <= node.metadata.labels.items()
        and not node.metadata.labels.keys() & {REGISTERED_LABEL, NODEPOOL_LABEL}
        and all(taint.key != UNREGISTERED_TAINT for taint in node.spec.taints)
        and readiness.is_of_type(node, shape.instance_type)
        and node.metadata.deletion_timestamp is None
        and not _may_be_awaited(node, seen.claims)
    ]


def _may_be_awaited(node: Node, claims: Sequence[NodeClaim]) -> bool:
    """Whether a claim may have brought the node and not said so yet: one that names no node and
    is older. Providers that put no unregistered taint on their machines leave this moment open,
    and to count the node twice in it would delete the very claim that it came from."""
    born = node.metadata.creation_timestamp
    return any(
        not claim.status.node_name
        and (claim.status.provider_id in {"", node.spec.provider_id})
        and (born is None or (claim.metadata.creation_timestamp or born) <= born)
        for claim in claims
    )


def _surplus(seen: Observed, holders: Holders, wanted: int, replicas: int) -> tuple[Deletion, ...]:
    """Claims beyond what is wanted, once the workload has shrunk and left their nodes."""
    extra = len(holders) - wanted
    if extra <= 0 or not _settled(seen.stateful_set, replicas):
        return ()
    busy = {pod.spec.node_name for pod in seen.pods} - {""}
    idle = [
        (ordinal, claim) for ordinal, claim in holders.items() if claim.status.node_name not in busy
    ]
    idle.sort(key=lambda held: (_is_ready(held[1]), -held[0]))
    return tuple(Deletion(claim.metadata.name, claim.metadata.uid) for _, claim in idle[:extra])


def _settled(stateful_set: Unstructured | None, replicas: int) -> bool:
    if stateful_set is None:
        return True
    status = stateful_set.status
    return bool(
        stateful_set.spec.get("replicas") == replicas
        and status.get("readyReplicas", 0) == replicas
        and status.get("replicas", 0) == replicas
    )
