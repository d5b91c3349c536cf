"""Rules on what is served, and with what."""

from __future__ import annotations

import re
from collections import Counter

import yaml

from apis import container
from apis.errors import Errors, FieldError, did_you_mean
from apis.kaito import messages
from apis.kaito.v1beta1 import labels
from apis.kaito.v1beta1.workspace import AdapterSpec, InferenceSpec, PresetSpec, Workspace
from apis.kaito.validation.facts import Facts

MAX_ADAPTERS = 10
DEPRECATED_PRESETS = frozenset({"phi-2"})

_PRESET = "inference.preset"
_CONFIG = "inference.config"
_DNS_SUBDOMAIN = re.compile(
    r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
)


def preset(workspace: Workspace, facts: Facts) -> Errors:
    """W-C8, W-C21. An id of Hugging Face is a name too; whether it resolves shows later (W-C19)."""
    inference = workspace.inference
    if inference is None or inference.preset is None:
        return
    yield from preset_name(f"{_PRESET}.name", inference.preset.name, facts)
    local = workspace.metadata.annotations.get(labels.USE_LOCAL_WEIGHTS_ANNOTATION) == "true"
    secret = inference.preset.preset_options.model_access_secret
    if not secret and not local and facts.auth_required(inference.preset.name):
        yield FieldError(
            f"{_PRESET}.presetOptions.modelAccessSecret",
            f'must be set: preset "{inference.preset.name}" is gated; name a Secret with the key'
            f" {container.TOKEN_SECRET_KEY}",
        )


def preset_name(path: str, given: str, facts: Facts) -> Errors:
    """§9.1: in the catalogue, an alias, or `owner/model`."""
    if given.lower() in DEPRECATED_PRESETS:
        yield FieldError(path, f'preset "{given}" is deprecated and no longer served')
    elif not facts.preset_known(given) and not _hugging_face_id(given):
        yield FieldError(
            path,
            f'"{given}" is no preset{did_you_mean(given, facts.preset_names)}'
            " (a model of Hugging Face is named as owner/model)",
        )


def one_source(workspace: Workspace, _: Facts) -> Errors:
    """W-C18."""
    inference = workspace.inference
    if inference is not None and (inference.preset is None) == (inference.template is None):
        which = "neither is" if inference.preset is None else "both are"
        yield FieldError(_PRESET, f"{messages.ONE_SOURCE}, but {which}")


def runtime(workspace: Workspace, facts: Facts) -> Errors:
    """W-C20, and what llama.cpp cannot do."""
    inference = workspace.inference
    if inference is None:
        return
    engine = _runtime(workspace, facts)
    if inference.preset is not None and facts.runtime_refusal is not None:
        refusal = facts.runtime_refusal(inference.preset.name, engine)
        if refusal:
            yield FieldError(f"{_PRESET}.name", refusal)
    if engine == labels.RUNTIME_LLAMACPP and inference.adapters:
        yield FieldError(
            "inference.adapters", 'runtime "llamacpp" serves no adapters; use runtime "vllm"'
        )
    if engine == labels.RUNTIME_VLLM:
        for at, adapter in enumerate(inference.adapters):
            if adapter.strength is not None:
                yield FieldError(
                    f"inference.adapters[{at}].strength",
                    f'"{adapter.strength}" cannot be honoured by runtime "vllm"; leave it out, or'
                    f" annotate with {labels.RUNTIME_ANNOTATION}={labels.RUNTIME_TRANSFORMERS}",
                )


def adapters(workspace: Workspace, _: Facts) -> Errors:
    """W-C22, and W-U10's rules already at creation: later would be too late to mend it."""
    if workspace.inference is None:
        return
    given = workspace.inference.adapters
    if len(given) > MAX_ADAPTERS:
        yield FieldError("inference.adapters", f"{len(given)} are more than {MAX_ADAPTERS}")
    yield from _adapters(given)


def config(workspace: Workspace, facts: Facts) -> Errors:
    """W-C23. Only vLLM reads the ConfigMap."""
    inference = workspace.inference
    if inference is None or not inference.config or facts.config_map is None:
        return
    if _runtime(workspace, facts) != labels.RUNTIME_VLLM:
        return
    data = facts.config_map(inference.config)
    if data is None:
        yield FieldError(
            _CONFIG,
            f'there is no ConfigMap "{inference.config}" in namespace'
            f' "{workspace.metadata.namespace}"; create it first',
        )
    elif container.CONFIG_KEY not in data:
        yield FieldError(
            _CONFIG, f'ConfigMap "{inference.config}" has no key {container.CONFIG_KEY}'
        )
    else:
        yield from _engine_arguments(data[container.CONFIG_KEY], inference, facts)


