"""The content of the user's `inference_config.yaml`: what is whose, in one sentence each."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from apis import container, engineoptions

# Keys that users of KAITO are known to set, with values that leave plan and Service alone.
OF_UPSTREAM = """\
kv_cache_cpu_memory_utilization: 0.5
max_probe_steps: 6
vllm:
  cpu-offload-gb: 0
  max-model-len: 4096
  gpu-memory-utilization: 0.9
  kv-events-config: '{"enable_kv_cache_events":true}'
  trust-remote-code: true
  dtype: bfloat16
  load_format: auto
  config_format: mistral
  tokenizer_mode: auto
  tokenizer: meta/other
  compilation-config.pass_config.fuse_allreduce_rms: false
  swap-space: 4
  download-dir: /workspace/weights
  port: 5000
  enable-lora: true
  kv-transfer-config: '{"kv_connector":"OffloadingConnector"}'
"""

NO_BITSANDBYTES = (
    "vLLM has no bitsandbytes: choose fp8 (8 bits), a model whose weights are stored in fewer bits"
    " (AWQ, GPTQ), or larger nodes"
)


def said(text: str, **options: Any) -> list[str]:
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    return [
        *engineoptions.repeated(node),
        *engineoptions.complaints(yaml.safe_load(text), **options),
    ]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(OF_UPSTREAM, id="as with KAITO"),
        pytest.param("", id="nothing"),
        pytest.param("vllm:\n", id="an empty section"),
        pytest.param("vllm: {max-model-len: auto}", id="auto"),
        pytest.param("vllm: {max-model-len: -1}", id="-1"),
        pytest.param("vllm: {max_model_len: 16k}", id="thousands"),
        pytest.param("tgi: {max-batch-size: 4}\nllamacpp: {parallel: 2}", id="other engines"),
        pytest.param("transformers: {load_in_4bit: true}", id="bits"),
        pytest.param("tgi: {quantize: bitsandbytes}", id="bits of TGI"),
        pytest.param("vllm: {quantization: fp8, load-format: safetensors}", id="bits of vLLM"),
        pytest.param("vllm: {load_in_4bit: false}", id="not in 4 bits"),
        pytest.param("kv-cache-cpu-memory-utilization: 0", id="dashes at the top"),
    ],
)
def test_what_is_the_users(text: str) -> None:
    assert said(text) == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param(
            "vllm: {port: 80}",
            "vllm.port belongs to the Service and the probes, which reach the server by plain HTTP"
            " on its port: leave it out",
            id="port",
        ),
        pytest.param(
            "vllm: {tensor_parallel_size: 4}",
            "vllm.tensor_parallel_size belongs to the plan of the nodes: leave it out, or choose"
            " other nodes by resource.instanceType",
            id="layout",
        ),
        pytest.param(
            "vllm: {distributed-executor-backend: mp}",
            "vllm.distributed-executor-backend belongs to the plan of the nodes: annotate the"
            " Workspace with kaito.sh/distributed-executor",
            id="executor",
        ),
        pytest.param(
            "vllm: {model: a/b}",
            "vllm.model belongs to the preset, which says what weights are served: name another in"
            " inference.preset",
            id="model",
        ),
        pytest.param(
            "vllm: {no-enable-lora: true}",
            "vllm.no-enable-lora belongs to inference.adapters: leave it out",
            id="no adapters",
        ),
        pytest.param(
            "vllm: {kaito-adapters-dir: /x}",
            "vllm.kaito-adapters-dir belongs to the image, which the controller tells: leave it"
            " out",
            id="ours",
        ),
        pytest.param(
            "vllm: {kaito-kv-cache-cpu-memory-utilization: 0.2}",
            "vllm.kaito-kv-cache-cpu-memory-utilization belongs to the image: set"
            " kv_cache_cpu_memory_utilization at the top of the file",
            id="ours, at another place",
        ),
        pytest.param(
            "vllm: {quantization: bitsandbytes}",
            f"vllm.quantization bitsandbytes: {NO_BITSANDBYTES}",
            id="bitsandbytes",
        ),
        pytest.param(
            "vllm: {-q: BitsAndBytes}", f"vllm.-q BitsAndBytes: {NO_BITSANDBYTES}", id="-q"
        ),
        pytest.param(
            "vllm: {load_format: bitsandbytes}",
            f"vllm.load_format bitsandbytes: {NO_BITSANDBYTES}",
            id="bitsandbytes as a format",
        ),
        pytest.param(
            "vllm: {load_in_4bit: true}",
            f"vllm.load_in_4bit True: {NO_BITSANDBYTES}",
            id="the words of transformers",
        ),
        pytest.param(
            "tgi: {num-shard: 2}",
            "tgi.num-shard belongs to the plan of the nodes: leave it out, or choose other nodes"
            " by resource.instanceType",
            id="TGI",
        ),
        pytest.param(
            "vllm: {max-model-len: 1, max_model_len: 2}",
            "vllm.max-model-len and vllm.max_model_len are one option: keep one",
            id="two spellings",
        ),
        pytest.param(
            "vllm: {dtype: half, dtype: float}", "vllm.dtype is there twice: keep one", id="twice"
        ),
        pytest.param("tgi: {}\nvllm: {}\ntgi: {}", "tgi is there twice: keep one", id="section"),
        pytest.param(
            "vlm: {}",
            '"vlm" is no key of this file: did you mean "vllm"; options of vLLM go below vllm',
            id="typo",
        ),
        pytest.param(
            "max-model-len: 5",
            '"max-model-len" is no key of this file: the keys are vllm, transformers, llamacpp,'
            " tgi, kv_cache_cpu_memory_utilization, max_probe_steps; options of vLLM go below vllm",
            id="an option at the top",
        ),
        pytest.param("vllm: fast", "vllm must be a map of options", id="no map"),
        pytest.param(
            "kv_cache_cpu_memory_utilization: much",
            'kv_cache_cpu_memory_utilization "much" is no share from 0 to 1',
            id="no share",
        ),
        pytest.param(
            "vllm: {gpu-memory-utilization: 92}",
            'vllm.gpu-memory-utilization "92" is no share from 0.01 to 1',
            id="percent",
        ),
        pytest.param(
            "llamacpp: {c: many}",
            'llamacpp.c "many" is no positive integer and not auto: give the tokens of the longest'
            " request",
            id="context",
        ),
    ],
)
def test_what_is_not(text: str, sentence: str) -> None:
    assert said(text) == [sentence]


@pytest.mark.parametrize(
    "option",
    [
        "tp", "pp", "dp", "--port", "tensor-parallel", "tensor_parallel_size+",
        "kv-events", "served_model_name", "host", "ssl-keyfile", "revision", "lora-modules",
        "data-parallel-size-local", "headless", "nnodes", "config", "uds",
    ],
)  # fmt: skip
def test_no_spelling_gets_past_the_owner(option: str) -> None:
    """vLLM takes the beginning of a flag, its short name and underscores."""
    found = said(f"vllm:\n  {option}: '7'\n")
    assert bool(found) == (option != "kv-events")


def test_the_transfer_of_prefill_and_decode_is_the_roles() -> None:
    text = "vllm: {kv-transfer-config.kv_role: kv_producer}"
    assert said(text) == []
    (sentence,) = said(text, disaggregated=True)
    assert sentence.startswith("vllm.kv-transfer-config.kv_role belongs to the pod's role")


@pytest.mark.parametrize(
    ("given", "tokens"),
    [(4096, 4096), ("4096", 4096), ("16k", 16000), ("16K", 16384), ("25.6k", 25600),
     ("auto", None), (-1, None), ("", None), (None, None)],
)  # fmt: skip
def test_tokens_as_vllm_reads_them(given: object, tokens: int | None) -> None:
    assert engineoptions.tokens(given) == tokens


@pytest.mark.parametrize("given", [0, "0", -5, "4096.5", "16kb", True, "many"])
def test_what_is_no_number_of_tokens(given: object) -> None:
    with pytest.raises(ValueError, match=re.escape(str(given))):
        engineoptions.tokens(given)


def test_a_section_is_read_in_one_spelling() -> None:
    document = {"vllm": {"--max_model_len": 5, "compilation-config.pass_config.x": 1, "tp": 2}}
    assert engineoptions.section(document, "vllm") == {
        "max-model-len": 5,
        "compilation-config.pass_config.x": 1,
        "tensor-parallel-size": 2,
    }
    assert engineoptions.section(document, "tgi") == {}
    assert engineoptions.section(["no", "map"], "vllm") == {}


def test_harmless_values_are_those_of_the_contract() -> None:
    """The file cannot import them: it is all that an image copies besides."""
    owned = engineoptions.complaints(
        {"vllm": {"port": container.PORT, "download-dir": container.WEIGHTS_DIR}}
    )
    assert list(owned) == []
