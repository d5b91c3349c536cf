"""Command lines of the engines: the plan's numbers, the model's quirks, the workspace's wishes."""

from __future__ import annotations

import dataclasses
from typing import Any, get_args

import pytest
from preset_models import A10, A100, A100_X2, A100_X4, H200_X8, NO_GPU, a_llama

from apis import engineoptions
from apis.gpu import GPU
from presets import catalog, estimate
from presets.engines import llamacpp, registry, tgi, transformers, vllm
from presets.engines.options import Options
from presets.estimate import DoesNotFitError, Fit
from presets.fits import Engine
from presets.model import Model

PLAIN = Options()


def planned(preset: str, gpu: GPU, **options: Any) -> tuple[Model, Fit]:
    model = catalog.load().get(preset)
    return model, estimate.fit(model, gpu, **options)


def flags_of(arguments: list[str]) -> dict[str, str]:
    """By name; each flag once, or the later would silently win."""
    flags = {}
    for argument in arguments:
        assert argument.startswith("--")
        name, _, value = argument[2:].partition("=")
        assert name not in flags
        flags[name] = value
    return flags


def vllm_flags(preset: str, gpu: GPU, options: Options = PLAIN, **wishes: Any) -> dict[str, str]:
    return flags_of(vllm.argv(*planned(preset, gpu, **wishes), options))


def test_vllm_as_kaito_starts_it() -> None:
    assert vllm.argv(*planned("phi-4-mini-instruct", A10, estimator="kaito"), PLAIN) == [
        "--served-model-name=phi-4-mini-instruct",
        "--port=5000",
        "--max-model-len=auto",
        "--dtype=bfloat16",
        "--model=microsoft/Phi-4-mini-instruct",
        "--download-dir=/workspace/weights",
        "--revision=c0fb9e74abda11b496b7907a9c6c9009a7a0488f",
        "--tokenizer-revision=c0fb9e74abda11b496b7907a9c6c9009a7a0488f",
        "--code-revision=c0fb9e74abda11b496b7907a9c6c9009a7a0488f",
        "--gpu-memory-utilization=0.82",
        '--kv-events-config={"enable_kv_cache_events":true}',
        "--compilation-config.pass_config.fuse_allreduce_rms=False",
        "--tensor-parallel-size=1",
        "--tool-call-parser=phi4_mini_json",
        "--enable-auto-tool-choice",
        "--chat-template=/workspace/chat_templates/tool-chat-phi4-mini.jinja",
    ]


@pytest.mark.parametrize(
    ("preset", "gpu", "expected"),
    [
        pytest.param(
            "llama-3.1-8b-instruct", A100_X4,
            {"tensor-parallel-size": "1", "data-parallel-size": "4",
             "kaito-kv-cache-cpu-memory-utilization": "0"},
            id="replicas",
        ),
        pytest.param(
            "llama-3.3-70b-instruct", A100_X2,
            {"tensor-parallel-size": "2", "pipeline-parallel-size": "2",
             "distributed-executor-backend": "ray", "gpu-memory-utilization": "0.92"},
            id="two nodes",
        ),
        pytest.param("gpt-oss-20b", A10, {"dtype": "auto"}, id="quantised"),
        pytest.param(
            "mistral-7b", A100,
            {"load-format": "mistral", "config-format": "mistral", "tokenizer-mode": "mistral"},
            id="mistral's own format",
        ),
        pytest.param(
            "deepseek-v3.2", H200_X8,
            {"tokenizer-mode": "deepseek_v32", "tool-call-parser": "deepseek_v32",
             "reasoning-parser": "deepseek_v3",
             "kernel-config.enable_flashinfer_autotune": "False"},
            id="deepseek",
        ),
        pytest.param("glm-5.2-fp8", H200_X8, {"kv-cache-dtype": "fp8"}, id="fp8 cache"),
        pytest.param("qwen3.5-4b", A10, {"gdn-prefill-backend": "triton"}, id="linear attention"),
        pytest.param(
            "minimax-m2.7", A100_X4, {"enable-expert-parallel": "", "trust-remote-code": ""},
            id="experts dealt out",
        ),
    ],
)  # fmt: skip
def test_vllm_flags(preset: str, gpu: GPU, expected: dict[str, str]) -> None:
    flags = vllm_flags(preset, gpu)
    assert {name: flags.get(name) for name in expected} == expected


