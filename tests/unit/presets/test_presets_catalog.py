"""The catalogue: KAITO's 60 models with its numbers, found by every name they have."""

from __future__ import annotations

import pytest

from presets import catalog
from presets.catalog import Catalog, CatalogError, UnknownModelError
from presets.model import GIB, Model, size_in_bytes

# Hugging Face id | weights GiB | context | bytes per token | disk GiB, as KAITO v0.12 has them.
UPSTREAM = """
microsoft/phi-4 27.31 16384 204800 107
microsoft/Phi-4-mini-instruct 7.15 131072 131072 87
deepseek-ai/DeepSeek-R1-Distill-Llama-8B 14.96 131072 131072 94
deepseek-ai/DeepSeek-R1-Distill-Qwen-14B 27.51 131072 196608 107
microsoft/Phi-3-mini-4k-instruct 7.12 4096 393216 87
microsoft/Phi-3-mini-128k-instruct 7.12 131072 393216 87
microsoft/Phi-3-medium-4k-instruct 26.00 4096 204800 106
microsoft/Phi-3-medium-128k-instruct 26.00 131072 204800 106
microsoft/Phi-3.5-mini-instruct 7.12 131072 393216 87
Qwen/Qwen2.5-Coder-7B-Instruct 14.19 32768 57344 94
Qwen/Qwen2.5-Coder-32B-Instruct 61.03 32768 262144 141
openai/gpt-oss-20b 25.63 131072 49152 105
openai/gpt-oss-120b 121.54 131072 73728 201
meta-llama/Llama-3.1-8B-Instruct 14.96 131072 131072 94
meta-llama/Llama-3.3-70B-Instruct 131.42 131072 327680 211
mistralai/Mistral-7B-v0.3 13.50 32768 131072 93
mistralai/Mistral-7B-Instruct-v0.3 13.50 32768 131072 93
mistralai/Ministral-3-3B-Instruct-2512 4.35 262144 106496 84
mistralai/Ministral-3-8B-Instruct-2512 9.70 262144 139264 89
mistralai/Ministral-3-14B-Instruct-2512 14.65 262144 163840 94
google/gemma-3-4b-it 8.01 131072 139264 88
google/gemma-3-27b-it 51.10 131072 507904 131
deepseek-ai/DeepSeek-R1-0528 641.30 163840 70272 721
deepseek-ai/DeepSeek-V3-0324 641.30 163840 70272 721
mistralai/Mistral-Large-3-675B-Instruct-2512 634.70 294912 70272 714
nvidia/NVIDIA-Nemotron-3-Super-120B-A12B-BF16 230.25 262144 90112 310
nvidia/Nemotron-Cascade-2-30B-A3B 58.82 262144 53248 138
nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16 58.82 262144 53248 138
nvidia/NVIDIA-Nemotron-Nano-12B-v2-VL-BF16 24.55 131072 253952 104
nvidia/NVIDIA-Nemotron-Nano-9B-v2 16.56 131072 229376 96
nvidia/NVIDIA-Nemotron-3-Nano-4B-BF16 7.40 262144 172032 87
Qwen/Qwen3-8B-AWQ 5.68 40960 147456 85
google/gemma-4-31B-it 58.25 262144 983040 138
google/gemma-4-26B-A4B-it 48.07 262144 245760 128
google/gemma-4-E4B-it 14.89 131072 86016 94
google/gemma-4-E2B-it 9.54 131072 35840 89
mistralai/Mistral-Small-4-119B-2603 112.63 1048576 23040 192
mistralai/Mistral-Small-4-119B-2603-NVFP4 65.95 1048576 23040 145
Qwen/Qwen3.5-2B 4.24 262144 49152 84
Qwen/Qwen3.5-4B 8.68 262144 131072 88
Qwen/Qwen3.5-9B 17.98 262144 131072 97
Qwen/Qwen3.5-122B-A10B-GPTQ-Int4 73.47 262144 98304 153
Qwen/Qwen3.5-122B-A10B 232.99 262144 98304 312
Qwen/Qwen3.6-35B-A3B-FP8 34.90 262144 81920 114
Qwen/Qwen3.6-35B-A3B 66.97 262144 81920 146
Qwen/Qwen3.6-27B 51.75 262144 262144 131
Qwen/Qwen3.5-397B-A17B-GPTQ-Int4 219.56 262144 122880 299
moonshotai/Kimi-K2.5 554.32 262144 70272 634
moonshotai/Kimi-K2.6 554.32 262144 70272 634
MiniMaxAI/MiniMax-M2.7 214.34 204800 253952 294
mistralai/Mistral-Medium-3.5-128B 124.43 262144 360448 204
deepseek-ai/DeepSeek-V4-Flash-0731 155.43 1048576 88064 235
deepseek-ai/DeepSeek-V4-Pro 805.34 1048576 124928 885
google/gemma-4-12B-it 22.28 262144 393216 102
zai-org/GLM-5.2-FP8 703.75 1048576 89856 783
moonshotai/Kimi-K2.7-Code 554.32 262144 70272 634
nvidia/NVIDIA-Nemotron-3-Ultra-550B-A55B-NVFP4 328.13 262144 110592 408
deepseek-ai/DeepSeek-V3.2 642.14 163840 70272 722
ibm-granite/granite-4.1-8b 16.38 131072 163840 96
Qwen/Qwen3.8-27B 51.75 262144 262144 131
"""

