"""The real llama.cpp serves adapters as PEFT has saved them, and answers as PEFT does."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from localcluster import paths
from localcluster.models import Models
from tests.adapters_data import write_adapter
from tests.engines.serving.conftest import Server, Start

LOCK = "images/serving/llamacpp/requirements.lock"
PEFT_LOCK = "images/tuning/requirements-cpu.lock"
REFERENCE = Path(__file__).with_name("reference.py")
IDS = [11, 73, 5, 200, 42, 42, 9, 130, 77, 3]
STRENGTH = 0.5

Reference = Callable[..., str]


@pytest.fixture(scope="module")
def reference(python_of: Callable[[str], Path], image_environment: dict[str, str]) -> Reference:
    python = str(python_of(PEFT_LOCK))

    def run(*words: object) -> str:
        argv = [python, str(REFERENCE), *map(str, words)]
        done = subprocess.run(argv, env=image_environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="module")
def command(python_of: Callable[[str], Path]) -> Callable[[Path, Path], list[str]]:
    def of(model: Path, adapters: Path) -> list[str]:
        argv = [str(python_of(LOCK)), "-m", "serving.llamacpp", f"--model={model}", "--alias=model"]
        return [*argv, f"--kaito-adapters-dir={adapters}", "--ctx-size=1024", "--parallel=2"]

    return of


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory, reference: Reference) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    reference("tiny", folder)
    return folder


@pytest.fixture(scope="module")
def pefts(tiny: Path, reference: Reference) -> dict[str, list[float]]:
    """What comes after IDS, by adapter."""
    names = ("plain", "patterns")
    folders = [tiny / "adapters" / name for name in names]
    found = json.loads(reference("ask", tiny / "model", IDS, *folders))
    return dict(zip(("", *names), found, strict=True))


@pytest.fixture(scope="module")
def llama(tiny: Path, start: Start, command: Any, image_environment: dict[str, str]) -> Server:
    return start(command(tiny / "model.gguf", tiny / "adapters"), image_environment)


def top(server: Server, model: str, prompt: Sequence[int], count: int = 20) -> dict[int, float]:
    """Log-probabilities of the likeliest next tokens, computed anew."""
    asked = {"prompt": list(prompt), "max_tokens": 1, "temperature": 0, "cache_prompt": False}
    answer = server.post("/v1/completions", {"model": model, "logprobs": count, **asked})
    assert answer.status == 200, answer.text
    (first,) = answer.document["choices"][0]["logprobs"]["content"]
    return {each["id"]: each["logprob"] for each in first["top_logprobs"]}


def apart(found: dict[int, float], expected: Sequence[float]) -> float:
    return max(abs(value - expected[token]) for token, value in found.items())


@pytest.mark.parametrize("adapter", ["", "plain", "patterns"])
def test_a_llama_answers_as_pefts(
    llama: Server, pefts: dict[str, list[float]], adapter: str
) -> None:
    """Each matrix, with rows of q and k in llama.cpp's order, and scales by rank and by pattern.
    Nothing is quantised here."""
    expected = pefts[adapter]
    assert apart(top(llama, adapter or "model", IDS), expected) < 0.01
    others = {"", "plain", "patterns"} - {adapter}
    assert all(apart(top(llama, each or "model", IDS), expected) > 0.3 for each in others)


def test_adapters_are_listed_and_nobody_changes_them_for_others(llama: Server) -> None:
    listed = llama.get("/v1/models").document["data"]
    assert [each["id"] for each in listed] == ["model", "patterns", "plain"]
    assert llama.post("/lora-adapters", {}).status == 403
    assert llama.get("/v1/models", key="").status == 401
    assert llama.post("/v1/completions", {"prompt": "a"}, key="").status == 401


def test_what_an_adapter_has_computed_is_of_no_use_to_others(llama: Server) -> None:
    """llama.cpp keeps prompts; those of another adapter are not gone on with."""
    asked = {"prompt": IDS, "max_tokens": 4, "temperature": 0, "id_slot": 0}

    def cached(model: str) -> tuple[int, str]:
        answer = llama.post("/v1/completions", {"model": model, **asked}).document
        used = answer["usage"]["prompt_tokens_details"]["cached_tokens"]
        return used, answer["choices"][0]["text"]

    first = cached("model")
    assert cached("model")[0] > 0
    for other in ("plain", "patterns"):
        assert cached(other)[0] == 0
        assert cached("model") == (0, first[1])


def test_streams_pass(llama: Server) -> None:
    asked = {"prompt": IDS, "max_tokens": 30, "stream": True, "ignore_eos": True}
    answer = llama.post("/v1/completions", {"model": "plain", **asked})
    assert (answer.status, answer.whole) == (200, True)
    assert answer.text.count("data: {") >= 30


@pytest.fixture(scope="module")
def gemma_folder() -> Path:
    return Models(paths.cache_directory(os.environ)).ensure(huggingface=True)


def test_gemma_answers_as_pefts(
    tmp_path: Path,
    gemma_folder: Path,
    reference: Reference,
    start: Start,
    command: Any,
    image_environment: dict[str, str],
) -> None:
    """As near as four bits a weight allow, each with its own strength."""
    adapters = tmp_path / "adapters"
    write_adapter(gemma_folder, adapters / "half")
    write_adapter(gemma_folder, adapters / "legal")
    (adapters / "half" / "kaito-strength").write_text(str(STRENGTH))
    halved = tmp_path / "halved"
    write_adapter(gemma_folder, halved)
    config = json.loads((halved / "adapter_config.json").read_text())
    config["lora_alpha"] *= STRENGTH
    (halved / "adapter_config.json").write_text(json.dumps(config))
    server = start(command(gemma_folder, adapters), image_environment)
    prompt = server.post("/tokenize", {"content": "The capital of France is", "add_special": True})
    ids = prompt.document["tokens"]
    names, folders = ("model", "legal", "half"), (adapters / "legal", halved)
    for name, expected in zip(
        names, json.loads(reference("ask", gemma_folder, ids, *folders)), strict=True
    ):
        differ = {other: apart(top(server, other, ids, 5), expected) for other in names}
        own = differ.pop(name)
        assert own < 0.8, (name, own)
        assert own < min(differ.values()) / 2, (name, own, differ)
