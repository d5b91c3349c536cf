"""Rules on the nodes that a Workspace asks for."""

from __future__ import annotations

from collections.abc import Mapping

from apis.errors import Errors, FieldError, did_you_mean
from apis.kaito import grammar, messages
from apis.kaito.v1beta1 import labels
from apis.kaito.v1beta1.workspace import LabelSelector, Partition, ResourceSpec, Workspace
from apis.kaito.validation.facts import Facts
from apis.karpenter.v1.labels import INSTANCE_TYPE_LABEL

_PATH = "resource"
_INSTANCE_TYPE = "resource.instanceType"
_SELECTOR = "resource.labelSelector"
_PARTITION = "resource.partition"


def instance_type(workspace: Workspace, facts: Facts) -> Errors:
    """W-C3, W-C15. A resource left out is said so once, where it is needed."""
    resource = workspace.resource
    if resource is None:
        if workspace.inference is not None and not facts.byo:
            yield FieldError(_PATH, "must be set, with instanceType and labelSelector")
        return
    given = resource.instance_type
    if facts.byo:
        if given:
            yield FieldError(_INSTANCE_TYPE, _not_with_byo(given))
    elif not given:
        yield FieldError(_INSTANCE_TYPE, _needed(facts))
    elif workspace.inference is not None:
        yield from _known_type(given, facts)


def selector(workspace: Workspace, _: Facts) -> Errors:
    """W-C9, W-C10. Upstream asks it of inference alone, and ignores it for tuning."""
    if workspace.resource is None:
        return
    given = workspace.resource.label_selector
    yield from _not_plain(given)
    keys = {*given.match_labels, *(each.key for each in given.match_expressions)}
    if keys and labels.RESERVED_SELECTOR_KEYS.issuperset(keys):
        yield FieldError(_SELECTOR, messages.SELECTOR_RESERVED)


def partition(workspace: Workspace, facts: Facts) -> Errors:
    """W-C11 to W-C13."""
    if workspace.resource is None or workspace.resource.partition is None:
        return
    if workspace.inference is None:
        return  # W-C26 says it for tuning
    given = workspace.resource.partition
    if not facts.byo:
        yield FieldError(
            _PARTITION,
            f"needs nodes of one's own (node provisioner byo), not {facts.node_provisioner}",
        )
        return
    gate = _GATES.get(given.mode, "")
    if gate and not facts.gate(gate):
        yield FieldError(f"{_PARTITION}.mode", f'mode "{given.mode}" needs the feature gate {gate}')
    yield from _partition_shape(given)
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
    before = old.resource.partition if old.resource else None
    after = new.resource.partition if new.resource else None
    if (before is None) != (after is None):
        yield FieldError(_PARTITION, messages.PRESENCE_KEPT)
    elif before != after:
        yield FieldError(_PARTITION, messages.KEPT)


def instance_type_kept(old: Workspace, new: Workspace, facts: Facts) -> Errors:
    """W-U4. In BYO mode it may be cleared, which mends what an older version let in."""
    before, after = _type_of(old.resource), _type_of(new.resource)
    if before == after:
        return
    if facts.byo:
        if after:
            yield FieldError(_INSTANCE_TYPE, _not_with_byo(after))
    elif not after:
        yield FieldError(_INSTANCE_TYPE, _needed(facts))
    elif before:
        yield FieldError(_INSTANCE_TYPE, messages.KEPT)


def selector_kept(old: Workspace, new: Workspace, _: Facts) -> Errors:
    """W-U5. The same pairs in another form are the same selector."""
    if old.resource is None or new.resource is None:
        return
    before, after = old.resource.label_selector, new.resource.label_selector
    if before == after:
        return
    yield from _not_plain(after)
    if before.pairs != after.pairs:
        yield FieldError(_SELECTOR, messages.KEPT)


_GATES = {"mig": "enableMIG", "accelerator": "enableAccelerator"}
_GPU_LABELS = (labels.GPU_PRODUCT_LABEL, labels.GPU_COUNT_LABEL, labels.GPU_MEMORY_LABEL)


def _type_of(resource: ResourceSpec | None) -> str:
    return resource.instance_type if resource else ""


def _not_with_byo(given: str) -> str:
    return (
        f'"{given}" cannot be asked for: node provisioner byo creates no nodes; leave it out and'
        " choose nodes by labelSelector"
    )


def _needed(facts: Facts) -> str:
    return f"must be set: node provisioner {facts.node_provisioner} creates nodes of that type"


def _known_type(given: str, facts: Facts) -> Errors:
    if not facts.known_cloud:
        yield FieldError(_INSTANCE_TYPE, f'no instance types are known of cloud "{facts.cloud}"')
    elif facts.instance_type(given) is None:
        if given.lower().startswith(tuple(p.lower() for p in facts.instance_type_prefixes)):
            return
        hint = did_you_mean(given, facts.instance_type_names)
        yield FieldError(
            _INSTANCE_TYPE, f'"{given}" is no instance type of cloud "{facts.cloud}"{hint}'
        )


def _not_plain(given: LabelSelector) -> Errors:
    for at, each in enumerate(given.match_expressions):
        if each.operator != "In" or len(each.values) != 1:
            yield FieldError(f"{_SELECTOR}.matchExpressions[{at}]", messages.SELECTOR_PLAIN)


def _partition_shape(given: Partition) -> Errors:
    if given.mode == "mig":
        if given.count is not None:
            yield FieldError(f"{_PARTITION}.count", messages.MIG_COUNT)
        if given.profile not in grammar.MIG_PROFILES:
            yield FieldError(f"{_PARTITION}.profile", messages.MIG_PROFILE)
    elif given.mode == "accelerator":
        if given.profile:
            yield FieldError(f"{_PARTITION}.profile", messages.ACCELERATOR_PROFILE)
        if given.count is None:
            yield FieldError(f"{_PARTITION}.count", messages.ACCELERATOR_COUNT)


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
