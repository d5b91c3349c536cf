"""Model and plan as the command line of `python -m serving.transformers`.

The flags are those of KAITO's text-generation server, which are underscored and have no port: it
listens on 5000. What else comes as `--name value` goes to the model's loader.
"""

from __future__ import annotations

from presets.engines.options import Options
from presets.engines.profile import EngineProfile
from presets.fits import Fit
from presets.model import Model

_OWN = frozenset(
    {
        "pipeline", "pretrained_model_name_or_path", "combination_type", "state_dict", "cache_dir",
        "proxies", "force_download", "output_loading_info", "allow_remote_files", "revision",
        "trust_remote_code", "torch_dtype", "device_map", "chat_template", "served_model_name",
    }
)  # fmt: skip
"""What the server's parser knows by name."""


def argv(model: Model, fit: Fit, options: Options) -> list[str]:
    """Arguments after `python -m serving.transformers`; the user's options last, in place of
    ours."""
    flags: dict[str, str] = {
        "pipeline": "text-generation",
        "served_model_name": options.served_model_name or model.name,
        "pretrained_model_name_or_path": options.weights_dir or model.hf_id,
        "torch_dtype": "auto" if model.quantization else fit.dtype,
        "device_map": "auto",
    }
    if not options.weights_dir:
        flags |= {"allow_remote_files": "True", "cache_dir": options.download_dir}
        if model.revision:
            flags["revision"] = model.revision
    if model.trust_remote_code:
        flags["trust_remote_code"] = "True"
    if model.chat_template:
        flags["chat_template"] = f"{options.chat_template_dir}/{model.chat_template}"
    loader: list[str] = []
    for name, given in options.engine_options.items():
        key, value = name.replace("-", "_"), "True" if given is None else str(given)
        if key in _OWN:
            flags[key] = value
        elif value.lower() == "true":
            # As text it would be a string, and every string is true.
            loader.append(f"--{key}")
        elif value.lower() != "false":
            loader += [f"--{key}", value]
    return [*(f"--{flag}={value}" for flag, value in flags.items()), *loader]


def environment(model: Model, fit: Fit, options: Options) -> dict[str, str]:
    """Everything else comes by flag; strengths by variables that are named as the adapters."""
    return {"HF_HUB_OFFLINE": "1"} if options.weights_dir else {}


def _cannot_serve(model: Model) -> str:
    """W-C20: KAITO's list of models that the server has been tried with."""
    if "transformers" in model.runtimes:
        return ""
    return "is not known to run on transformers: use the vllm runtime"


PROFILE = EngineProfile(
    name="transformers",
    released=False,
    command=("python", "-m", "serving.transformers"),
    argv=argv,
    environment=environment,
    adapters="start",
    strength=True,
    reads_config=False,
    cannot_serve=_cannot_serve,
)
