"""What of the user's engine options the plan reckons with."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import a_config, a_workspace, a_world, settings
from workspace_controller.errors import UserError
from workspace_controller.workspace import config, sizing
from workspace_controller.workspace.config import Wanted

ASKED = a_workspace(inference={"config": "options"})


def wanted(text: str, engine: str = "vllm") -> dict[str, Any]:
    """Without what is left to the plan."""
    found = config.wanted(ASKED, a_config(text), engine)
    given = {name: getattr(found, name) for name in Wanted.__slots__ if name != "options"}
    return {name: value for name, value in given.items() if value not in (None, "")}


@pytest.mark.parametrize(
    ("text", "engine", "expected"),
    [
        pytest.param("", "vllm", {}, id="nothing"),
        pytest.param("vllm: {max_model_len: 16K}", "vllm", {"max_model_len": 16384}, id="context"),
        pytest.param("vllm: {max-model-len: auto}", "vllm", {}, id="auto"),
        pytest.param(
            "vllm: {gpu-memory-utilization: 0.5}", "vllm", {"memory_share": 0.5}, id="share"
        ),
        pytest.param(
            "vllm: {kv_cache_dtype: fp8}", "vllm", {"kv_cache_dtype": "fp8"}, id="smaller cache"
        ),
        pytest.param("vllm: {kv-cache-dtype: auto}", "vllm", {}, id="the model's own cache"),
        pytest.param("vllm: {quantization: fp8}", "vllm", {"load_in": "8bit"}, id="8 bits"),
        pytest.param("vllm: {quantization: awq}", "vllm", {}, id="as it is stored"),
        pytest.param(
            "transformers: {load_in_4bit: true}", "transformers", {"load_in": "4bit"}, id="4"
        ),
        pytest.param(
            "transformers: {load_in_8bit: 'True'}", "transformers", {"load_in": "8bit"}, id="8"
        ),
        pytest.param("transformers: {load_in_4bit: false}", "transformers", {}, id="off"),
        pytest.param("tgi: {quantize: bitsandbytes}", "tgi", {"load_in": "8bit"}, id="TGI, BnB"),
        pytest.param("tgi: {quantize: eetq}", "tgi", {"load_in": "8bit"}, id="TGI, 8"),
        pytest.param("tgi: {quantize: bitsandbytes-nf4}", "tgi", {"load_in": "4bit"}, id="TGI, 4"),
        pytest.param(
            "tgi: {max-total-tokens: 99, cuda_memory_fraction: 0.7}",
            "tgi",
            {"max_model_len": 99, "memory_share": 0.7},
            id="TGI's words",
        ),
        pytest.param("llamacpp: {c: 99}", "llamacpp", {"max_model_len": 99}, id="short"),
        pytest.param("vllm: {max-model-len: 99}", "tgi", {}, id="of another engine"),
    ],
)
def test_wanted(text: str, engine: str, expected: dict[str, Any]) -> None:
    assert wanted(text, engine) == expected


def test_no_config_map_is_no_wish() -> None:
    assert config.wanted(a_workspace(), None, "vllm") == Wanted()


def test_a_config_map_that_is_not_there() -> None:
    with pytest.raises(UserError, match='there is no ConfigMap "options"; create it first'):
        config.wanted(ASKED, None, "vllm")


def planned(text: str, **given: Any) -> sizing.Sizing:
    asked = {"preset": "large-70b", "instance_type": "local-gpu-2", **given}
    workspace = a_workspace(inference={"config": "options"}, **asked)
    found = sizing.size(workspace, a_world(config=a_config(text)), settings())
    assert found is not None
    return found


def test_fewer_bits_take_fewer_nodes() -> None:
    small = {"instance_type": "local-gpu-1", "preset": "large-70b"}
    assert planned("vllm: {max-num-seqs: 8}", **small).need.nodes == 4
    assert planned("vllm: {quantization: fp8}", **small).need.nodes == 3


def test_bits_that_the_engine_does_not_have_are_not_reckoned_with() -> None:
    with pytest.raises(UserError, match="vLLM has no bitsandbytes"):
        planned("vllm: {quantization: bitsandbytes}")


def test_a_smaller_cache_promises_more() -> None:
    plain, small = planned("vllm: {}").served, planned("vllm: {kv-cache-dtype: fp8}").served
    assert plain is not None
    assert small is not None
    assert (small.fit.max_model_len or 0) > (plain.fit.max_model_len or 0)


def test_the_section_is_handed_on() -> None:
    served = planned("vllm: {max_num_seqs: 8}\ntgi: {max-batch-size: 2}").served
    assert served is not None
    assert served.options == {"max-num-seqs": 8}
