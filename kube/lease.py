"""Leader election on a coordination.k8s.io/v1 Lease, as client-go does it.

A holder is believed for `duration` seconds after *we* saw it renew: clocks of other machines are
never compared with ours. A holder that cannot renew within `renew_deadline` must stop at once, for
a standby takes over at `duration`; hence LeaseLostError, upon which all that acts is cancelled.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from kube import metrics
from kube.client import Client
from kube.clock import Clock
from kube.errors import AlreadyExistsError, ConflictError, KubeError
from kube.meta import Manifest
from kube.objects import LEASES, LeaseSpec
from kube.objects import Lease as LeaseObject
from kube.transport import NETWORK_ERRORS

logger = logging.getLogger(__name__)

_JITTER = 0.5
"""client-go has 1.2: a standby that looks that seldom may learn of the last renewal 4.4 s late, and
so take over 20 s after it. Ours does within 18."""
_SPREAD_SECONDS = 0.2


class LeaseLostError(Exception):
    """Somebody else may lead now: nothing more must be done."""


class Lease:
    """The lease `namespace`/`name`, for `identity`, which must be unique to this process.

    `duration`, `renew_deadline`, `retry`: seconds.
    """

    def __init__(
        self,
        client: Client,
        name: str,
        namespace: str,
        identity: str,
        clock: Clock | None = None,
        *,
        duration: float = 15.0,
        renew_deadline: float = 10.0,
        retry: float = 2.0,
    ) -> None:
        self._client = client
        self._name = name
        self._namespace = namespace
        self._identity = identity
        self._clock = clock or Clock()
        self._duration = duration
        self._renew_deadline = renew_deadline
        self._retry = retry
        self._seen: LeaseSpec | None = None
        self._seen_at = 0.0
        self._renewed_at = 0.0
        self._holding = False
        metrics.LEADER.labels(name).set(0)

    @property
    def holding(self) -> bool:
        return self._holding

    async def acquire(self) -> None:
        """Return once the lease is ours."""
        while not await self._try():
            await self._clock.sleep(self._pause())
        self._holding = True
        metrics.LEADER.labels(self._name).set(1)
        logger.info("%s leads: lease %s/%s", self._identity, self._namespace, self._name)

    def _pause(self) -> float:
        """Until the next look, which is no later than the end of the holder's time."""
        pause = self._retry * (1 + random.random() * _JITTER)  # noqa: S311
        if self._seen is None or not self._is_held(self._seen):
            return pause
        ends = self._ends(self._seen) - self._clock.monotonic()
        return min(pause, ends + random.random() * _SPREAD_SECONDS)  # noqa: S311

    async def hold(self) -> None:
        """Renew until cancelled; raise LeaseLostError where that failed for too long."""
        while True:
            await self._clock.sleep(min(self._retry, self._left()))
            if await self._try():
                continue
            taken = self._seen is not None and self._seen.holder_identity != self._identity
            if taken or self._left() <= 0:
                self._dropped()
                raise LeaseLostError(f"{self._identity} lost lease {self._namespace}/{self._name}")

    async def release(self) -> None:
        """Give the lease up, so that a standby need not wait; where that fails, it expires."""
        if not self._holding:
            return
        self._dropped()
        with suppress(KubeError, *NETWORK_ERRORS):
            async with asyncio.timeout(self._renew_deadline / 2):
                while not await self._vacate():
                    pass  # a renewal that was cancelled here still reached the server

    async def _vacate(self) -> bool:
        """False where the lease changed under our hands."""
        live = await self._client.get(LEASES, self._name, self._namespace)
        if live is None or live.spec.holder_identity != self._identity:
            return True
        now = _micro_time(self._clock.now())
        spec = {
            "holderIdentity": "",
            "leaseDurationSeconds": 1,
            "renewTime": now,
            "acquireTime": now,
        }
        try:
            await self._write(live, spec)
        except ConflictError:
            return False
        return True

    def _dropped(self) -> None:
        self._holding = False
        metrics.LEADER.labels(self._name).set(0)

    async def _try(self) -> bool:
        """Take or renew the lease; False where it is another's or the server did not answer."""
        started = self._clock.monotonic()
        try:
            # Not longer than is left to renew: the client's own retries are more patient.
            async with asyncio.timeout(self._patience()):
                taken = await self._take()
        except (ConflictError, AlreadyExistsError):
            return False  # somebody was faster
        except (KubeError, ValueError, *NETWORK_ERRORS) as error:
            logger.warning(
                "lease %s/%s: %s: %s", self._namespace, self._name, type(error).__name__, error
            )
            return False
        if taken:
            self._renewed_at = started
        return taken

    def _left(self) -> float:
        """Seconds in which a renewal still counts."""
        return self._renewed_at + self._renew_deadline - self._clock.monotonic()

    def _patience(self) -> float:
        return max(0.1, self._left()) if self._holding else self._renew_deadline

    async def _take(self) -> bool:
        live = await self._client.get(LEASES, self._name, self._namespace)
        if live is None:
            await self._create()
            return True
        if live.spec != self._seen:
            self._seen, self._seen_at = live.spec, self._clock.monotonic()
        ours = live.spec.holder_identity == self._identity
        if not ours and self._is_held(live.spec):
            return False
        now = _micro_time(self._clock.now())
        spec: dict[str, Any] = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": round(self._duration),
            "renewTime": now,
        }
        if not ours:
            spec["acquireTime"] = now
            spec["leaseTransitions"] = (live.spec.lease_transitions or 0) + 1
        await self._write(live, spec)
        return True

    def _is_held(self, spec: LeaseSpec) -> bool:
        """By somebody whose time is not over."""
        return bool(spec.holder_identity) and self._clock.monotonic() < self._ends(spec)

    def _ends(self, spec: LeaseSpec) -> float:
        """When a holder that renews no more is believed no longer, by our clock."""
        return self._seen_at + (spec.lease_duration_seconds or self._duration)

    async def _create(self) -> None:
        now = _micro_time(self._clock.now())
        manifest: Manifest = {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": {
                "holderIdentity": self._identity,
                "leaseDurationSeconds": round(self._duration),
                "acquireTime": now,
                "renewTime": now,
                "leaseTransitions": 0,
            },
        }
        await self._client.create(manifest)

    async def _write(self, live: LeaseObject, spec: Mapping[str, Any]) -> None:
        patch = {
            "metadata": {"resourceVersion": live.metadata.resource_version},
            "spec": dict(spec),
        }
        written = await self._client.patch(LEASES, self._name, patch, namespace=self._namespace)
        self._seen, self._seen_at = written.spec, self._clock.monotonic()


def _micro_time(at: datetime) -> str:
    """metav1.MicroTime."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