@pytest.mark.parametrize(
    ("preset", "absent"),
    [
        pytest.param("phi-4-mini-instruct", "data-parallel-size", id="no replicas"),
        pytest.param("phi-4-mini-instruct", "pipeline-parallel-size", id="no pipeline"),
        pytest.param("phi-4-mini-instruct", "distributed-executor-backend", id="one node"),
        pytest.param("phi-4-mini-instruct", "trust-remote-code", id="nobody's code"),
        pytest.param("phi-4-mini-instruct", "enable-lora", id="no adapters"),
        pytest.param("deepseek-r1-distill-llama-8b", "tokenizer-mode", id="not its teacher's"),
        pytest.param("granite-4.1-8b", "revision", id="not pinned"),
        pytest.param(
            "phi-4-mini-instruct", "kaito-kv-cache-cpu-memory-utilization", id="offload as usual"
        ),
    ],
)
def test_vllm_flags_that_stay_out(preset: str, absent: str) -> None:
    assert absent not in vllm_flags(preset, A100)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param(
            Options(served_model_name="mine", port=5001),
            {"served-model-name": "mine", "port": "5001"},
            id="name and port",
        ),
        pytest.param(Options(max_model_len=999), {"max-model-len": "999"}, id="context"),
        pytest.param(
            Options(config_file="/mnt/config/inference_config.yaml"),
            {"kaito-config-file": "/mnt/config/inference_config.yaml"},
            id="config",
        ),
        pytest.param(
            Options(adapters_dir="/mnt/adapter"),
            {
                "enable-lora": "",
                "kaito-adapters-dir": "/mnt/adapter",
                "kaito-runtime-adapters": None,
            },
            id="adapters",
        ),
        pytest.param(
            Options(adapters_dir="/mnt/adapter", runtime_adapters=True),
            {"enable-lora": "", "kaito-runtime-adapters": ""},
            id="adapters at run time",
        ),
        pytest.param(
            Options(performance_mode="throughput"), {"performance-mode": "throughput"}, id="mode"
        ),
        pytest.param(Options(performance_mode="balanced"), {"performance-mode": None}, id="none"),
        pytest.param(Options(disable_rate_limit=True), {"kaito-disable-rate-limit": ""}, id="429"),
        pytest.param(
            Options(weights_dir="/opt/kaito/models/phi-4", load_format="runai_streamer"),
            {"model": "/opt/kaito/models/phi-4", "download-dir": None, "revision": None,
             "load-format": "runai_streamer"},
            id="weights of the node",
        ),
    ],
)  # fmt: skip
def test_vllm_options(options: Options, expected: dict[str, str | None]) -> None:
    flags = vllm_flags("phi-4", A100, options)
    assert {name: flags.get(name) for name in expected} == expected


def test_the_promised_context_is_the_flag() -> None:
    model, fit = planned("llama-3.1-8b-instruct", A10)
    assert flags_of(vllm.argv(model, fit, PLAIN))["max-model-len"] == str(fit.max_model_len)


def test_no_adapters_for_a_model_that_takes_none() -> None:
    flags = vllm_flags("falcon-7b", A100, Options(adapters_dir="/mnt/adapter"))
    assert "enable-lora" not in flags


def test_a_slice_moves_no_cache_to_the_host() -> None:
    flags = vllm_flags("phi-4-mini-instruct", GPU(1, "NVIDIA A100", 20), mig_profile="2g.20gb")
    assert flags["kaito-kv-cache-cpu-memory-utilization"] == "0"


def test_vllm_on_a_cpu() -> None:
    model, fit = planned("gemma-3-270m", NO_GPU, memory_gib=12, cpus=4, engine="vllm")
    options = Options(weights_dir="/opt/kaito/models/gemma-3-270m")
    assert vllm.argv(model, fit, options) == [
        "--served-model-name=gemma-3-270m",
        "--port=5000",
        "--max-model-len=8192",
        "--dtype=float32",
        "--model=/opt/kaito/models/gemma-3-270m",
        "--enforce-eager",
        "--tensor-parallel-size=1",
    ]
    assert vllm.environment(model, fit, options) == {
        "KAITO_PROCESSOR": "/opt/kaito/models/gemma-3-270m",
        "HF_HUB_OFFLINE": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
    }


