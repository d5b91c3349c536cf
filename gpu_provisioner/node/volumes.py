"""VolumesDetached: no volume is lost to its next pod with the machine that it hangs on."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from apis.karpenter.v1 import conditions
from apis.karpenter.v1.nodeclaim import NodeClaim
from gpu_provisioner import deadline, events
from gpu_provisioner.indexes import NODE_NAME
from gpu_provisioner.node import drain, stage
from gpu_provisioner.node.stage import Outcome
from gpu_provisioner.nodeclaim.claims import Claims
from gpu_provisioner.settings import Timings
from kube.client import Client
from kube.clock import Clock
from kube.meta import Status
from kube.objects import PERSISTENT_VOLUME_CLAIMS, Node, Pod, VolumeAttachment
from kube.store import Store


class VolumeDetachment:
    """Waits for the node's attachments, less those of pods that stay until the end."""

    def __init__(
        self,
        client: Client,
        claims: Claims,
        attachments: Store[VolumeAttachment],
        pods: Store[Pod],
        recorder: events.Events,
        timings: Timings,
        clock: Clock,
    ) -> None:
        self._client = client
        self._claims = claims
        self._attachments = attachments
        self._pods = pods
        self._recorder = recorder
        self._timings = timings
        self._clock = clock

    async def __call__(self, node: Node, claim: NodeClaim | None, /) -> Outcome:
        now = self._clock.now()
        attached = await self._attached(node.metadata.name, now)
        if not attached:
            return Outcome(await self._tell(claim, "True"))
        ends = deadline.of(claim)
        if ends is not None and now >= ends:
            reason = conditions.TERMINATION_GRACE_PERIOD_ELAPSED
            return Outcome(await self._tell(claim, "False", reason))
        message = f"Awaiting deletion of bound volumeattachments ({', '.join(sorted(attached))})"
        reason = events.AWAITING_VOLUME_DETACHMENT
        stage.tell(self._recorder, events.NORMAL, reason, message, node, claim)
        told = await self._tell(claim, "Unknown", conditions.AWAITING_VOLUME_DETACHMENT)
        return Outcome(told, self._timings.drain_poll)

    async def _tell(
        self, claim: NodeClaim | None, status: Status, reason: str = ""
    ) -> NodeClaim | None:
        if claim is None:
            return None
        told = claim.with_condition(
            conditions.VOLUMES_DETACHED, status, reason, now=self._clock.now()
        )
        return await self._claims.tell(claim, told)

    async def _attached(self, node: str, now: datetime) -> list[str]:
        """The names of the attachments to wait for."""
        found = self._attachments.by_index(NODE_NAME, node)
        if not found:
            return []
        staying = [
            pod
            for pod in self._pods.by_index(NODE_NAME, node)
            if not drain.drainable(pod, now) and not drain.terminal(pod)
        ]
        kept = {await self._volume(namespace, name) for namespace, name in _claimed(staying)}
        kept.discard("")
        return [
            attachment.metadata.name
            for attachment in found
            if attachment.spec.source.persistent_volume_name not in kept
        ]

    async def _volume(self, namespace: str, claim: str) -> str:
        found = await self._client.get(PERSISTENT_VOLUME_CLAIMS, claim, namespace)
        return found.spec.volume_name if found else ""


def _claimed(pods: Iterable[Pod]) -> Iterable[tuple[str, str]]:
    """Namespace and name of the pods' volume claims; one of an `ephemeral` volume is named for
    pod and volume."""
    for pod in pods:
        for volume in pod.spec.volumes:
            if volume.persistent_volume_claim is not None:
                yield pod.metadata.namespace, volume.persistent_volume_claim.claim_name
            elif volume.ephemeral is not None:
                yield pod.metadata.namespace, f"{pod.metadata.name}-{volume.name}"
