"""Model and plan as the command line of `python -m serving.llamacpp`: llama-server's flags."""

from __future__ import annotations

import math

from presets.engines.options import Options
from presets.engines.profile import EngineProfile
from presets.fits import DoesNotFitError, Fit
from presets.model import Model


def argv(model: Model, fit: Fit, options: Options) -> list[str]:
    """Arguments after `python -m serving.llamacpp`; DoesNotFitError without a GGUF file."""
    if why := _cannot_serve(model):
        raise DoesNotFitError(f"{model.name} {why}")
    directory = options.weights_dir or options.download_dir
    arguments = [
        f"--model={directory}/{model.gguf_file}",
        f"--alias={options.served_model_name or model.name}",
        f"--port={options.port}",
    ]
    if context := options.max_model_len or fit.max_model_len:
        arguments.append(f"--ctx-size={context}")
    if fit.cpu and not fit.gpus_per_node:
        # Whole cores: a thread beyond the share is throttled and holds up all the others.
        arguments.append(f"--threads={max(1, math.floor(fit.cpu))}")
    if fit.gpus_per_node:
        # One more than the layers: the output layer counts.
        arguments.append(f"--n-gpu-layers={model.layers + 1 if model.layers else -1}")
        arguments.append(f"--split-mode={'layer' if fit.gpus_per_node > 1 else 'none'}")
    if options.adapters_dir:
        arguments.append(f"--kaito-adapters-dir={options.adapters_dir}")
    if options.config_file:
        arguments.append(f"--kaito-config-file={options.config_file}")
    return arguments


def environment(model: Model, fit: Fit, options: Options) -> dict[str, str]:
    """llama.cpp takes everything by flag."""
    return {}


def _cannot_serve(model: Model) -> str:
    if model.gguf_file:
        return ""
    return "has no GGUF file that llama.cpp could load: use the vllm runtime"


PROFILE = EngineProfile(
    name="llamacpp",
    command=("python", "-m", "serving.llamacpp"),
    argv=argv,
    environment=environment,
    cpu=True,
    adapters="start",
    strength=True,
    formats=frozenset({"gguf"}),
    cannot_serve=_cannot_serve,
)