def test_a_long_context_gets_a_larger_cache_on_a_cpu() -> None:
    model = a_llama(2, parameters=1)
    fit = estimate.fit(model, NO_GPU, memory_gib=64, max_model_len=8192)
    # 8192 tokens of 262144 bytes in float32.
    assert vllm.environment(model, fit, PLAIN)["VLLM_CPU_KVCACHE_SPACE"] == "2"


@pytest.mark.parametrize(
    ("preset", "gpu", "expected"),
    [
        pytest.param(
            "phi-4", A100,
            {"VLLM_USE_DEEP_GEMM": "0", "VLLM_USE_FLASHINFER_SAMPLER": "0", "CUDA_HOME": None,
             "KAITO_PROCESSOR": "microsoft/phi-4", "HF_HUB_OFFLINE": None},
            id="usual",
        ),
        pytest.param(
            "deepseek-v4-flash-0731", H200_X8,
            {"VLLM_USE_DEEP_GEMM": "1", "CUDA_HOME": "/opt/kaito/cuda/129"}, id="DeepGEMM",
        ),
        pytest.param(
            "mistral-small-4-119b-2603", H200_X8,
            {"VLLM_USE_DEEP_GEMM": "0", "CUDA_HOME": "/opt/kaito/cuda/129"}, id="CUDA toolkit",
        ),
    ],
)  # fmt: skip
def test_vllm_environment(preset: str, gpu: GPU, expected: dict[str, str | None]) -> None:
    found = vllm.environment(*planned(preset, gpu), PLAIN)
    assert {name: found.get(name) for name in expected} == expected


def test_llamacpp_on_a_cpu() -> None:
    model, fit = planned("gemma-3-270m", NO_GPU, memory_gib=6, cpus=4)
    options = Options(
        served_model_name="tiny",
        weights_dir="/opt/kaito/models/gemma-3-270m",
        adapters_dir="/mnt/adapter",
        config_file="/mnt/config/inference_config.yaml",
    )
    assert llamacpp.argv(model, fit, options) == [
        "--model=/opt/kaito/models/gemma-3-270m/model.gguf",
        "--alias=tiny",
        "--port=5000",
        "--ctx-size=8192",
        "--threads=3",
        "--kaito-adapters-dir=/mnt/adapter",
        "--kaito-config-file=/mnt/config/inference_config.yaml",
    ]
    assert llamacpp.environment(model, fit, options) == {}


@pytest.mark.parametrize(
    ("cpus", "threads"), [pytest.param(0.5, "1", id="part of one"), pytest.param(0, None, id="?")]
)
def test_llamacpp_threads(cpus: float, threads: str | None) -> None:
    model, fit = planned("gemma-3-270m", NO_GPU, cpus=cpus)
    assert flags_of(llamacpp.argv(model, fit, PLAIN)).get("threads") == threads


@pytest.mark.parametrize(
    ("gpu", "split"), [pytest.param(A10, "none", id="one"), pytest.param(A100_X4, "layer", id="4")]
)
def test_llamacpp_on_gpus_moves_all_layers_there(gpu: GPU, split: str) -> None:
    model, fit = planned("gemma-3-270m", gpu, engine="llamacpp", memory_gib=12, cpus=4)
    flags = flags_of(llamacpp.argv(model, fit, PLAIN))
    assert (flags["n-gpu-layers"], flags["split-mode"]) == ("19", split)
    assert "threads" not in flags


def test_llamacpp_needs_a_gguf_file() -> None:
    model, fit = planned("phi-4", A100)
    with pytest.raises(DoesNotFitError, match="phi-4 has no GGUF file"):
        llamacpp.argv(model, fit, PLAIN)


