"""Rules on the name, the annotations, and the Workspace as a whole."""

from __future__ import annotations

from apis.errors import Errors, FieldError, did_you_mean, one_of
from apis.kaito import grammar, messages
from apis.kaito.v1beta1 import labels
from apis.kaito.v1beta1.workspace import Workspace
from apis.kaito.validation.facts import KARPENTER, Facts


def name(workspace: Workspace, _: Facts) -> Errors:
    """W-C1."""
    given = workspace.metadata.name
    generated = not given and workspace.metadata.generate_name
    if not generated and not grammar.is_(grammar.DNS_LABEL, given):
        yield FieldError("metadata.name", messages.NAME)


def one_workload(workspace: Workspace, _: Facts) -> Errors:
    """W-C2."""
    if (workspace.inference is None) == (workspace.tuning is None):
        yield FieldError("inference", messages.ONE_WORKLOAD)


def annotation_values(workspace: Workspace, facts: Facts) -> Errors:
    """W-C4 to W-C7, and the runtime: an unknown one is refused rather than taken for vllm."""
    for key in _JUDGED:
        yield from annotation(key, workspace.metadata.annotations, facts)


def workload_kept(old: Workspace, new: Workspace, _: Facts) -> Errors:
    """W-U1."""
    for path in ("inference", "tuning"):
        before, after = getattr(old, path), getattr(new, path)
        if (before is None) != (after is None):
            yield FieldError(path, messages.PRESENCE_KEPT)


def annotations_changed(old: Workspace, new: Workspace, facts: Facts) -> Errors:
    """W-U6, W-U7; and the others, which upstream lets pass on update (W-C4 to W-C6)."""
    before, after = old.metadata.annotations, new.metadata.annotations
    for key in _JUDGED:
        if before.get(key) != after.get(key):
            yield from annotation(key, after, facts)
    streaming = labels.MODEL_STREAMING_ANNOTATION
    if facts.gate("ModelStreaming") and before.get(streaming) != after.get(streaming):
        yield FieldError(_path(streaming), messages.KEPT)


def annotation(key: str, given: dict[str, str], facts: Facts) -> Errors:
    """What is wrong with the value of one that we read; nothing where it is not there."""
    if key == labels.NODE_IMAGE_FAMILY_ANNOTATION:
        yield from _image_family(given)
    elif key == labels.NODE_CLASS_NAME_ANNOTATION:
        yield from _node_class(given, facts)
    else:
        yield from _choice(given, key, _CHOICES[key])


_CHOICES = {
    labels.PERFORMANCE_MODE_ANNOTATION: labels.PERFORMANCE_MODES,
    labels.USE_LOCAL_WEIGHTS_ANNOTATION: ("true", "false"),
    labels.RUNTIME_ANNOTATION: labels.RUNTIMES,
    labels.DISTRIBUTED_EXECUTOR_ANNOTATION: labels.DISTRIBUTED_EXECUTORS,
}
_JUDGED = (labels.NODE_IMAGE_FAMILY_ANNOTATION, *_CHOICES, labels.NODE_CLASS_NAME_ANNOTATION)


def _path(annotation: str) -> str:
    return f"metadata.annotations[{annotation}]"


def _image_family(given: dict[str, str]) -> Errors:
    key = labels.NODE_IMAGE_FAMILY_ANNOTATION
    if key in given and given[key].strip().lower() not in labels.NODE_IMAGE_FAMILIES:
        yield FieldError(
            _path(key), f'"{given[key]}" is not one of {one_of(labels.NODE_IMAGE_FAMILIES)}'
        )


def _choice(given: dict[str, str], key: str, choices: tuple[str, ...]) -> Errors:
    if key in given and given[key] not in choices:
        hint = did_you_mean(given[key], choices)
        yield FieldError(_path(key), f'"{given[key]}" is not one of {one_of(choices)}{hint}')


def _node_class(given: dict[str, str], facts: Facts) -> Errors:
    asked = given.get(labels.NODE_CLASS_NAME_ANNOTATION, "")
    known = facts.node_class_names
    if facts.node_provisioner == KARPENTER and asked and asked not in known:
        configured = f"one of {one_of(known)}" if known else "configured: there are none"
        yield FieldError(_path(labels.NODE_CLASS_NAME_ANNOTATION), f'"{asked}" is not {configured}')
