"""What we say of edits by hand: that they stay, and how to take them back. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from apis.kaito.v1beta1.status import ForeignEdit
from kube.meta import Condition
from workspace_controller.plan import Event

_NAMED = 3
"""So many fields stand in a message; the status has them all."""


def noted(condition: Condition, edits: Sequence[ForeignEdit]) -> Condition:
    """The condition with the edits in its message: what runs is not what the Workspace says."""
    if not edits:
        return condition
    return msgspec.structs.replace(condition, message=f"{condition.message}; {sentence(edits)}")


def events(before: Sequence[ForeignEdit], after: Sequence[ForeignEdit]) -> tuple[Event, ...]:
    """One where the edits are others than before."""
    if tuple(before) == tuple(after):
        return ()
    if not after:
        return (Event("Normal", "EditsTakenBack", "nothing is edited by hand any more"),)
    return (Event("Normal", "EditedByHand", sentence(after)),)


def sentence(edits: Sequence[ForeignEdit]) -> str:
    """`edited by hand: StatefulSet/falcon spec.replicas (kubectl); kept until …`."""
    said = ", ".join(_said(edit) for edit in edits)
    kind, _, name = edits[0].object.partition("/")
    remedy = f"kubectl delete {kind.lower()} {name}"
    return f"edited by hand: {said}; kept until set back, or until {remedy} brings ours back"


def _said(edit: ForeignEdit) -> str:
    named = " ".join(edit.fields[:_NAMED])
    more = f" and {len(edit.fields) - _NAMED} more" if len(edit.fields) > _NAMED else ""
    return f"{edit.object} {named}{more} ({edit.manager})"
