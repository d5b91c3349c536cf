"""What a Workspace's `resource` and a RAGEngine's `spec.compute` are judged by alike.

`path` is where the part stands; the ids of the rules stand with those who ask.
"""

from __future__ import annotations

from apis.errors import Errors, FieldError, did_you_mean
from apis.kaito import grammar, messages
from apis.kaito.v1beta1 import labels
from apis.kaito.v1beta1.workspace import LabelSelector, Partition, ResourceSpec
from apis.kaito.validation.facts import Facts


def instance_type(path: str, given: str, facts: Facts, *, known: bool = True) -> Errors:
    """There is one where nodes are created, which the cloud has (`known`), and none elsewhere."""
    if facts.byo:
        if given:
            yield FieldError(f"{path}.instanceType", _not_with_byo(given))
    elif not given:
        yield FieldError(f"{path}.instanceType", _needed(facts))
    elif known:
        yield from _known_type(f"{path}.instanceType", given, facts)


def selector(path: str, given: LabelSelector) -> Errors:
    """It can be turned into labels, and not only such as mark whose a node is."""
    yield from _plain(path, given)
    keys = {*given.match_labels, *(each.key for each in given.match_expressions)}
    if keys and labels.RESERVED_SELECTOR_KEYS.issuperset(keys):
        yield FieldError(f"{path}.labelSelector", messages.SELECTOR_RESERVED)


def partition(path: str, given: Partition, facts: Facts) -> Errors:
    """It is of nodes of one's own, with its gate, and in shape."""
    place = f"{path}.partition"
    if not facts.byo:
        yield FieldError(
            place, f"needs nodes of one's own (node provisioner byo), not {facts.node_provisioner}"
        )
        return
    gate = _GATES.get(given.mode, "")
    if gate and not facts.gate(gate):
        yield FieldError(f"{place}.mode", f'mode "{given.mode}" needs the feature gate {gate}')
    yield from _partition_shape(place, given)


def partition_kept(path: str, old: ResourceSpec | None, new: ResourceSpec | None) -> Errors:
    before = old.partition if old else None
    after = new.partition if new else None
    if (before is None) != (after is None):
        yield FieldError(f"{path}.partition", messages.PRESENCE_KEPT)
    elif before != after:
        yield FieldError(f"{path}.partition", messages.KEPT)


def instance_type_kept(path: str, before: str, after: str, facts: Facts) -> Errors:
    """In BYO mode it may be cleared, which mends what an older version let in."""
    if before == after:
        return
    if facts.byo:
        if after:
            yield FieldError(f"{path}.instanceType", _not_with_byo(after))
    elif not after:
        yield FieldError(f"{path}.instanceType", _needed(facts))
    elif before:
        yield FieldError(f"{path}.instanceType", messages.KEPT)


def selector_kept(path: str, before: LabelSelector, after: LabelSelector) -> Errors:
    """The same pairs in another form are the same selector."""
    if before == after:
        return
    yield from _plain(path, after)
    if before.pairs != after.pairs:
        yield FieldError(f"{path}.labelSelector", messages.KEPT)


def reserved_keys(path: str, given: LabelSelector) -> Errors:
    """A remark, where some keys are reserved and others are not."""
    wanted = given.pairs
    reserved = sorted(labels.RESERVED_SELECTOR_KEYS.intersection(wanted))
    if reserved and len(reserved) < len(wanted):
        yield FieldError(
            f"{path}.labelSelector",
            f"{', '.join(reserved)} is not looked at: that is how the controller marks whose a"
            " node is; leave it out",
        )


_GATES = {"mig": "enableMIG", "accelerator": "enableAccelerator"}


def _not_with_byo(given: str) -> str:
    return (
        f'"{given}" cannot be asked for: node provisioner byo creates no nodes; leave it out and'
        " choose nodes by labelSelector"
    )


def _needed(facts: Facts) -> str:
    return f"must be set: node provisioner {facts.node_provisioner} creates nodes of that type"


def _known_type(place: str, given: str, facts: Facts) -> Errors:
    if not facts.known_cloud:
        yield FieldError(place, f'no instance types are known of cloud "{facts.cloud}"')
    elif facts.instance_type(given) is None:
        if given.lower().startswith(tuple(p.lower() for p in facts.instance_type_prefixes)):
            return
        hint = did_you_mean(given, facts.instance_type_names)
        yield FieldError(place, f'"{given}" is no instance type of cloud "{facts.cloud}"{hint}')


def _plain(path: str, given: LabelSelector) -> Errors:
    for at, each in enumerate(given.match_expressions):
        if each.operator != "In" or len(each.values) != 1:
            yield FieldError(
                f"{path}.labelSelector.matchExpressions[{at}]", messages.SELECTOR_PLAIN
            )


def _partition_shape(place: str, given: Partition) -> Errors:
    if given.mode == "mig":
        if given.count is not None:
            yield FieldError(f"{place}.count", messages.MIG_COUNT)
        if given.profile not in grammar.MIG_PROFILES:
            yield FieldError(f"{place}.profile", messages.MIG_PROFILE)
    elif given.mode == "accelerator":
        if given.profile:
            yield FieldError(f"{place}.profile", messages.ACCELERATOR_PROFILE)
        if given.count is None:
            yield FieldError(f"{place}.count", messages.ACCELERATOR_COUNT)
