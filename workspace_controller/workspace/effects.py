"""What an edit means for what runs: nothing, a hot change, new pods, or new nodes. Pure.

The controller's status and `kaito diff` say the same, since both ask here.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from apis.kaito.v1beta1.status import Rollout
from workspace_controller.plan import Event
from workspace_controller.workspace import rollout
from workspace_controller.workspace.rollout import Move

NONE, HOT, ROLL_PODS, REPLACE_NODES = "None", "Hot", "RollPods", "ReplaceNodes"
EFFECTS = (NONE, HOT, ROLL_PODS, REPLACE_NODES)
"""By what they cost: the larger one tells for the whole."""

COMPLETE = "Complete"
_UNDERWAY = (rollout.SURGING, rollout.REPLACING, rollout.STUCK)


class Meaning(msgspec.Struct, frozen=True, kw_only=True):
    """What a Workspace asks for. `hot` is what running pods can take; `endpoint` the kind of its
    Service, empty where nobody asks."""

    nodes: int
    pod_hash: str
    hot: str = ""
    instance_type: str = ""
    node_labels: Mapping[str, str] = {}
    endpoint: str = ""


def effect(before: Meaning, after: Meaning) -> str:
    """The largest of what it takes to come from one to the other. A change of nodes alone, with
    pods that stay as they are, cannot be: an engine is laid out for its nodes."""
    if (
        (before.nodes and before.nodes != after.nodes)
        or before.instance_type != after.instance_type
        or before.node_labels != after.node_labels
    ):
        return REPLACE_NODES
    if before.pod_hash != after.pod_hash:
        return ROLL_PODS
    return HOT if (before.hot, before.endpoint) != (after.hot, after.endpoint) else NONE


def larger(one: str, other: str) -> str:
    return max(one, other, key=EFFECTS.index)


def underway(told: Rollout | None) -> bool:
    return told is not None and told.phase in _UNDERWAY


def report(
    told: Rollout | None, move: Move, meant: str, *, edited: bool, number: int
) -> tuple[Rollout | None, tuple[Event, ...]]:
    """The next status.rollout, None where it stays as it is, and what to say of it. `meant` is
    the effect of what is applied in this round, `edited` that a new revision is."""
    before = told if underway(told) else None
    if move.phase and (before is not None or not move.starting):
        least = meant if move.starting else larger(meant, ROLL_PODS)
        whole = larger(least, before.effect if before else NONE)
        after = Rollout(effect=whole, phase=move.phase, message=move.message)
        return after, tuple(_said(before, after, number))
    if before is not None:
        message = f"all pods run revision {number}"
        done = Rollout(effect=before.effect, phase=COMPLETE, message=message)
        return done, (Event("Normal", "RolloutComplete", message),)
    if edited and meant in (NONE, HOT):
        how = "applied to the running pods" if meant == HOT else "changes nothing that runs"
        return Rollout(effect=meant, phase=COMPLETE, message=f"revision {number}: {how}"), ()
    return None, ()


def _said(before: Rollout | None, after: Rollout, number: int) -> list[Event]:
    events = []
    if before is None:
        events.append(Event("Normal", "RolloutStarted", f"revision {number}: {after.message}"))
    if after.phase == rollout.STUCK and (before is None or before.phase != rollout.STUCK):
        events.append(Event("Warning", "RolloutStuck", after.message))
    return events
