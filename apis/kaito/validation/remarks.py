"""What is accepted, but does not do what it says: told as a warning, never silently."""

from __future__ import annotations

from apis.errors import Errors, FieldError
from apis.kaito.v1beta1.workspace import Workspace
from apis.kaito.validation import nodes
from apis.kaito.validation.facts import Facts


def reserved_keys(workspace: Workspace, _: Facts) -> Errors:
    """W-C10, where some keys are reserved and others are not."""
    if workspace.resource is not None:
        yield from nodes.reserved_keys("resource", workspace.resource.label_selector)


def count(workspace: Workspace, facts: Facts) -> Errors:
    """Upstream leaves `count` aside for presets on vLLM without a word."""
    layout = facts.layout(workspace, facts.config_of(workspace))
    if layout is None or workspace.resource is None or workspace.resource.count == layout.nodes:
        return
    made = "are needed" if facts.byo else "are made"
    yield FieldError(
        "resource.count",
        f"{workspace.resource.count} is not looked at: {layout.why}, and so many {made}",
    )
