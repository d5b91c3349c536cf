"""Model and plan as the command line of `python -m serving.transformers`.

The flags are those of KAITO's text-generation server, spelled as it spells them; it has none for
the port, the context and the directories that are mounted, which are ours.
"""

from __future__ import annotations

from presets.engines.options import Options
from presets.engines.profile import EngineProfile
from presets.fits import Fit
from presets.model import Model

_QUANTISED = frozenset({"bitsandbytes"})
"""Weights in few bits that the image can load: the others' kernels are in packages that it has
not, or on a hub that a pod need not reach."""


def argv(model: Model, fit: Fit, options: Options) -> list[str]:
    """Arguments after `python -m serving.transformers`."""
    flags: dict[str, str] = {
        "pipeline": "text-generation",
        "served_model_name": options.served_model_name or model.name,
        "pretrained_model_name_or_path": options.weights_dir or model.hf_id,
        "torch_dtype": "auto" if model.quantization else fit.dtype,
        "device_map": "auto",
        "port": str(options.port),
    }
    if not options.weights_dir:
        flags |= {"allow_remote_files": "True", "cache_dir": options.download_dir}
        if model.revision:
            flags["revision"] = model.revision
    if model.trust_remote_code:
        flags["trust_remote_code"] = "True"
    if model.chat_template:
        flags["chat_template"] = f"{options.chat_template_dir}/{model.chat_template}"
    if context := options.max_model_len or fit.max_model_len:
        flags["max-model-len"] = str(context)
    return [*(f"--{flag}={value}" for flag, value in flags.items()), *_ours(options)]


def environment(model: Model, fit: Fit, options: Options) -> dict[str, str]:
    """Everything else comes by flag."""
    return {"HF_HUB_OFFLINE": "1"} if options.weights_dir else {}


def _ours(options: Options) -> list[str]:
    """Flags for what the pod mounts, the same for each of our images."""
    found = []
    if options.adapters_dir:
        found.append(f"--kaito-adapters-dir={options.adapters_dir}")
    if options.runtime_adapters:
        found.append("--kaito-runtime-adapters")
    if options.config_file:
        found.append(f"--kaito-config-file={options.config_file}")
    if options.disable_rate_limit:
        found.append("--kaito-disable-rate-limit")
    return found


def _cannot_serve(model: Model) -> str:
    """W-C20. KAITO has a list of models that its server was tried with; ours serves what
    transformers loads, and refuses what it cannot."""
    if (model.load_format or model.config_format) and "transformers" not in model.runtimes:
        return (
            f"has weights in the format of {model.load_format or model.config_format} alone, which"
            " transformers does not load: use the vllm runtime"
        )
    if model.quantization and model.quantization not in _QUANTISED:
        return (
            f"has {model.quantization} weights, which the transformers runtime does not load:"
            " use the vllm runtime"
        )
    return ""


PROFILE = EngineProfile(
    name="transformers",
    command=("python", "-m", "serving.transformers"),
    argv=argv,
    environment=environment,
    cpu=True,
    adapters="running",
    strength=True,
    cannot_serve=_cannot_serve,
)
