"""Registered: a Node has joined for the claim and carries what the claim says of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from apis.karpenter.v1 import conditions, labels
from apis.karpenter.v1.nodeclaim import NodeClaim
from cloudproviders.provider import RegistrationHook
from gpu_provisioner import events, metrics
from gpu_provisioner.indexes import NODE_PROVIDER_ID
from gpu_provisioner.nodeclaim.step import Progress, affirmed
from gpu_provisioner.nodepool.registrationhealth import RegistrationHealth
from gpu_provisioner.nodes import Nodes
from kube.apply import merge_patch
from kube.clock import Clock
from kube.meta import Manifest, OwnerReference
from kube.objects import NODES, Node, Taint
from kube.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooked:
    """What the cloud's hooks said together. `pending`: the names of those that hold the node."""

    pending: Sequence[str] = ()
    look_again: float | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    failures: Sequence[Exception] = ()

    @property
    def failure(self) -> Exception | None:
        if len(self.failures) > 1:
            return ExceptionGroup("registration hooks", self.failures)
        return self.failures[0] if self.failures else None


class Registration:
    """Matches by provider id, asks the cloud's hooks, syncs once, then lets pods in."""

    def __init__(
        self,
        writes: Nodes,
        nodes: Store[Node],
        health: RegistrationHealth,
        recorder: events.Events,
        clock: Clock,
        hooks: Sequence[RegistrationHook] = (),
    ) -> None:
        self._writes = writes
        self._nodes = nodes
        self._health = health
        self._recorder = recorder
        self._clock = clock
        self._hooks = hooks

    async def __call__(self, claim: NodeClaim, /) -> Progress:
        now = self._clock.now()
        kind = conditions.REGISTERED
        if claim.condition(kind).status != "Unknown":
            return Progress(affirmed(claim, kind, now))
        found = matching(claim, self._nodes)
        if not found:
            reason, message = conditions.NODE_NOT_FOUND, conditions.NODE_NOT_FOUND_MESSAGE
            return Progress(claim.with_condition(kind, "Unknown", reason, message, now=now))
        if len(found) > 1:
            reason, message = (
                conditions.MULTIPLE_NODES_FOUND,
                conditions.MULTIPLE_NODES_MESSAGE,
            )
            return Progress(claim.with_condition(kind, "False", reason, message, now=now))
        node = self._writes.latest(found[0])
        hooked = await hook(claim, node, self._hooks)
        claim = _labelled(claim, hooked.labels)
        if hooked.pending:
            reason, message = conditions.REGISTRATION_HOOK_PENDING, ", ".join(hooked.pending)
            held = claim.with_condition(kind, "Unknown", reason, message, now=now)
            return Progress(held, look_again=hooked.look_again, failure=hooked.failure)
        await self._register(node, claim)
        self._health.record(claim)
        status = claim.status.model_copy(update={"node_name": node.metadata.name})
        named = claim.model_copy(update={"status": status})
        return Progress(named.with_condition(kind, "True", now=now))

    async def _register(self, node: Node, claim: NodeClaim) -> None:
        if registered(node):  # before a crash, which lost only the claim's status
            return
        if not any(taint.key == labels.UNREGISTERED_TAINT for taint in node.spec.taints):
            self._recorder.event(
                NODES,
                node.metadata,
                events.WARNING,
                events.UNREGISTERED_TAINT_MISSING,
                f"Node came without taint {labels.UNREGISTERED_TAINT}; pods may have landed"
                " before its labels and taints were in place",
            )
        await self._writes.patch(node, sync(node, claim))
        metrics.NODES_CREATED.labels(
            metrics.nodepool(claim.metadata), metrics.zone(claim.metadata)
        ).inc()


async def hook(claim: NodeClaim, node: Node, hooks: Sequence[RegistrationHook]) -> Hooked:
    """Ask them all at once. One that fails holds the node, and keeps no other from its say."""
    answers = await asyncio.gather(*(each(claim, node) for each in hooks), return_exceptions=True)
    pending, waits, failures = [], [], []
    labels_: dict[str, str] = {}
    for each, answer in zip(hooks, answers, strict=True):
        if isinstance(answer, Mapping):
            labels_.update(answer)
        elif answer is not None:
            pending.append(getattr(each, "__name__", type(each).__name__))
            if isinstance(answer, Exception):
                failures.append(answer)
            elif isinstance(answer, BaseException):
                raise answer
            else:
                waits.append(answer)
    return Hooked(
        pending=pending, look_again=min(waits, default=None), labels=labels_, failures=failures
    )


def _labelled(claim: NodeClaim, added: Mapping[str, str]) -> NodeClaim:
    if added.items() <= claim.metadata.labels.items():
        return claim
    metadata = msgspec.structs.replace(claim.metadata, labels={**claim.metadata.labels, **added})
    return claim.model_copy(update={"metadata": metadata})


def matching(claim: NodeClaim, nodes: Store[Node]) -> list[Node]:
    """The Nodes of the claim's instance that are not on their way out."""
    provider_id = claim.status.provider_id
    if not provider_id:
        return []
    return [
        node
        for node in nodes.by_index(NODE_PROVIDER_ID, provider_id)
        if node.metadata.deletion_timestamp is None
    ]


def registered(node: Node) -> bool:
    return node.metadata.labels.get(labels.REGISTERED_LABEL) == "true"


def sync(node: Node, claim: NodeClaim) -> Manifest:
    """The patch by which the Node becomes the claim's."""
    before, after = node.metadata, node.metadata
    after = msgspec.structs.replace(
        after,
        labels={**before.labels, **claim.metadata.labels, labels.REGISTERED_LABEL: "true"},
        annotations={**before.annotations, **claim.metadata.annotations},
        finalizers=tuple(dict.fromkeys((*before.finalizers, labels.TERMINATION_FINALIZER))),
        owner_references=_owners(before.owner_references, claim),
    )
    metadata = merge_patch(msgspec.to_builtins(before), msgspec.to_builtins(after))
    patch: Manifest = {"metadata": metadata}
    taints = _taints(node, claim)
    if taints != node.spec.taints:
        patch["spec"] = {"taints": msgspec.to_builtins(taints)}
    return patch


def _owners(owners: tuple[OwnerReference, ...], claim: NodeClaim) -> tuple[OwnerReference, ...]:
    if any(owner.uid == claim.metadata.uid for owner in owners):
        return owners
    owner = OwnerReference(
        api_version="karpenter.sh/v1",
        kind="NodeClaim",
        name=claim.metadata.name,
        uid=claim.metadata.uid,
        block_owner_deletion=True,
    )
    return (*owners, owner)


def _taints(node: Node, claim: NodeClaim) -> tuple[Taint, ...]:
    """The Node's own first; of the claim's those that it lacks; no longer unregistered."""
    kept = [taint for taint in node.spec.taints if taint.key != labels.UNREGISTERED_TAINT]
    if node.metadata.labels.get(labels.DO_NOT_SYNC_TAINTS_LABEL) == "true":
        return tuple(kept)
    for wanted in _claimed(claim):
        if not any(taint.matches(wanted) for taint in kept):
            kept.append(wanted)
    return tuple(kept)


def _claimed(claim: NodeClaim) -> Iterable[Taint]:
    for taint in (*claim.spec.taints, *claim.spec.startup_taints):
        yield Taint(key=taint.key, value=taint.value, effect=taint.effect)