def test_nodes_are_joined_by_vllm_itself_where_that_is_asked_for() -> None:
    flags = vllm_flags("llama-3.3-70b-instruct", A100_X2, Options(distributed_executor="mp"))
    joined = {"distributed-executor-backend": "mp", "nnodes": "2", "master-port": "29501"}
    assert {name: flags.get(name) for name in joined} == joined


def test_one_node_is_joined_with_nobody() -> None:
    flags = vllm_flags("phi-4", A100, Options(distributed_executor="mp"))
    assert not {"nnodes", "distributed-executor-backend"} & {*flags}


@pytest.mark.parametrize(
    ("gpu", "given"),
    [pytest.param(A100, None, id="one GPU"), pytest.param(A100_X2, '{"distributed":true}', id="2")],
)
def test_slices_of_one_model_are_streamed_together(gpu: GPU, given: str | None) -> None:
    model, fit = planned("phi-4", gpu)
    if gpu is A100_X2:
        fit = dataclasses.replace(fit, tensor_parallel=2, data_parallel=1)
    flags = flags_of(vllm.argv(model, fit, Options(load_format="runai_streamer")))
    assert flags.get("model-loader-extra-config") == given


def test_tgi_as_its_launcher_wants_it() -> None:
    model, fit = planned("llama-3.1-8b-instruct", A100_X4, engine="tgi", max_model_len=8192)
    assert (fit.engine, fit.nodes, fit.data_parallel, fit.pipeline_parallel) == ("tgi", 1, 1, 1)
    options = Options(
        weights_dir="/workspace/weights/snapshots/main",
        adapters_dir="/mnt/adapter",
        adapters=("legal", "style"),
    )
    assert tgi.argv(model, fit, options) == [
        "--model-id=/workspace/weights/snapshots/main",
        "--port=5000",
        "--hostname=0.0.0.0",
        f"--num-shard={fit.tensor_parallel}",
        "--cuda-memory-fraction=0.92",
        "--usage-stats=off",
        "--max-total-tokens=8192",
        "--max-input-tokens=8191",
        "--dtype=bfloat16",
    ]
    assert tgi.environment(model, fit, options) == {
        "HOME": "/tmp",
        "USER": "kaito",
        "HF_HUB_OFFLINE": "1",
        "LORA_ADAPTERS": "legal=/mnt/adapter/legal,style=/mnt/adapter/style",
    }


@pytest.mark.parametrize(
    ("wishes", "expected"),
    [
        pytest.param({}, {"dtype": "bfloat16", "max-batch-size": None}, id="none"),
        pytest.param({"max-batch-size": 4}, {"max-batch-size": "4"}, id="another"),
        pytest.param({"max-total-tokens": 99}, {"max-total-tokens": "99"}, id="instead of ours"),
        pytest.param({"quantize": "eetq"}, {"quantize": "eetq", "dtype": None}, id="either"),
        pytest.param({"json-output": True}, {"json-output": ""}, id="a switch"),
        pytest.param({"json-output": False}, {"json-output": None}, id="a switch that is off"),
    ],
)
def test_wishes_of_the_user_take_the_place_of_tgi_flags(
    wishes: dict[str, object], expected: dict[str, str | None]
) -> None:
    model, fit = planned("phi-4", A100, engine="tgi")
    flags = flags_of(tgi.argv(model, fit, Options(engine_options=wishes)))
    assert {name: flags.get(name) for name in expected} == expected


def test_transformers_with_kaitos_flags_and_ours() -> None:
    model, fit = planned("phi-4", A100_X2, engine="transformers")
    assert (fit.engine, fit.nodes, fit.tensor_parallel) == ("transformers", 1, 1)
    options = Options(
        weights_dir="/workspace/weights/snapshots/main",
        max_model_len=4096,
        adapters_dir="/mnt/adapter",
        runtime_adapters=True,
        config_file="/mnt/config/inference_config.yaml",
        disable_rate_limit=True,
    )
    assert transformers.argv(model, fit, options) == [
        "--pipeline=text-generation",
        "--served_model_name=phi-4",
        "--pretrained_model_name_or_path=/workspace/weights/snapshots/main",
        "--torch_dtype=bfloat16",
        "--device_map=auto",
        "--port=5000",
        "--max-model-len=4096",
        "--kaito-adapters-dir=/mnt/adapter",
        "--kaito-runtime-adapters",
        "--kaito-config-file=/mnt/config/inference_config.yaml",
        "--kaito-disable-rate-limit",
    ]
    assert transformers.environment(model, fit, options) == {"HF_HUB_OFFLINE": "1"}


