"""The user's config file as flags."""

from __future__ import annotations

from pathlib import Path

import pytest
from serving import config


@pytest.mark.parametrize(
    ("options", "flags"),
    [
        pytest.param({"max-model-len": 2048}, ["--max-model-len=2048"], id="number"),
        pytest.param({"max_model_len": "2048"}, ["--max-model-len=2048"], id="underscores"),
        pytest.param({"--dtype": "half"}, ["--dtype=half"], id="dashes"),
        pytest.param({"enforce-eager": True}, ["--enforce-eager"], id="switch-on"),
        pytest.param({"enforce-eager": False}, ["--no-enforce-eager"], id="switch-off"),
        pytest.param({"enforce-eager": "True"}, ["--enforce-eager"], id="switch-as-text"),
        pytest.param({"trust-remote-code": ""}, ["--trust-remote-code"], id="empty-is-a-switch"),
        pytest.param({"trust-remote-code": None}, ["--trust-remote-code"], id="null-is-a-switch"),
        pytest.param({"override": {"a": [1]}}, ['--override={"a":[1]}'], id="map-as-json"),
        pytest.param(
            {"compilation-config.pass_config.fuse": False},
            ["--compilation-config.pass_config.fuse=False"],
            id="dotted-stays-a-value",
        ),
        pytest.param({"a": 1, "b": 2}, ["--a=1", "--b=2"], id="in-order"),
        pytest.param({}, [], id="none"),
    ],
)
def test_options_become_flags(options: dict[str, object], flags: list[str]) -> None:
    assert config.flags(options) == flags


def test_a_file_has_one_section_an_engine(tmp_path: Path) -> None:
    path = tmp_path / "inference_config.yaml"
    path.write_text("kv_cache_cpu_memory_utilization: 0.5\nvllm:\n  dtype: half\n")
    found = config.load(path)
    assert config.section(found, "vllm") == {"dtype": "half"}
    assert config.section(found, "llamacpp") == {}
    assert found["kv_cache_cpu_memory_utilization"] == 0.5


def test_an_empty_file_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "inference_config.yaml"
    path.write_text("# nothing\n")
    assert config.load(path) == {}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        pytest.param("vllm: [", "is not YAML", id="broken"),
        pytest.param("- a\n", "must be a map", id="list"),
        pytest.param(None, "cannot read", id="missing"),
        pytest.param("vllm: {port: 80}", "vllm.port belongs to the Service", id="owned"),
        pytest.param("vllm: {dtype: a, dtype: b}", "vllm.dtype is there twice", id="twice"),
        pytest.param("vlm: {}", 'did you mean "vllm"', id="typo"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(
    tmp_path: Path, text: str | None, complaint: str
) -> None:
    path = tmp_path / "inference_config.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(config.ConfigError, match=complaint) as caught:
        config.load(path)
    assert "\n" not in str(caught.value)


def test_prefill_and_decode_have_an_option_less(tmp_path: Path) -> None:
    path = tmp_path / "inference_config.yaml"
    path.write_text("vllm: {kv-transfer-config: '{}'}\nkv-cache-cpu-memory-utilization: 0.2\n")
    assert config.load(path)["kv_cache_cpu_memory_utilization"] == 0.2
    with pytest.raises(config.ConfigError, match="belongs to the pod's role"):
        config.load(path, disaggregated=True)


def test_a_section_that_is_no_map_is_refused() -> None:
    with pytest.raises(config.ConfigError, match="`vllm`"):
        config.section({"vllm": "fast"}, "vllm")
