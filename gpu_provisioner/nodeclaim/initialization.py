"""Initialized: the Node can take work, or the first thing that it lacks for it."""

from __future__ import annotations

from apis.kaito.v1beta1.labels import GPU_PRODUCT_LABEL
from apis.karpenter.v1 import conditions, labels
from apis.karpenter.v1.nodeclaim import NodeClaim
from cloudproviders import selection
from cloudproviders.errors import CloudError
from cloudproviders.provider import CloudProvider
from gpu_provisioner import gpus
from gpu_provisioner.nodeclaim.registration import matching
from gpu_provisioner.nodeclaim.step import Progress, Reason, affirmed
from gpu_provisioner.nodes import Nodes
from kube import quantity
from kube.clock import Clock
from kube.objects import Node, Taint
from kube.store import Store
from kube.transport import NETWORK_ERRORS

EPHEMERAL_TAINTS = (
    Taint(key="node.kubernetes.io/not-ready", effect="NoSchedule"),
    Taint(key="node.kubernetes.io/not-ready", effect="NoExecute"),
    Taint(key="node.kubernetes.io/unreachable", effect="NoSchedule"),
    Taint(key="node.cloudprovider.kubernetes.io/uninitialized", effect="NoSchedule", value="true"),
    Taint(key=labels.UNREGISTERED_TAINT, effect="NoExecute"),
)
"""Taints that Kubernetes puts on new nodes and takes off again."""

EPHEMERAL_TAINT_PREFIX = "readiness.k8s.io/"


class Initialization:
    """Beyond Karpenter, the GPUs of the instance type must be there, whether or not anybody has
    asked for them by name: a claim of KAITO's names none, and is of no use without them."""

    def __init__(
        self, cloud: CloudProvider, writes: Nodes, nodes: Store[Node], clock: Clock
    ) -> None:
        self._cloud = cloud
        self._writes = writes
        self._nodes = nodes
        self._clock = clock

    async def __call__(self, claim: NodeClaim, /) -> Progress:
        now = self._clock.now()
        kind = conditions.INITIALIZED
        if claim.condition(kind).status != "Unknown" or not claim.is_true(conditions.REGISTERED):
            return Progress(affirmed(claim, kind, now))
        found = [self._writes.latest(node) for node in matching(claim, self._nodes)]
        if len(found) != 1:
            lacking: Reason | None = Reason(
                conditions.NODE_NOT_FOUND, conditions.NODE_NOT_FOUND_MESSAGE
            )
        else:
            lacking = not_initialized(found[0], claim)
            try:
                lacking = lacking or await self._another_gpu(found[0], claim)
            except (CloudError, *NETWORK_ERRORS) as failed:
                return Progress(claim, failure=failed)
        if lacking is not None:
            return Progress(claim.with_condition(kind, "Unknown", *lacking, now=now))
        await self._label(found[0])
        return Progress(claim.with_condition(kind, "True", now=now))

    async def _another_gpu(self, node: Node, claim: NodeClaim) -> Reason | None:
        """The catalogue is asked only where the node says itself what GPUs it has; what the claim
        brought along was written there by registration."""
        product = node.metadata.labels.get(GPU_PRODUCT_LABEL, "")
        if not product or product == claim.metadata.labels.get(GPU_PRODUCT_LABEL):
            return None
        name = claim.metadata.labels.get(labels.INSTANCE_TYPE_LABEL, "")
        for known in await self._cloud.instance_types():
            if known.name == name and gpus.contradicts(product, known.gpu.model):
                return Reason(
                    conditions.GPU_MODEL_MISMATCH,
                    f"the node has {product}, but instance type {name} has {known.gpu.model}",
                )
        return None

    async def _label(self, node: Node) -> None:
        if node.metadata.labels.get(labels.INITIALIZED_LABEL) == "true":
            return
        await self._writes.patch(node, {"metadata": {"labels": {labels.INITIALIZED_LABEL: "true"}}})


def not_initialized(node: Node, claim: NodeClaim) -> Reason | None:
    """Why the node cannot take work yet, or None."""
    if not node.ready:
        return Reason(conditions.NODE_NOT_READY, conditions.NODE_NOT_READY_MESSAGE)
    if taint := _first_startup_taint(node, claim):
        return Reason(conditions.STARTUP_TAINTS_EXIST, f'StartupTaint "{taint}" still exists')
    if taint := _first_ephemeral_taint(node):
        return Reason(
            conditions.KNOWN_EPHEMERAL_TAINTS_EXIST, f'KnownEphemeralTaint "{taint}" still exists'
        )
    if message := _unregistered(node, claim):
        return Reason(conditions.RESOURCE_NOT_REGISTERED, message)
    return None


def _first_startup_taint(node: Node, claim: NodeClaim) -> Taint | None:
    return next(
        (
            taint
            for taint in node.spec.taints
            if any(startup.matches(taint) for startup in claim.spec.startup_taints)
        ),
        None,
    )


def _first_ephemeral_taint(node: Node) -> Taint | None:
    return next(
        (
            taint
            for taint in node.spec.taints
            if taint.key.startswith(EPHEMERAL_TAINT_PREFIX)
            or any(
                taint.matches(known) and taint.value == known.value for known in EPHEMERAL_TAINTS
            )
        ),
        None,
    )


def _unregistered(node: Node, claim: NodeClaim) -> str:
    """Which resource does not turn up, in Karpenter's words; of GPUs also how many."""
    if short := _missing_gpus(node, claim):
        bought = claim.metadata.labels.get(labels.INSTANCE_TYPE_LABEL, "unknown")
        return (
            f'Resource "{short.resource}" was requested but not registered: Node is Ready, but'
            f" advertises {short} of instance type {bought}: driver or device plugin is missing"
            " or fails"
        )
    if resource := _first_unregistered_resource(node, claim):
        return f'Resource "{resource}" was requested but not registered'
    return ""


def _missing_gpus(node: Node, claim: NodeClaim) -> gpus.Shortage | None:
    """By what the cloud told of the type. Devices that a DRA driver hands out are no resource."""
    if claim.metadata.annotations.get(labels.REQUESTED_DRA_DRIVERS_ANNOTATION):
        return None
    return gpus.shortage(claim.status.capacity, node.status.allocatable)


def _first_unregistered_resource(node: Node, claim: NodeClaim) -> str | None:
    """Of those asked for in an amount above zero; the disk is not a resource of nodes."""
    return next(
        (
            name
            for name, amount in sorted(selection.requests(claim).items())
            if quantity.parse(amount) > 0
            and quantity.parse(node.status.allocatable.get(name, "0")) <= 0
        ),
        None,
    )
