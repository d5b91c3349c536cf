"""Model and plan as the command line of `python -m serving.vllm`: KAITO's flags and vLLM's own.

vLLM's come as `--flag=value`, spelled as KAITO spells them, so that a ConfigMap that overrides
one still does.
"""

from __future__ import annotations

import math

from presets.engines.options import Options
from presets.engines.profile import HTTP, EngineProfile, Port
from presets.fits import Fit
from presets.model import Model

CUDA_HOME = "/opt/kaito/cuda/129"
KV_EVENTS_PORT = 5557
MASTER_PORT = 29501
"""Where the ranks of vLLM's own launcher meet."""

_STREAMER = "runai_streamer"


def argv(model: Model, fit: Fit, options: Options) -> list[str]:
    """Arguments after `python -m serving.vllm`."""
    flags: dict[str, str] = {
        "served-model-name": options.served_model_name or model.name,
        "port": str(options.port),
        "max-model-len": str(options.max_model_len or fit.max_model_len or "auto"),
        "dtype": fit.dtype,
        **_source(model, fit, options),
        **_memory(model, fit),
        **_parallelism(model, fit, options),
        **_dialogue(model, options),
        **model.vllm_options,
    }
    if model.kv_dtype == "fp8":
        flags["kv-cache-dtype"] = "fp8"
    if model.trust_remote_code:
        flags["trust-remote-code"] = ""
    if options.performance_mode not in ("", "balanced"):
        flags["performance-mode"] = options.performance_mode
    flags |= _ours(model, options)
    return [f"--{flag}={value}" if value else f"--{flag}" for flag, value in flags.items()]


def environment(model: Model, fit: Fit, options: Options) -> dict[str, str]:
    """Variables that the server needs beside its flags."""
    found = {"KAITO_PROCESSOR": options.weights_dir or model.hf_id}
    if options.weights_dir:
        found["HF_HUB_OFFLINE"] = "1"
    if not fit.gpus_per_node:
        found["VLLM_CPU_KVCACHE_SPACE"] = str(max(1, math.floor(fit.kv_cache_gib)))
        return found
    found["VLLM_USE_FLASHINFER_SAMPLER"] = "0"
    found["VLLM_USE_DEEP_GEMM"] = "1" if model.deep_gemm else "0"
    if model.deep_gemm or model.cuda_toolkit:
        found["CUDA_HOME"] = CUDA_HOME
    return found


def _source(model: Model, fit: Fit, options: Options) -> dict[str, str]:
    flags = {"model": options.weights_dir or model.hf_id}
    if not options.weights_dir:
        flags["download-dir"] = options.download_dir
        if model.revision:
            # All three: the code's revision alone leaves the weights at the branch's head.
            flags["revision"] = flags["tokenizer-revision"] = model.revision
            flags["code-revision"] = model.revision
    if load_format := options.load_format or model.load_format:
        flags["load-format"] = load_format
        if load_format == _STREAMER and fit.tensor_parallel > 1:
            flags["model-loader-extra-config"] = '{"distributed":true}'
    if model.config_format:
        flags["config-format"] = model.config_format
    if model.tokenizer_mode:
        flags["tokenizer-mode"] = model.tokenizer_mode
    return flags


def _memory(model: Model, fit: Fit) -> dict[str, str]:
    if not fit.gpus_per_node:
        return {"enforce-eager": ""}
    flags = {
        "gpu-memory-utilization": f"{fit.gpu_memory_utilization:g}",
        "kv-events-config": '{"enable_kv_cache_events":true}',
        "compilation-config.pass_config.fuse_allreduce_rms": "False",
    }
    alone = fit.data_parallel == 1 and fit.nodes == 1 and not fit.shared_gpu
    if not (model.cpu_kv_offload and alone):
        flags["kaito-kv-cache-cpu-memory-utilization"] = "0"
    return flags


def _parallelism(model: Model, fit: Fit, options: Options) -> dict[str, str]:
    flags = {"tensor-parallel-size": str(fit.tensor_parallel)}
    if fit.pipeline_parallel > 1:
        flags["pipeline-parallel-size"] = str(fit.pipeline_parallel)
    if fit.data_parallel > 1:
        flags["data-parallel-size"] = str(fit.data_parallel)
    if fit.nodes > 1:
        flags["distributed-executor-backend"] = options.distributed_executor
        if options.distributed_executor == "mp":
            # Rank and address come from the pod itself.
            flags |= {"nnodes": str(fit.nodes), "master-port": str(MASTER_PORT)}
    if model.expert_parallel and fit.tensor_parallel * fit.data_parallel > 1:
        flags["enable-expert-parallel"] = ""
    return flags


def _dialogue(model: Model, options: Options) -> dict[str, str]:
    flags = {}
    if model.tool_parser:
        flags["tool-call-parser"] = model.tool_parser
        flags["enable-auto-tool-choice"] = ""
    if model.reasoning_parser:
        flags["reasoning-parser"] = model.reasoning_parser
    if model.chat_template:
        flags["chat-template"] = f"{options.chat_template_dir}/{model.chat_template}"
    return flags


def _ours(model: Model, options: Options) -> dict[str, str]:
    """Flags that the image reads itself."""
    flags = {}
    if options.adapters_dir and model.lora:
        flags["enable-lora"] = ""
        flags["kaito-adapters-dir"] = options.adapters_dir
        if options.runtime_adapters:
            flags["kaito-runtime-adapters"] = ""
    if options.config_file:
        flags["kaito-config-file"] = options.config_file
    if options.disable_rate_limit:
        flags["kaito-disable-rate-limit"] = ""
    return flags


PROFILE = EngineProfile(
    name="vllm",
    command=("python", "-m", "serving.vllm"),
    argv=argv,
    environment=environment,
    ports=(HTTP, Port("kv-events", KV_EVENTS_PORT)),
    cpu=True,
    multi_node=True,
    adapters="running",
    strength=True,
    formats=frozenset({"safetensors", "mistral"}),
)
