"""Rules on the nodes that a Workspace asks for."""

from __future__ import annotations

from collections.abc import Mapping

from apis.errors import Errors, FieldError
from apis.kaito import grammar, messages
from apis.kaito.v1beta1 import labels
from apis.kaito.v1beta1.workspace import Partition, ResourceSpec, Workspace
from apis.kaito.validation import nodes
from apis.kaito.validation.facts import Facts
from apis.karpenter.v1.labels import INSTANCE_TYPE_LABEL

_PATH = "resource"
_SELECTOR = "resource.labelSelector"
_PARTITION = "resource.partition"


def instance_type(workspace: Workspace, facts: Facts) -> Errors:
    """W-C3, W-C15. A resource left out is said so once, where it is needed."""
    resource = workspace.resource
    if resource is None:
        if workspace.inference is not None and not facts.byo:
            yield FieldError(_PATH, "must be set, with instanceType and labelSelector")
        return
    known = workspace.inference is not None
    yield from nodes.instance_type(_PATH, resource.instance_type, facts, known=known)


def selector(workspace: Workspace, _: Facts) -> Errors:
    """W-C9, W-C10. Upstream asks it of inference alone, and ignores it for tuning."""
    if workspace.resource is not None:
        yield from nodes.selector(_PATH, workspace.resource.label_selector)


def partition(workspace: Workspace, facts: Facts) -> Errors:
    """W-C11 to W-C13."""
    if workspace.resource is None or workspace.resource.partition is None:
        return
    if workspace.inference is None:
        return  # W-C26 says it for tuning
    given = workspace.resource.partition
    yield from nodes.partition(_PATH, given, facts)
    if facts.byo:
        yield from _slice(given, workspace, facts)


def own_nodes(workspace: Workspace, facts: Facts) -> Errors:
    """W-C14: the nodes brought along say what they have, by labels of their GPUs or by a type that
    the catalogue knows, and are alike."""
    inference = workspace.inference
    if not facts.byo or facts.nodes is None or workspace.resource is None:
        return
    if inference is None or inference.preset is None or workspace.resource.partition is not None:
        return
    if not facts.nodes:
        wanted = workspace.resource.label_selector.pairs
        if workspace.resource.preferred_nodes and not wanted:
            yield FieldError(f"{_PATH}.preferredNodes", "none of these nodes exists")
            return
        yield FieldError(
            f"{_SELECTOR}.matchLabels", f"no node has the labels {wanted}; label one, or change it"
        )
        return
    for node in facts.nodes:
        if facts.instance_type(node.get(INSTANCE_TYPE_LABEL, "")) is None:
            yield from _gpu_labels(node)
    if len({tuple(node.get(key) for key in _GPU_LABELS) for node in facts.nodes}) > 1:
        yield FieldError(
            f"{_SELECTOR}.matchLabels",
            "matches nodes whose GPUs differ in product, count or memory; narrow it to one kind",
        )


def count_kept(old: Workspace, new: Workspace, _: Facts) -> Errors:
    """W-U2."""
    if old.resource and new.resource and old.resource.count != new.resource.count:
        yield FieldError(f"{_PATH}.count", messages.KEPT)


def partition_kept(old: Workspace, new: Workspace, _: Facts) -> Errors:
    """W-U3."""
    yield from nodes.partition_kept(_PATH, old.resource, new.resource)


def instance_type_kept(old: Workspace, new: Workspace, facts: Facts) -> Errors:
    """W-U4."""
    before, after = _type_of(old.resource), _type_of(new.resource)
    yield from nodes.instance_type_kept(_PATH, before, after, facts)


def selector_kept(old: Workspace, new: Workspace, _: Facts) -> Errors:
    """W-U5."""
    if old.resource is not None and new.resource is not None:
        before, after = old.resource.label_selector, new.resource.label_selector
        yield from nodes.selector_kept(_PATH, before, after)


_GPU_LABELS = (labels.GPU_PRODUCT_LABEL, labels.GPU_COUNT_LABEL, labels.GPU_MEMORY_LABEL)


def _type_of(resource: ResourceSpec | None) -> str:
    return resource.instance_type if resource else ""


def _slice(given: Partition, workspace: Workspace, facts: Facts) -> Errors:
    """Whether the weights go into the slice; unless the check is bypassed."""
    preset = workspace.inference.preset if workspace.inference else None
    if given.mode != "mig" or given.profile not in grammar.MIG_PROFILES or preset is None:
        return
    if labels.BYPASS_RESOURCE_CHECKS_ANNOTATION in workspace.metadata.annotations:
        return
    slice_gib = int(given.profile.partition(".")[2].removesuffix("gb"))
    weights = facts.weights_gib(preset.name)
    if weights is not None and weights > slice_gib:
        yield FieldError(
            f"{_PARTITION}.profile",
            f'"{given.profile}" has {slice_gib} GiB, but the weights of preset "{preset.name}" take'
            f" {weights:.1f} GiB; choose a larger profile or a smaller model",
        )


def _gpu_labels(node: Mapping[str, str]) -> Errors:
    name = node.get("kubernetes.io/hostname", "a matching node")
    missing = [key for key in _GPU_LABELS if not node.get(key)]
    if missing:
        yield FieldError(
            f"{_SELECTOR}.matchLabels",
            f"{name} lacks the label {', '.join(missing)}; is gpu-feature-discovery running?",
        )
    for key in (labels.GPU_COUNT_LABEL, labels.GPU_MEMORY_LABEL):
        if node.get(key) and not node[key].isdecimal():
            yield FieldError(
                f"{_SELECTOR}.matchLabels", f'{name} has {key}="{node[key]}", which is no number'
            )
