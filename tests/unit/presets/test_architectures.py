"""What vLLM serves: the data, where it comes from, and what users are told."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.requirements import Requirement

from presets import architectures, architectures_of_vllm, catalog
from presets.model import Model

IMAGE = Path(__file__).parents[3] / "images/serving/vllm/requirements.in"


def test_the_data_is_of_the_vllm_in_the_serving_image() -> None:
    lines = [line.partition("#")[0].strip() for line in IMAGE.read_text().splitlines()]
    (vllm,) = (Requirement(line) for line in lines if line.startswith("vllm"))
    assert architectures.known().vllm in vllm.specifier


def test_it_is_whole() -> None:
    known = architectures.known()
    assert len(known.lora) + len(known.plain) > 300
    assert not set(known.lora) & set(known.plain)
    assert {"fp8", "awq", "gptq", "compressed-tensors", "mxfp4"} <= set(known.quantizations)


@pytest.mark.parametrize("model", [pytest.param(m, id=m.name) for m in catalog.load()])
def test_the_catalogue_is_served_and_knows_which_models_take_adapters(model: Model) -> None:
    named = [model.architecture] if model.architecture else []
    assert architectures.refusal(named, "") == ""
    assert model.lora == architectures.supports_lora(model.architecture)


@pytest.mark.parametrize(
    ("architecture", "takes_adapters"),
    [
        pytest.param("LlamaForCausalLM", True, id="llama"),
        pytest.param("Gemma3ForCausalLM", True, id="gemma"),
        pytest.param("OlmoForCausalLM", True, id="by the transformers backend"),
        pytest.param("DeepseekV4ForCausalLM", True, id="a file for each maker of GPUs"),
        pytest.param("FalconForCausalLM", False, id="falcon"),
        pytest.param("KimiK25ForConditionalGeneration", False, id="kimi"),
        pytest.param("NobodysForCausalLM", False, id="unknown"),
        pytest.param("", True, id="Mistral's own format names none"),
    ],
)
def test_adapters(architecture: str, takes_adapters: bool) -> None:
    assert architectures.supports_lora(architecture) is takes_adapters


@pytest.mark.parametrize(
    ("named", "quantization", "words"),
    [
        pytest.param(["LlamaForCausalLM"], "", "", id="served"),
        pytest.param(["Nobodys", "LlamaForCausalLM"], "awq", "", id="one is enough"),
        pytest.param([], "", "", id="none named"),
        pytest.param(["LlamaForCausalLM"], "auto-round", "", id="by another name"),
        pytest.param(["Nobodys"], "", "does not serve Nobodys", id="never"),
        pytest.param(
            ["PersimmonForCausalLM"], "", "no longer serves.*last that did was 0.25.0", id="removed"
        ),
        pytest.param(
            ["LlamaForCausalLM"], "bitsandbytes", "does not load bitsandbytes", id="format"
        ),
    ],
)
def test_refusals(named: list[str], quantization: str, words: str) -> None:
    refusal = architectures.refusal(named, quantization)
    if not words:
        assert refusal == ""
        return
    assert refusal.startswith("vLLM 0.")
    with pytest.raises(ValueError, match=words):
        raise ValueError(refusal)


SOURCES = {
    "vllm/model_executor/models/registry.py": """
_TEXT_GENERATION_MODELS = {
    "Own": ("own", "Own"), "Heir": ("heir", "Heir"), "Plain": ("own", "Plain"),
    "New": ("vllm.models.new", "New"), "Gone": ("nowhere", "Gone"),
}
_EMBEDDING_MODELS = {"Embeds": ("own", "Own"), **{k: v for k, v in _TEXT_GENERATION_MODELS.items()}}
_SPECULATIVE_DECODING_MODELS = {"Drafts": ("own", "Own")}
_PREVIOUSLY_SUPPORTED_MODELS = {"Former": "0.9.2"}
""",
    "vllm/model_executor/models/own.py": """
from .interfaces import SupportsLoRA
class Own(Module, SupportsLoRA): ...
class Plain(Module): ...
""",
    "vllm/model_executor/models/heir.py": """
from vllm.model_executor.models.own import Own as Parent
class Heir(Generic[T], Parent): ...
""",
    "vllm/models/new/__init__.py": """
if rocm:
    from .amd.model import New
else:
    from .nvidia.model import New
""",
    "vllm/models/new/nvidia/model.py": """
from ..common import Base
class New(Base): ...
""",
    "vllm/models/new/common.py": """
from ...model_executor.models.interfaces import SupportsLoRA
class Base(SupportsLoRA): ...
""",
    "vllm/model_executor/layers/quantization/__init__.py": """
QuantizationMethods = Literal["fp8", "awq"]
""",
}


def test_it_is_read_from_vllms_sources() -> None:
    found = architectures_of_vllm.architectures("1.2.3", SOURCES.get)
    assert found.vllm == "1.2.3"
    assert found.lora == ("Embeds", "Heir", "New", "Own")
    assert found.plain == ("Gone", "Plain")
    assert found.removed == {"Former": "0.9.2"}
    assert found.quantizations == ("awq", "fp8")
