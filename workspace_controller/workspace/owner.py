"""Whose an object is: the Workspace that its labels name. Pure."""

from __future__ import annotations

from apis.kaito.v1beta1 import labels
from workspace_controller.marks import WORKSPACE, by_label

of_cluster_scoped = WORKSPACE.of_cluster_scoped
of_child = WORKSPACE.of_child
of_benchmark = by_label(labels.BENCHMARK_LABEL)
of_loader = by_label(labels.LOADER_LABEL)
of_revision = by_label(labels.REVISION_NAME_LABEL)
