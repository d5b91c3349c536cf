"""Rules on the nodes that a Workspace asks for."""

from __future__ import annotations

import re
from collections.abc import Mapping

from apis.errors import Errors, FieldError, did_you_mean, one_of
from apis.kaito import messages
from apis.kaito.v1beta1 import labels
from apis.kaito.v1beta1.workspace import LabelSelector, Partition, ResourceSpec, Workspace
from apis.kaito.validation.facts import Facts

_PATH = "resource"
_INSTANCE_TYPE = "resource.instanceType"
_SELECTOR = "resource.labelSelector"
_PARTITION = "resource.partition"

_MIG_FORMAT = re.compile(r"(\d+)g\.([\d.]+)gb")
_MIG_SIZES = {
    "1": (5, 6, 10, 12, 18, 20, 23, 24, 35, 45),
    "2": (10, 12, 20, 24, 35, 45),
    "3": (20, 40, 47, 48, 71, 90),
    "4": (20, 24, 40, 47, 48, 71, 90),
    "7": (40, 80, 94, 96, 141, 180),
}
MIG_PROFILES = frozenset(f"{n}g.{size}gb" for n, sizes in _MIG_SIZES.items() for size in sizes)


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
    """W-C9, W-C10."""
    if workspace.resource is None or workspace.inference is None:
        return
    given = workspace.resource.label_selector
    yield from _not_plain(given)
    if given.match_labels and labels.RESERVED_SELECTOR_KEYS.issuperset(given.match_labels):
        yield FieldError(
            f"{_SELECTOR}.matchLabels",
            f"has only reserved keys ({', '.join(sorted(given.match_labels))}), which are not"
            " looked at; add a label of your own",
        )


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
    elif given.mode == "mig":
        yield from _mig(given, workspace, facts)
    elif given.mode == "accelerator":
        yield from _accelerator(given, facts)
    else:
        yield FieldError(f"{_PARTITION}.mode", f'"{given.mode}" is not {one_of(_MODES)}')


def own_nodes(workspace: Workspace, facts: Facts) -> Errors:
    """W-C14: the nodes brought along say what they have, and are alike."""
    inference = workspace.inference
    if not facts.byo or facts.nodes is None or workspace.resource is None:
        return
    if inference is None or inference.preset is None or workspace.resource.partition is not None:
        return
    if not facts.nodes:
        wanted = workspace.resource.label_selector.match_labels
        yield FieldError(
            f"{_SELECTOR}.matchLabels", f"no node has the labels {wanted}; label one, or change it"
        )
        return
    for node in facts.nodes:
        yield from _gpu_labels(node)
    if len({tuple(node.get(key) for key in _GPU_LABELS) for node in facts.nodes}) > 1:
        yield FieldError(
            f"{_SELECTOR}.matchLabels",
            "matches nodes whose GPUs differ in product, count or memory; narrow it to one kind",
        )


def count_kept(old: Workspace, new: Workspace, _: Facts) -> Errors:
    """W-U2."""
    if old.resource and new.resource and old.resource.count != new.resource.count:
        yield FieldError(f"{_PATH}.count", messages.COUNT_KEPT)


def partition_kept(old: Workspace, new: Workspace, _: Facts) -> Errors:
    """W-U3."""
    before = old.resource.partition if old.resource else None
    after = new.resource.partition if new.resource else None
    if before != after:
        yield FieldError(_PARTITION, messages.PARTITION_KEPT)


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
        yield FieldError(
            _INSTANCE_TYPE,
            f'cannot be changed from "{before}" to "{after}" after creation; create another'
            " Workspace instead",
        )


def selector_kept(old: Workspace, new: Workspace, _: Facts) -> Errors:
    """W-U5. The same pairs in another form are the same selector."""
    if old.resource is None or new.resource is None:
        return
    before, after = old.resource.label_selector, new.resource.label_selector
    if before == after:
        return
    unreadable = list(_not_plain(after))
    yield from unreadable
    if not unreadable and _pairs(before) != _pairs(after):
        yield FieldError(_SELECTOR, messages.SELECTOR_KEPT)


_MODES = ("mig", "accelerator")
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
            yield FieldError(
                f"{_SELECTOR}.matchExpressions[{at}]",
                f'operator "{each.operator}" with {len(each.values)} values cannot be turned into'
                " a label; use In with one value, or matchLabels",
            )


def _pairs(given: LabelSelector) -> dict[str, str]:
    expressed = {
        each.key: each.values[0]
        for each in given.match_expressions
        if each.operator == "In" and len(each.values) == 1
    }
    return {**given.match_labels, **expressed}


def _mig(given: Partition, workspace: Workspace, facts: Facts) -> Errors:
    if not facts.gate("enableMIG"):
        yield FieldError(f"{_PARTITION}.mode", 'mode "mig" needs the feature gate enableMIG')
    if given.count is not None:
        yield FieldError(f"{_PARTITION}.count", 'must not be set with mode "mig"')
    format_ = _MIG_FORMAT.fullmatch(given.profile)
    if format_ is None or given.profile not in MIG_PROFILES:
        hint = did_you_mean(given.profile, MIG_PROFILES)
        yield FieldError(
            f"{_PARTITION}.profile",
            f'"{given.profile}" is no MIG profile, as "1g.10gb"{hint}',
        )
        return
    preset = workspace.inference.preset if workspace.inference else None
    weights = facts.weights_gib(preset.name) if preset else None
    slice_gib = int(float(format_.group(2)))
    bypassed = labels.BYPASS_RESOURCE_CHECKS_ANNOTATION in workspace.metadata.annotations
    if preset and weights is not None and weights > slice_gib and not bypassed:
        yield FieldError(
            f"{_PARTITION}.profile",
            f'"{given.profile}" has {slice_gib} GiB, but the weights of preset "{preset.name}" take'
            f" {weights:.1f} GiB; choose a larger profile or a smaller model",
        )


def _accelerator(given: Partition, facts: Facts) -> Errors:
    if not facts.gate("enableAccelerator"):
        yield FieldError(
            f"{_PARTITION}.mode", 'mode "accelerator" needs the feature gate enableAccelerator'
        )
    if given.profile:
        yield FieldError(f"{_PARTITION}.profile", 'must not be set with mode "accelerator"')
    if given.count is None:
        yield FieldError(f"{_PARTITION}.count", 'must be set with mode "accelerator"')


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
