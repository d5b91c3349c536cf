"""Whose an object is: the Workspace that its labels name. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from apis.kaito.v1beta1 import labels
from kube.meta import Key
from kube.store import Object

Whose = Callable[[Object], Iterable[Key]]

LABELS = (
    (labels.WORKSPACE_LABEL, labels.WORKSPACE_NAMESPACE_LABEL),
    (labels.KARPENTER_WORKSPACE_LABEL, labels.KARPENTER_WORKSPACE_NAMESPACE_LABEL),
)
"""Name and namespace on what has no namespace of its own: of standalone claims, and of pools."""


def of_cluster_scoped(found: Object) -> tuple[Key, ...]:
    """The Workspace of a claim, node or pool; none where the labels name none."""
    said = found.metadata.labels
    for key, of_namespace in LABELS:
        name, namespace = said.get(key, ""), said.get(of_namespace, "")
        if name and namespace:
            return (Key(namespace, name),)
    return ()


def by_label(label: str) -> Whose:
    """Of what lies in the Workspace's namespace: the label tells its name."""

    def named(found: Object) -> tuple[Key, ...]:
        name = found.metadata.labels.get(label, "")
        return (Key(found.metadata.namespace, name),) if name else ()

    return named


of_child = by_label(labels.WORKSPACE_LABEL)
of_benchmark = by_label(labels.BENCHMARK_LABEL)
of_loader = by_label(labels.LOADER_LABEL)
of_revision = by_label(labels.REVISION_NAME_LABEL)


def index(whose: Whose) -> Callable[[Object], tuple[str, ...]]:
    """The same as an index of a Store."""
    return lambda found: tuple(map(str, whose(found)))
