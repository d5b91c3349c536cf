"""Workspace as v1alpha1 has it: an instance type that is never empty, and nothing else.

There is no conversion: the API server changes the apiVersion and prunes. Every field of v1beta1
is therefore here too, though upstream's v1alpha1 lacks `partition`, `modelAccessSecret` and most
of the status: who reads and writes an object in the old version takes nothing away.
"""

from __future__ import annotations

from typing import Annotated

from apis.kaito.v1beta1 import workspace as v1beta1
from apis.model import Schema
from kube.meta import Resource

DEFAULT_INSTANCE_TYPE = "Standard_NC24ads_A100_v4"


class ResourceSpec(v1beta1.ResourceSpec):
    """Which nodes, and how many."""

    instance_type: Annotated[str, Schema({}, default=DEFAULT_INSTANCE_TYPE)] = DEFAULT_INSTANCE_TYPE
    """The nodes' instance type."""


class Workspace(v1beta1.Workspace):
    """A model, and the nodes for it."""

    api_version: str = "kaito.sh/v1alpha1"
    resource: ResourceSpec | None = None
    """Which nodes, and how many."""


WORKSPACES_V1ALPHA1 = Resource("kaito.sh", "v1alpha1", "Workspace", "workspaces", Workspace)
