"""Model and plan as the command line of `python -m serving.llamacpp`: llama-server's flags."""

from __future__ import annotations

import math

from presets.engines.options import Options
from presets.fits import DoesNotFitError, Fit
from presets.model import Model

__all__ = ["Options", "argv", "environment"]


def argv(model: Model, fit: Fit, options: Options) -> list[str]:
    """Arguments after `python -m serving.llamacpp`; DoesNotFitError without a GGUF file."""
    if not model.gguf_file:
        raise DoesNotFitError(
            f"{model.name} has no GGUF file that llama.cpp could load: use the vllm runtime"
        )
    directory = options.weights_dir or options.download_dir
    arguments = [
        f"--model={directory}/{model.gguf_file}",
        f"--alias={options.served_model_name or model.name}",
        f"--port={options.port}",
    ]
    if context := options.max_model_len or fit.max_model_len:
        arguments.append(f"--ctx-size={context}")
    if fit.cpu:
        # Whole cores: a thread beyond the share is throttled and holds up all the others.
        arguments.append(f"--threads={max(1, math.floor(fit.cpu))}")
    if fit.gpus_per_node:
        arguments.append(f"--n-gpu-layers={model.layers + 1}")
    if options.adapters_dir:
        arguments.append(f"--kaito-adapters-dir={options.adapters_dir}")
    if options.config_file:
        arguments.append(f"--kaito-config-file={options.config_file}")
    return arguments


def environment(model: Model, fit: Fit, options: Options) -> dict[str, str]:
    """llama.cpp takes everything by flag."""
    return {}
