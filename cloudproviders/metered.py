"""Metrics, a log line and a span around each call of a cloud: no provider measures itself.

Names and labels are Karpenter's. The `error` label is the type of the refusal; empty for errors
outside the contract. The line is at level debug, and carries the reconcile ID that the claim came
with, wherever the call is made from.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime

from prometheus_client import Counter, Histogram

from apis.karpenter.v1.nodeclaim import NodeClaim
from apis.karpenter.v1.nodepool import NodePool
from cloudproviders.errors import CloudError, NodeClaimNotFoundError
from cloudproviders.instancetype import InstanceType
from cloudproviders.nodeclass import NodeClass, NodeClassStatus
from cloudproviders.provider import (
    CloudProvider,
    GroupKind,
    Instance,
    Interruption,
    Pending,
    RegistrationHook,
    RepairPolicy,
)
from kube import log, tracing
from kube.meta import Resource
from kube.metrics import REGISTRY
from kube.objects import Node
from kube.origin import Origin

logger = logging.getLogger(__name__)

DURATION_SECONDS = Histogram(
    "karpenter_cloudprovider_duration_seconds",
    "How long calls of the cloud provider take",
    ["controller", "method", "provider"],
    registry=REGISTRY,
)
ERRORS = Counter(
    "karpenter_cloudprovider_errors",
    "Calls of the cloud provider that failed",
    ["controller", "method", "provider", "error"],
    registry=REGISTRY,
)


class MeteredProvider:
    """A cloud that counts and times its calls on behalf of one controller."""

    def __init__(self, cloud: CloudProvider, controller: str) -> None:
        self._cloud = cloud
        self._controller = controller

    @property
    def name(self) -> str:
        return self._cloud.name

    @property
    def node_classes(self) -> Sequence[GroupKind]:
        return self._cloud.node_classes

    @property
    def repair_policies(self) -> Sequence[RepairPolicy]:
        return self._cloud.repair_policies

    @property
    def node_class_resources(self) -> Sequence[Resource[NodeClass]]:
        return self._cloud.node_class_resources

    @property
    def registration_hooks(self) -> Sequence[RegistrationHook]:
        return self._cloud.registration_hooks

    async def create(self, claim: NodeClaim, /) -> Instance | Pending:
        with self._measured("Create", claim):
            return await self._cloud.create(claim)

    async def delete(self, claim: NodeClaim, /) -> None:
        with self._measured("Delete", claim):
            await self._cloud.delete(claim)

    async def get(self, provider_id: str, /) -> Instance:
        with self._measured("Get"):
            return await self._cloud.get(provider_id)

    async def list(self) -> Sequence[Instance]:
        with self._measured("List"):
            return await self._cloud.list()

    async def instance_types(self, pool: NodePool | None = None, /) -> Sequence[InstanceType]:
        with self._measured("GetInstanceTypes"):
            return await self._cloud.instance_types(pool)

    async def is_drifted(self, claim: NodeClaim, /) -> str:
        with self._measured("IsDrifted", claim):
            return await self._cloud.is_drifted(claim)

    def claim_of(self, node: Node, /) -> str:
        return self._cloud.claim_of(node)

    async def resolve(self, node_class: NodeClass, /) -> NodeClassStatus:
        with self._measured("Resolve"):
            return await self._cloud.resolve(node_class)

    def interruptions(self) -> AsyncIterator[Interruption]:
        return self._cloud.interruptions()

    def interrupted(self, node: Node, now: datetime, /) -> Interruption | None:
        return self._cloud.interrupted(node, now)

    async def close(self) -> None:
        await self._cloud.close()

    @contextmanager
    def _measured(self, method: str, claim: NodeClaim | None = None) -> Iterator[None]:
        called = (self._controller, method, self._cloud.name)
        start = time.perf_counter()
        error: str | None = ""
        result = "ok"
        with ExitStack() as told:
            self._announce(told, method, claim)
            try:
                yield
                error = None
            except CloudError as refused:
                error = result = type(refused).__name__
                raise
            except BaseException as failed:
                result = type(failed).__name__
                raise
            finally:
                seconds = time.perf_counter() - start
                DURATION_SECONDS.labels(*called).observe(seconds)
                if error is not None:
                    ERRORS.labels(*called, error).inc()
                _write(self._cloud.name, method, claim, seconds, result)

    def _announce(self, told: ExitStack, method: str, claim: NodeClaim | None) -> None:
        """The reconcile ID on all lines, also the provider's own, and a span around them."""
        attributes = {"cloud.provider": self._cloud.name, "controller": self._controller}
        if claim is not None:
            attributes["nodeclaim"] = claim.metadata.name
            told.enter_context(log.context(**Origin.of(claim.metadata).fields))
        told.enter_context(
            tracing.call(
                f"cloud {method}",
                attributes,
                matters=method in _CHANGING,
                expected=(NodeClaimNotFoundError,),
            )
        )


_CHANGING = frozenset({"Create", "Delete"})


def _write(
    provider: str, method: str, claim: NodeClaim | None, seconds: float, result: str
) -> None:
    extra: dict[str, object] = {"method": method, "seconds": round(seconds, 3), "result": result}
    about = ""
    if claim is not None:
        extra["nodeclaim"] = claim.metadata.name
        about = f" for {claim.metadata.name}"
    logger.debug("cloud call %s.%s%s: %s", provider, method, about, result, extra=extra)
