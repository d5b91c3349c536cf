"""What runs: the controllers of every part."""

from __future__ import annotations

from gpu_provisioner import nodemetrics
from gpu_provisioner.node import controllers as node
from gpu_provisioner.nodeclaim import controllers as nodeclaim
from gpu_provisioner.nodeclaim import disruption, upkeep
from gpu_provisioner.nodeclass import controllers as nodeclass
from gpu_provisioner.nodepool import controllers as nodepool
from gpu_provisioner.shared import Caches, Shared
from kube.controller import Runnable


def controllers(shared: Shared, caches: Caches) -> list[Runnable]:
    """All of them, over these caches; and what the one that leads tells Prometheus."""
    return [
        *(
            runnable
            for part in (nodeclaim, upkeep, disruption, node, nodeclass, nodepool)
            for runnable in part.controllers(shared, caches)
        ),
        nodemetrics.told_by_the_leader(shared, caches),
    ]