def test_transformers_from_the_hub() -> None:
    flags = flags_of(transformers.argv(*planned("phi-4", A100, engine="transformers"), PLAIN))
    assert flags["allow_remote_files"] == "True"
    assert flags["cache_dir"] == "/workspace/weights"
    assert len(flags["revision"]) == 40


def test_transformers_on_a_cpu() -> None:
    model, fit = planned("gemma-3-270m", NO_GPU, engine="transformers", memory_gib=8, cpus=4)
    flags = flags_of(transformers.argv(model, fit, PLAIN))
    assert (flags["torch_dtype"], flags["max-model-len"]) == ("float32", "8192")
    # Four bytes a weight and a value, and as much of the rest as the image leaves to the cache.
    assert fit.memory_gib == pytest.approx(3.0, abs=0.2)
    with pytest.raises(DoesNotFitError, match="phi-4 on transformers needs"):
        planned("phi-4", NO_GPU, engine="transformers", memory_gib=32, cpus=4)


@pytest.mark.parametrize(
    ("preset", "engine", "why"),
    [
        pytest.param("phi-4", "transformers", None, id="on KAITO's list"),
        pytest.param("phi-4-mini-instruct", "transformers", None, id="not on it"),
        pytest.param("gpt-oss-20b", "transformers", "mxfp4 weights", id="needs kernels"),
        pytest.param("mistral-7b", "transformers", None, id="Mistral's own files, and others"),
        pytest.param(
            "mistral-large-3-675b-instruct",
            "transformers",
            "format of mistral alone",
            id="Mistral's own files alone",
        ),
        pytest.param("phi-4", "llamacpp", "has no GGUF file", id="no GGUF"),
        pytest.param("gemma-3-270m", "llamacpp", None, id="GGUF"),
        pytest.param("mistral-7b", "tgi", "format of mistral", id="mistral's format"),
        pytest.param("gpt-oss-20b", "tgi", "mxfp4 weights", id="quantised as TGI does not know"),
        pytest.param("phi-4", "tgi", None, id="TGI"),
        pytest.param("mistral-7b", "vllm", None, id="vLLM takes all"),
    ],
)
def test_what_an_engine_cannot_serve(preset: str, engine: str, why: str | None) -> None:
    refusal = registry.refusal(catalog.load().get(preset), engine)
    assert (why is None) == (refusal is None)
    if why is not None and refusal is not None:
        assert why in refusal
        assert preset.startswith("mistral") or refusal.startswith(preset)


@pytest.mark.parametrize("engine", ["tgi", "transformers"])
def test_one_node_engines_do_not_spread(engine: Engine) -> None:
    """vLLM would take two nodes for it."""
    assert planned("llama-3.3-70b-instruct", A100_X2)[1].nodes == 2
    with pytest.raises(DoesNotFitError, match="GiB on each"):
        planned("llama-3.3-70b-instruct", A100_X2, engine=engine)


def test_an_engine_that_needs_a_gpu() -> None:
    with pytest.raises(DoesNotFitError, match="tgi runs on GPUs alone"):
        planned("gemma-3-270m", NO_GPU, engine="tgi", memory_gib=12)


def test_the_users_share_of_the_gpu_is_the_plans() -> None:
    fit = planned("phi-4", A100, memory_share=0.6)[1]
    assert fit.gpu_memory_utilization == 0.6
    assert fit.gpu_memory_gib <= 0.6 * 80
    with pytest.raises(DoesNotFitError):
        planned("phi-4", A100, memory_share=0.2, nodes=1)


def test_the_registry_has_every_engine_once() -> None:
    assert {*registry.ENGINES} == {*get_args(Engine)} == {*engineoptions.ENGINES}
    assert all(name == profile.name for name, profile in registry.ENGINES.items())
