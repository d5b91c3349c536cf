"""Rules on fine-tuning."""

from __future__ import annotations

import yaml

from apis import container, trainingoptions
from apis.errors import Errors, FieldError
from apis.kaito import grammar, messages
from apis.kaito.v1beta1.workspace import Workspace
from apis.kaito.validation.facts import Facts, no_config_map
from apis.kaito.validation.inference import kept_preset, preset_image, preset_name
from apis.kaito.validation.sources import hugging_face_errors, image_errors, shown, url_refusal


def resources(workspace: Workspace, _: Facts) -> Errors:
    """W-C25, W-C26."""
    if workspace.tuning is None:
        return
    resource = workspace.resource
    if resource is None:
        yield FieldError("resource", messages.TUNING_NODE)
        return
    if resource.count != 1:
        yield FieldError("resource.count", messages.TUNING_ONE_NODE)
    if resource.partition is not None:
        yield FieldError("resource.partition", messages.TUNING_WHOLE)


def preset(workspace: Workspace, facts: Facts) -> Errors:
    """W-C31."""
    if workspace.tuning is None:
        return
    if workspace.tuning.preset is None:
        yield FieldError("tuning.preset", messages.TUNING_PRESET)
    else:
        yield from preset_name("tuning.preset.name", workspace.tuning.preset.name, facts)
        yield from preset_image("tuning.preset", workspace.tuning.preset)


def method(workspace: Workspace, _: Facts) -> Errors:
    """W-C27."""
    if workspace.tuning is not None and workspace.tuning.method.lower() not in grammar.METHODS:
        yield FieldError("tuning.method", messages.TUNING_METHOD)


def config(workspace: Workspace, facts: Facts) -> Errors:
    """W-C28. An empty name stands for our own defaults, which need no check."""
    tuning = workspace.tuning
    if tuning is None or not tuning.config or facts.config_map is None:
        return
    data = facts.config_map(tuning.config)
    where = f'ConfigMap "{tuning.config}"'
    if data is None:
        yield no_config_map("tuning.config", tuning.config, workspace.metadata.namespace)
    elif container.TUNING_CONFIG_KEY not in data:
        yield FieldError("tuning.config", f"{where} has no key {container.TUNING_CONFIG_KEY}")
    else:
        text = data[container.TUNING_CONFIG_KEY]
        for problem in _config_problems(text, tuning.method.lower()):
            yield FieldError(
                "tuning.config", f"key {container.TUNING_CONFIG_KEY} of {where}: {problem}"
            )


def source(workspace: Workspace, _: Facts) -> Errors:
    """W-C29."""
    if workspace.tuning is None:
        return
    given = workspace.tuning.input
    named = [given.urls, given.volume_source is not None, given.image, given.hugging_face]
    if list(map(bool, named)).count(True) != 1:
        yield FieldError("tuning.input", messages.TUNING_INPUT)
    yield from image_errors("tuning.input.image", given.image)
    yield from hugging_face_errors("tuning.input.huggingFace", given.hugging_face)
    for at, url in enumerate(given.urls):
        refusal = url_refusal(url)
        if refusal:
            yield FieldError(f"tuning.input.urls[{at}]", f'"{shown(url)}" {refusal}')


def destination(workspace: Workspace, _: Facts) -> Errors:
    """W-C30."""
    if workspace.tuning is None:
        return
    given = workspace.tuning.output
    if (given.volume_source is not None) == bool(given.image):
        yield FieldError("tuning.output", messages.TUNING_OUTPUT)
    if given.image and not given.image_push_secret:
        yield FieldError("tuning.output.imagePushSecret", messages.PUSH_SECRET)
    yield from image_errors("tuning.output.image", given.image)


def preset_kept(old: Workspace, new: Workspace, _: Facts) -> Errors:
    """W-U11."""
    if old.tuning and new.tuning:
        yield from kept_preset("tuning.preset", old.tuning.preset, new.tuning.preset)
        if old.tuning.preset and not new.tuning.preset:
            yield FieldError("tuning.preset", messages.TUNING_PRESET)


def method_kept(old: Workspace, new: Workspace, facts: Facts) -> Errors:
    """W-U11."""
    if old.tuning is None or new.tuning is None:
        return
    before, after = old.tuning.method, new.tuning.method
    if before != after:
        yield from method(new, facts)
    if before and after and before.lower() != after.lower():
        yield FieldError("tuning.method", messages.KEPT)


def data_changed(old: Workspace, new: Workspace, facts: Facts) -> Errors:
    """W-U11. The data may be another; its name may not, for volumes are named so."""
    if old.tuning is None or new.tuning is None:
        return
    if old.tuning.input.name != new.tuning.input.name:
        yield FieldError("tuning.input.name", messages.KEPT)
    if old.tuning.input != new.tuning.input:
        yield from source(new, facts)
    if old.tuning.output != new.tuning.output:
        yield from destination(new, facts)


def config_changed(old: Workspace, new: Workspace, facts: Facts) -> Errors:
    """W-C28, of the ConfigMap that is named now."""
    if old.tuning and new.tuning and old.tuning.config != new.tuning.config:
        yield from config(new, facts)


def config_notes(workspace: Workspace, facts: Facts) -> Errors:
    """What a ConfigMap that is taken says under an old name, or without effect."""
    document, wrong = _read(_text(workspace, facts) or "")
    if wrong or workspace.tuning is None:
        return
    for note in trainingoptions.notes(document):
        yield FieldError("tuning.config", note)


def _text(workspace: Workspace, facts: Facts) -> str | None:
    tuning = workspace.tuning
    if tuning is None or not tuning.config or facts.config_map is None:
        return None
    return (facts.config_map(tuning.config) or {}).get(container.TUNING_CONFIG_KEY)


def _config_problems(text: str, method: str) -> list[str]:
    """§8.2, and what the trainer would refuse as well: the rules are `apis.trainingoptions`."""
    document, wrong = _read(text)
    return wrong or list(trainingoptions.complaints(document, method))


def _read(text: str) -> tuple[object, list[str]]:
    """The document; and what keeps it from being read for certain."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        return yaml.safe_load(text), list(trainingoptions.repeated(node))
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        return None, [f"no YAML (line {mark.line + 1})" if mark else "no YAML"]
