"""lastPodEventTime: when a pod last came to the claim's node, or left it."""

from __future__ import annotations

from datetime import datetime

from apis.karpenter.v1.conditions import LAUNCHED
from apis.karpenter.v1.nodeclaim import NodeClaim
from gpu_provisioner.node.drain import terminal
from gpu_provisioner.shared import Caches, Shared
from kube.controller import Controller, Result
from kube.meta import Key
from kube.objects import Pod
from kube.workqueue import WorkQueue

NAME = "nodeclaim.podevents"


class PodEvents:
    """Listens, unlike other controllers: a pod that has left leaves nothing to look at. What
    happens while nobody runs is not told; of several within ten seconds only the first is."""

    def __init__(self, shared: Shared, caches: Caches) -> None:
        self.name = NAME
        self._pods = caches.pods
        self._nodes = caches.nodes
        self._stores = caches.stores
        self._claims = shared.claims
        self._pause = shared.timings.pod_events
        self._clock = shared.clock
        self._happened: dict[Key, datetime] = {}
        self._listening = False
        self._controller = Controller(
            NAME, caches.claims, self, concerns=self._concerns, clock=shared.clock
        )

    @property
    def queue(self) -> WorkQueue[Key]:
        """For those who look at what waits."""
        return self._controller.queue

    async def run(self) -> None:
        """Until `stop`. Only what comes after the first look at everything is news."""
        await self._pods.synced.wait()
        await self._nodes.synced.wait()
        if not self._listening:
            self._listening = True
            self._pods.subscribe(self.changed)
        await self._controller.run()

    def stop(self) -> None:
        self._controller.stop()

    def changed(self, old: Pod | None, new: Pod | None) -> None:
        """What the informer of pods says."""
        if (pod := new or old) is None or not _news(old, new):
            return
        node = self._stores.nodes.get(pod.spec.node_name)
        for key in self._stores.claims_of(node) if node else ():
            self._happened[key] = self._clock.now()
            self._controller.queue.add(key)

    async def reconcile(self, claim: NodeClaim, /) -> Result:
        claim = self._claims.latest(claim)
        happened = self._happened[claim.metadata.key]
        last = claim.status.last_pod_event_time
        if last is None or (happened - last).total_seconds() >= self._pause:
            told = claim.status.model_copy(
                update={"last_pod_event_time": happened.replace(microsecond=0)}
            )
            await self._claims.tell(claim, claim.model_copy(update={"status": told}))
        if self._happened.get(claim.metadata.key) == happened:
            del self._happened[claim.metadata.key]
        return Result()

    def _concerns(self, claim: NodeClaim) -> bool:
        if claim.deleting or not claim.is_true(LAUNCHED):
            self._happened.pop(claim.metadata.key, None)
            return False
        return claim.metadata.key in self._happened


def _news(old: Pod | None, new: Pod | None) -> bool:
    """It came, went, began to go, or ended. Daemons come and go with the node itself."""
    pod = new or old
    if pod is None or any(owner.kind == "DaemonSet" for owner in pod.metadata.owner_references):
        return False
    if old is None or new is None:
        return True
    ending = new.metadata.deletion_timestamp is not None and old.metadata.deletion_timestamp is None
    return ending or (terminal(new) and not terminal(old))
