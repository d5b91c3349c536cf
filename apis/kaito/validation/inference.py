"""Rules on what is served, and with what."""

from __future__ import annotations

from apis import container
from apis.errors import Errors, FieldError, did_you_mean
from apis.kaito import messages
from apis.kaito.v1beta1 import labels
from apis.kaito.v1beta1.workspace import PresetSpec, Workspace
from apis.kaito.validation import weights
from apis.kaito.validation.engine_config import engine_config
from apis.kaito.validation.facts import Facts, no_config_map
from apis.kaito.validation.sources import image_errors

DEPRECATED_PRESETS = frozenset({"phi-2"})

_PRESET = "inference.preset"
_CONFIG = "inference.config"


def preset(workspace: Workspace, facts: Facts) -> Errors:
    """W-C8, W-C21. An id of Hugging Face is a name too; whether it resolves shows later (W-C19)."""
    inference = workspace.inference
    if inference is None or inference.preset is None:
        return
    yield from preset_name(f"{_PRESET}.name", inference.preset.name, facts)
    yield from preset_image(_PRESET, inference.preset)
    secret = inference.preset.preset_options.model_access_secret
    asked = weights.from_presets_repository(workspace)
    if not secret and asked and facts.auth_required(inference.preset.name):
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


def preset_image(path: str, given: PresetSpec) -> Errors:
    """As v1alpha1 of upstream has it, whose v1beta1 ignores these fields."""
    yield from image_errors(f"{path}.presetOptions.image", given.preset_options.image)
    if given.access_mode == "private" and not given.preset_options.image:
        yield FieldError(f"{path}.presetOptions.image", messages.PRIVATE_IMAGE)


def kept_preset(path: str, old: PresetSpec | None, new: PresetSpec | None) -> Errors:
    """W-U8, W-U11."""
    if (old is None) != (new is None):
        yield FieldError(path, messages.PRESENCE_KEPT)
    elif old != new:
        yield FieldError(path, messages.KEPT)


def one_source(workspace: Workspace, _: Facts) -> Errors:
    """W-C18."""
    inference = workspace.inference
    if inference is not None and (inference.preset is None) == (inference.template is None):
        yield FieldError(_PRESET, messages.ONE_SOURCE)


def runtime(workspace: Workspace, facts: Facts) -> Errors:
    """W-C20."""
    inference = workspace.inference
    if inference is None:
        return
    engine = runtime_of(workspace, facts)
    if inference.preset is not None and facts.runtime_refusal is not None:
        refusal = facts.runtime_refusal(inference.preset.name, engine)
        if refusal:
            yield FieldError(
                f"{_PRESET}.name", f"{refusal} (annotation {labels.RUNTIME_ANNOTATION})"
            )


def streaming(workspace: Workspace, facts: Facts) -> Errors:
    """W-C24."""
    inference = workspace.inference
    if not facts.gate("ModelStreaming") or inference is None or inference.preset is None:
        return
    asked = workspace.metadata.annotations.get(labels.MODEL_STREAMING_ANNOTATION)
    opted_out = asked == labels.MODEL_STREAMING_DISABLED
    if opted_out or runtime_of(workspace, facts) != labels.RUNTIME_VLLM:
        return
    remedy = (
        f"; annotate with {labels.MODEL_STREAMING_ANNOTATION}={labels.MODEL_STREAMING_DISABLED}"
    )
    if facts.cloud != "azure":
        yield FieldError(_PRESET, f'cannot be streamed from blobs on cloud "{facts.cloud}"{remedy}')
    elif facts.csi_driver is not None and not facts.csi_driver(labels.BLOB_CSI_DRIVER):
        yield FieldError(
            _PRESET,
            f"cannot be streamed: the CSIDriver {labels.BLOB_CSI_DRIVER} is not installed{remedy}",
        )


def config(workspace: Workspace, facts: Facts) -> Errors:
    """W-C23. Each engine has its section of the ConfigMap."""
    inference = workspace.inference
    if inference is None or not inference.config or facts.config_map is None:
        return
    data = facts.config_map(inference.config)
    if data is None:
        yield no_config_map(_CONFIG, inference.config, workspace.metadata.namespace)
    elif container.CONFIG_KEY not in data:
        yield FieldError(
            _CONFIG, f'ConfigMap "{inference.config}" has no key {container.CONFIG_KEY}'
        )
    else:
        engine = runtime_of(workspace, facts)
        yield from engine_config(workspace, engine, data[container.CONFIG_KEY], facts)


def fit(workspace: Workspace, facts: Facts) -> Errors:
    """W-C16, W-C17: told now rather than by a workload that never starts."""
    inference = workspace.inference
    if inference is None or inference.preset is None or facts.fits is None:
        return
    if labels.BYPASS_RESOURCE_CHECKS_ANNOTATION in workspace.metadata.annotations:
        return
    if any(config(workspace, facts)):
        return  # said already, and nothing to reckon with
    reason = facts.fits(workspace, facts.config_of(workspace))
    if reason:
        path = "resource.instanceType" if not facts.byo else "resource.labelSelector"
        yield FieldError(
            path,
            f"{reason} (annotation {labels.BYPASS_RESOURCE_CHECKS_ANNOTATION} skips this check)",
        )


def preset_kept(old: Workspace, new: Workspace, _: Facts) -> Errors:
    """W-U8."""
    if old.inference and new.inference:
        yield from kept_preset(_PRESET, old.inference.preset, new.inference.preset)


def template_kept(old: Workspace, new: Workspace, facts: Facts) -> Errors:
    """W-U9. Its content may change."""
    if old.inference is None or new.inference is None:
        return
    if (old.inference.template is None) != (new.inference.template is None):
        yield FieldError("inference.template", messages.PRESENCE_KEPT)
    if not any(one_source(old, facts)):
        yield from one_source(new, facts)


def runtime_changed(old: Workspace, new: Workspace, facts: Facts) -> Errors:
    """W-C20, where the engine or its adapters are others than before."""
    before = old.inference.adapters if old.inference else ()
    after = new.inference.adapters if new.inference else ()
    if before != after or runtime_of(old, facts) != runtime_of(new, facts):
        yield from runtime(new, facts)


def config_changed(old: Workspace, new: Workspace, facts: Facts) -> Errors:
    """W-C23, of the ConfigMap that is named now; upstream looks at it on creation alone."""
    if old.inference and new.inference and old.inference.config != new.inference.config:
        yield from config(new, facts)


def runtime_of(workspace: Workspace, facts: Facts) -> str:
    return labels.runtime(workspace.metadata.annotations, vllm=facts.gate("vLLM", default=True))


def _hugging_face_id(given: str) -> bool:
    owner, slash, model = given.partition("/")
    return bool(owner and slash and model)