ALIASES = {
    "phi-4": "microsoft/phi-4",
    "phi-4-mini-instruct": "microsoft/Phi-4-mini-instruct",
    "phi-3-mini-4k-instruct": "microsoft/Phi-3-mini-4k-instruct",
    "phi-3-mini-128k-instruct": "microsoft/Phi-3-mini-128k-instruct",
    "phi-3-medium-4k-instruct": "microsoft/Phi-3-medium-4k-instruct",
    "phi-3-medium-128k-instruct": "microsoft/Phi-3-medium-128k-instruct",
    "phi-3.5-mini-instruct": "microsoft/Phi-3.5-mini-instruct",
    "llama-3.1-8b-instruct": "meta-llama/Llama-3.1-8B-Instruct",
    "llama-3.3-70b-instruct": "meta-llama/Llama-3.3-70B-Instruct",
    "deepseek-r1-distill-llama-8b": "deepseek-ai/DeepSeek-R1-Distill-Llama-8B",
    "deepseek-r1-distill-qwen-14b": "deepseek-ai/DeepSeek-R1-Distill-Qwen-14B",
    "deepseek-r1-0528": "deepseek-ai/DeepSeek-R1-0528",
    "deepseek-v3-0324": "deepseek-ai/DeepSeek-V3-0324",
    "qwen2.5-coder-7b-instruct": "Qwen/Qwen2.5-Coder-7B-Instruct",
    "qwen2.5-coder-32b-instruct": "Qwen/Qwen2.5-Coder-32B-Instruct",
    "gpt-oss-20b": "openai/gpt-oss-20b",
    "gpt-oss-120b": "openai/gpt-oss-120b",
    "gemma-3-4b-instruct": "google/gemma-3-4b-it",
    "gemma-3-27b-instruct": "google/gemma-3-27b-it",
    "mistral-7b": "mistralai/Mistral-7B-v0.3",
    "mistral-7b-instruct": "mistralai/Mistral-7B-Instruct-v0.3",
    "ministral-3-3b-instruct": "mistralai/Ministral-3-3B-Instruct-2512",
    "ministral-3-8b-instruct": "mistralai/Ministral-3-8B-Instruct-2512",
    "ministral-3-14b-instruct": "mistralai/Ministral-3-14B-Instruct-2512",
    "mistral-large-3-675b-instruct": "mistralai/Mistral-Large-3-675B-Instruct-2512",
}


@pytest.mark.parametrize(
    "row", [pytest.param(r, id=r.split()[0]) for r in UPSTREAM.split("\n")[1:-1]]
)
def test_upstream_numbers(row: str) -> None:
    hf_id, weights, context, per_token, disk = row.split()
    model = catalog.load().get(hf_id)
    assert model.hf_id == hf_id
    assert model.upstream_weights_bytes == size_in_bytes(f"{weights}Gi")
    assert model.max_model_len == int(context)
    assert model.upstream_kv_bytes_per_token == int(per_token)
    assert model.disk_gib == int(disk)


def test_upstreams_catalogue_is_complete() -> None:
    assert len(UPSTREAM.split("\n")[1:-1]) == 60


@pytest.mark.parametrize(("alias", "hf_id"), ALIASES.items())
def test_legacy_aliases(alias: str, hf_id: str) -> None:
    assert catalog.load().get(alias).hf_id == hf_id


def test_there_are_25_legacy_aliases() -> None:
    assert len(ALIASES) == 25


@pytest.mark.parametrize(
    "name",
    ["gemma-3-270m", "google/gemma-3-270m", "Google/Gemma-3-270M", " GEMMA-3-270m "],
)
def test_lookup_ignores_case_and_organisation(name: str) -> None:
    model = catalog.lookup(name)
    assert model is not None
    assert model.hf_id == "google/gemma-3-270m"


def test_lookup_of_the_unknown_is_none() -> None:
    assert catalog.lookup("gemma-9-270m-of-nobody") is None


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        pytest.param("lama-3.1-8b-instruct", "llama-3.1-8b-instruct", id="a letter lost"),
        pytest.param("meta-llama/Llama-3.1-8b", "llama-3.1-8b-instruct", id="no suffix"),
        pytest.param("falcon7b", "falcon-7b", id="no dash"),
        pytest.param("gpt-oss", "gpt-oss-20b", id="only the family"),
    ],
)
def test_unknown_preset_names_those_that_are_near(wrong: str, meant: str) -> None:
    with pytest.raises(UnknownModelError, match=f"unknown preset '{wrong}'.*{meant}"):
        catalog.load().get(wrong)


def test_unknown_preset_without_any_like_it_suggests_nothing() -> None:
    with pytest.raises(UnknownModelError, match=r"unknown preset 'zzzzzz'$"):
        catalog.load().get("zzzzzz")


