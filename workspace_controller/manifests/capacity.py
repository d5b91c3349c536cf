"""How the machines of an owner may be paid for, in a provisioner's words. Pure."""

from __future__ import annotations

from typing import Any

from apis.karpenter.v1.labels import (
    CAPACITY_ON_DEMAND,
    CAPACITY_RESERVED,
    CAPACITY_TYPE_LABEL,
)
from workspace_controller.nodes.asking import NodeOwner
from workspace_controller.nodes.provisioner import user_labels


def asked_for(owner: NodeOwner) -> str:
    """Which the user has chosen, as a label of the nodes; empty where nothing is said."""
    return user_labels(owner).get(CAPACITY_TYPE_LABEL, "")


def requirement(owner: NodeOwner) -> dict[str, Any]:
    """Anything but spot where nothing is said: Karpenter buys spot before on-demand wherever it
    may, and who serves a model does not expect to lose its node at 30 seconds' notice."""
    asked = asked_for(owner)
    values = [asked] if asked else [CAPACITY_ON_DEMAND, CAPACITY_RESERVED]
    return {"key": CAPACITY_TYPE_LABEL, "operator": "In", "values": values}