def fit(workspace: Workspace, facts: Facts) -> Errors:
    """W-C16, W-C17: told now rather than by a workload that never starts."""
    inference = workspace.inference
    if inference is None or inference.preset is None or facts.fits is None:
        return
    if labels.BYPASS_RESOURCE_CHECKS_ANNOTATION in workspace.metadata.annotations:
        return
    reason = facts.fits(workspace)
    if reason:
        path = "resource.instanceType" if not facts.byo else "resource.labelSelector"
        yield FieldError(
            path,
            f"{reason} (annotation {labels.BYPASS_RESOURCE_CHECKS_ANNOTATION} skips this check)",
        )


def preset_kept(old: Workspace, new: Workspace, _: Facts) -> Errors:
    """W-U8."""
    if old.inference and new.inference and old.inference.preset != new.inference.preset:
        yield FieldError(_PRESET, messages.PRESET_KEPT)


def template_kept(old: Workspace, new: Workspace, _: Facts) -> Errors:
    """W-U9. Its content may change."""
    if old.inference is None or new.inference is None:
        return
    if (old.inference.template is None) != (new.inference.template is None):
        yield FieldError("inference.template", messages.TEMPLATE_KEPT)


def adapters_changed(old: Workspace, new: Workspace, facts: Facts) -> Errors:
    """W-U10."""
    if old.inference and new.inference and old.inference.adapters != new.inference.adapters:
        yield from adapters(new, facts)


def _runtime(workspace: Workspace, facts: Facts) -> str:
    return labels.runtime(workspace.metadata.annotations, vllm=facts.gate("vLLM", default=True))


def _hugging_face_id(given: str) -> bool:
    owner, slash, model = given.partition("/")
    return bool(owner and slash and model)


def _adapters(given: tuple[AdapterSpec, ...]) -> Errors:
    for at, adapter in enumerate(given):
        yield from _adapter(f"inference.adapters[{at}]", adapter)
    names = Counter(adapter.source.name for adapter in given if adapter.source)
    for name, times in names.items():
        if times > 1:
            yield FieldError("inference.adapters", f'{times} of them have the name "{name}"')


def _adapter(path: str, adapter: AdapterSpec) -> Errors:
    source = adapter.source
    if source is None:
        yield FieldError(f"{path}.source", "must be set, with a name and an image or volumeSource")
        return
    if not _DNS_SUBDOMAIN.fullmatch(source.name):
        yield FieldError(
            f"{path}.source.name",
            f'"{source.name}" must be a DNS-1123 subdomain, as "my-adapter": a volume is named so',
        )
    if source.urls:
        yield FieldError(f"{path}.source.urls", "an adapter cannot come from urls; use image")
    elif bool(source.image) == (source.volume_source is not None):
        which = "neither is" if not source.image else "both are"
        yield FieldError(
            f"{path}.source", f"exactly one of image and volumeSource must be set, but {which}"
        )
    yield from _strength(path, adapter.strength)


def _strength(path: str, given: str | None) -> Errors:
    if given is None:
        return
    try:
        inside = 0.0 <= float(given) <= 1.0
    except ValueError:
        inside = False
    if not inside:
        yield FieldError(f"{path}.strength", f'"{given}" is no number from "0" to "1"')


def _engine_arguments(text: str, inference: InferenceSpec, facts: Facts) -> Errors:
    where = f'key {container.CONFIG_KEY} of ConfigMap "{inference.config}"'
    try:
        read = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        yield FieldError(_CONFIG, f"{where} is no YAML{line}")
        return
    arguments = read.get("vllm", {}) if isinstance(read, dict) else None
    if not isinstance(arguments, dict):
        yield FieldError(_CONFIG, f"{where} must be a map whose vllm is a map of engine arguments")
        return
    for key, value in arguments.items():
        if isinstance(value, dict | list):
            yield FieldError(
                _CONFIG, f"{where}: vllm.{key} must be a single value; quote JSON as a string"
            )
    if inference.preset is not None:
        yield from _context(where, arguments.get("max-model-len"), inference.preset, facts)


def _context(where: str, given: object, model: PresetSpec, facts: Facts) -> Errors:
    if given is None or str(given).strip() == "":
        return
    limit = facts.max_model_len(model.name)
    tokens = str(given).strip()
    if not tokens.isdecimal() or int(tokens) == 0:
        yield FieldError(_CONFIG, f'{where}: vllm.max-model-len "{given}" is no positive integer')
    elif limit is not None and int(tokens) > limit:
        yield FieldError(
            _CONFIG,
            f"{where}: vllm.max-model-len {tokens} exceeds the {limit} tokens of preset"
            f' "{model.name}"; lower it',
        )
