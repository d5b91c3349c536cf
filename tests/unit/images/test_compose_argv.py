"""The command line in a Compose file is one that the engine's own parser takes."""

from __future__ import annotations

from pathlib import Path

import pytest
from serving.llamacpp import arguments as llamacpp_arguments
from serving.transformers import arguments as transformers_arguments
from serving.vllm import arguments as vllm_arguments

from kaito.compose.project import project
from kube.meta import Manifest
from presets.engines import registry
from tests.composition import CASES

FLAGS = Path(__file__).parent / "flags"
KNOWN = {"vllm": "vllm-0.32.0", "tgi": "tgi-3.3"}

SERVING = [case for case in CASES if not case.startswith(("a tuning", "a pod"))]


def known(engine: str) -> set[str]:
    return {*(FLAGS / f"{KNOWN[engine]}.txt").read_text().splitlines()[1:]}


def names(words: list[str]) -> set[str]:
    found = {word.partition("=")[0] for word in words if word.startswith("--")}
    return {name.partition(".")[0] for name in found}


def server(case: str) -> tuple[str, Manifest]:
    found = project(CASES[case])
    service: Manifest = found.document["services"]["ws"]
    return found.engine, service


@pytest.mark.parametrize("case", SERVING)
def test_the_engine_takes_it(case: str) -> None:
    engine, service = server(case)
    assert service.get("entrypoint", []) == list(
        next(profile.command for name, profile in registry.ENGINES.items() if name == engine)
    )
    words = service["command"]
    without_file = [word for word in words if not word.startswith("--kaito-config-file")]
    if engine == "llamacpp":
        assert llamacpp_arguments.parse(without_file).port == 5000
        return
    if engine == "transformers":
        assert transformers_arguments.parse(without_file)
        return
    rest = vllm_arguments.own(words)[1] if engine == "vllm" else words
    assert names(rest)
    assert names(rest) <= known(engine)


def test_all_released_engines_are_among_them() -> None:
    found = {project(CASES[case]).engine for case in SERVING}
    assert found >= set(registry.ENGINES)
