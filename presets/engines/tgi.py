"""Model and plan as the command line of Hugging Face's text-generation-inference.

The image is theirs, so are the flags: `text-generation-launcher --help` of the version below, kept
in tests/unit/presets/launcher_flags.py.
"""

from __future__ import annotations

from presets.engines.options import Options
from presets.engines.profile import EngineProfile
from presets.fits import Fit
from presets.model import Model

VERSION = "3.3.5"
IMAGE = f"ghcr.io/huggingface/text-generation-inference:{VERSION}"

_QUANTISED = frozenset(
    {"awq", "bitsandbytes", "compressed-tensors", "eetq", "exl2", "fp8", "gptq", "marlin"}
)
_CACHE_DTYPES = {"fp8": "fp8_e4m3fn"}
_DTYPES = frozenset({"bfloat16", "float16"})


def argv(model: Model, fit: Fit, options: Options) -> list[str]:
    """Arguments of text-generation-launcher; the user's options last, in place of ours."""
    flags: dict[str, str] = {
        "model-id": options.weights_dir or model.hf_id,
        "port": str(options.port),
        # Kubernetes sets HOSTNAME to the pod's name, and the launcher would listen there.
        "hostname": "0.0.0.0",
        "num-shard": str(fit.tensor_parallel),
        "cuda-memory-fraction": f"{fit.gpu_memory_utilization:g}",
        "usage-stats": "off",
    }
    if context := options.max_model_len or fit.max_model_len:
        # A request is its prompt and at least one new token.
        flags |= {"max-total-tokens": str(context), "max-input-tokens": str(max(1, context - 1))}
    if not options.weights_dir:
        flags["huggingface-hub-cache"] = options.download_dir
        if model.revision:
            flags["revision"] = model.revision
    if fit.dtype in _DTYPES and not model.quantization:
        flags["dtype"] = fit.dtype
    if dtype := _CACHE_DTYPES.get(model.kv_dtype):
        flags["kv-cache-dtype"] = dtype
    if model.trust_remote_code:
        flags["trust-remote-code"] = ""
    return [
        f"--{flag}={value}" if value else f"--{flag}"
        for flag, value in _with(flags, options).items()
    ]


def environment(model: Model, fit: Fit, options: Options) -> dict[str, str]:
    """The image expects to run as root: a home that everybody can write to, and a name."""
    found = {"HOME": "/tmp", "USER": "kaito"}  # noqa: S108  # in the container
    if options.weights_dir:
        found["HF_HUB_OFFLINE"] = "1"
    if options.adapters:
        found["LORA_ADAPTERS"] = ",".join(
            f"{name}={options.adapters_dir}/{name}" for name in options.adapters
        )
    return found


def _with(flags: dict[str, str], options: Options) -> dict[str, str]:
    """The launcher refuses a flag that is there twice; a switch that is off is left out."""
    for name, given in options.engine_options.items():
        value = "" if given is None or given is True else str(given)
        if value.lower() == "false":
            flags.pop(name, None)
        else:
            flags[name] = "" if value.lower() == "true" else value
    if "quantize" in flags:
        flags.pop("dtype", None)  # the launcher takes one of the two
    return flags


def _cannot_serve(model: Model) -> str:
    if model.load_format or model.config_format:
        return (
            f"has weights in the format of {model.load_format or model.config_format}, which"
            " text-generation-inference does not load: use the vllm runtime"
        )
    if model.quantization and model.quantization not in _QUANTISED:
        return (
            f"has {model.quantization} weights, which text-generation-inference does not load:"
            " use the vllm runtime"
        )
    return ""


PROFILE = EngineProfile(
    name="tgi",
    image=IMAGE,
    argv=argv,
    environment=environment,
    adapters="start",
    reads_config=False,
    cannot_serve=_cannot_serve,
)