def test_names_are_sorted_and_unique() -> None:
    names = catalog.load().names()
    assert names == sorted(set(names))
    assert len(names) == len(catalog.load())


@pytest.mark.parametrize("model", [pytest.param(m, id=m.name) for m in catalog.load()])
def test_each_model_is_sound(model: Model) -> None:
    assert model.name == model.name.casefold()
    assert model.hf_id.count("/") == 1
    assert model.revision == "" or len(model.revision) == 40
    assert model.licence
    assert model.kv_bytes_per_token > 0
    # Only DeepSeek's sparse indexer keeps more than upstream reckons with.
    if not model.architecture.startswith("DeepseekV32"):
        assert model.kv_bytes_per_token <= model.upstream_kv_bytes_per_token
    assert model.weights_bytes <= model.upstream_weights_bytes
    assert not model.gguf_file or model.gguf_bytes
    assert ("llamacpp" in model.runtimes) == bool(model.gguf_file)


def test_own_small_model() -> None:
    model = catalog.load().get("gemma-3-270m")
    assert (model.layers, model.hidden_size, model.heads, model.kv_heads) == (18, 640, 4, 1)
    assert (model.head_dim, model.vocab_size, model.max_model_len) == (256, 262144, 32768)
    assert model.gguf_file == "model.gguf"
    assert model.upstream_kv_bytes_per_token == 2 * 256 * 18 * 2
    assert model.chat_template == ""


@pytest.mark.parametrize(
    ("name", "gib"),
    [("gpt-oss-20b", 12.82), ("gpt-oss-120b", 60.77)],
)
def test_weights_that_lie_twice_in_the_repository_load_once(name: str, gib: float) -> None:
    assert catalog.load().get(name).weights_bytes == pytest.approx(gib * GIB)


@pytest.mark.parametrize(
    ("weights", "minutes"),
    [
        pytest.param("7.15Gi", 30, id="small"),
        pytest.param("60.00Gi", 33, id="60"),
        pytest.param("100.00Gi", 45, id="100"),
        pytest.param("150.00Gi", 60, id="150"),
        pytest.param("554.32Gi", 180, id="kimi"),
        pytest.param("641.30Gi", 180, id="deepseek"),
    ],
)
def test_startup_budget(weights: str, minutes: int) -> None:
    (model,) = catalog.parse(an_entry(weights=weights), "test.yaml")
    assert model.startup_seconds == minutes * 60


def an_entry(**changes: object) -> bytes:
    entry: dict[str, object] = {
        "hf_id": "org/Model-1B",
        "weights": "2.00Gi",
        "layers": 2,
        "heads": 4,
        "kv_heads": 2,
        "head_dim": 64,
        **changes,
    }
    lines = [f"    {key}: {value}" for key, value in entry.items() if value is not None]
    return ("models:\n  -\n" + "\n".join(lines)).encode()


def test_sizes_and_name_are_derived() -> None:
    (model,) = catalog.parse(an_entry(), "test.yaml")
    assert model.name == "model-1b"
    assert model.weights_bytes == 2 * GIB
    assert model.kv_bytes_per_token == 2 * 2 * 64 * 2 * 2
    assert model.disk_gib == 82


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        pytest.param(an_entry(layer=2), "test.yaml: org/Model-1B: .*layer", id="unknown field"),
        pytest.param(an_entry(layers="two"), r"org/Model-1B: .*\$.layers", id="wrong type"),
        pytest.param(an_entry(hf_id=None), r"test.yaml: models\[0\]: .*name", id="missing field"),
        pytest.param(an_entry(weights="2"), "`weights`: '2'|must be a text", id="no unit"),
        pytest.param(an_entry(weights="2 GB"), "`weights`: '2 GB' does not end", id="wrong unit"),
        pytest.param(an_entry(kv_heads=3), "kv_heads 3 does not divide heads 4", id="heads"),
        pytest.param(an_entry(sliding_layers=2), "more than layers", id="too many layers"),
        pytest.param(
            an_entry(attention_layers=1, sliding_layers=1), "need a sliding_window", id="no window"
        ),
        pytest.param(an_entry(kv_dtype="int3"), "`kv_dtype` is none of", id="unknown dtype"),
        pytest.param(an_entry(head_dim=None), "`kv_bytes_per_token` is missing", id="no cache"),
        pytest.param(b"models: [", "test.yaml: ", id="no YAML"),
        pytest.param(b"modells: []", "test.yaml: .*modells|test.yaml: .*models", id="no models"),
    ],
)
def test_a_wrong_file_is_named_with_model_and_field(content: bytes, complaint: str) -> None:
    with pytest.raises(CatalogError, match=complaint):
        catalog.parse(content, "test.yaml")


def test_two_models_cannot_have_one_name() -> None:
    models = catalog.parse(an_entry(), "a.yaml") + catalog.parse(
        an_entry(hf_id="other/model-1b"), "b.yaml"
    )
    with pytest.raises(CatalogError, match="'model-1b' names both"):
        Catalog(models)
