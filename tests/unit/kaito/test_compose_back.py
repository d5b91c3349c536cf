"""From a Compose file to the Workspace: unchanged, edited, and edited as no Workspace can be."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml

from kaito.compose.edits import Carried, carried
from kaito.compose.project import EXTENSION, Asked, project, remembered
from kaito.compose.table import ComposeError
from kaito.compose.text import dump, escaped, meant
from kube.meta import Manifest
from tests.composition import A100, CASES, CPU, PHI, TEMPLATE, a_config, asked


def file(case: Asked) -> Manifest:
    """As it is read from disk."""
    found: Manifest = yaml.safe_load(dump([escaped(project(case).document)]))
    return found


def back(document: Manifest) -> Carried:
    return carried(remembered({EXTENSION: meant(document[EXTENSION])}), document)


def edited(case: Asked, *path: str, to: Any) -> Carried:
    document = copy.deepcopy(file(case))
    part = document
    for step in path[:-1]:
        part = part.setdefault(step, {})
    if to is None:
        del part[path[-1]]
    else:
        part[path[-1]] = to(part[path[-1]]) if callable(to) else to
    return back(document)


@pytest.mark.parametrize("case", CASES)
def test_there_and_back_and_there(case: str) -> None:
    first = file(CASES[case])
    found = back(first)
    assert found == Carried(CASES[case])
    assert file(found.asked) == first


def flag(old: str, new: str) -> Any:
    return lambda words: [new if word.startswith(old) else word for word in words]


@pytest.mark.parametrize(
    ("engine", "machine", "change", "section"),
    [
        ("llamacpp", CPU, flag("--ctx-size", "--ctx-size=4096"), {"ctx-size": 4096}),
        ("llamacpp", CPU, lambda words: [*words, "--embeddings"], {"embeddings": True}),
        ("llamacpp", CPU, lambda words: " ".join([*words, "-np", "2"]), {"parallel": 2}),
        ("vllm", A100, flag("--max-model-len", "--max-model-len=2048"), {"max-model-len": 2048}),
        ("vllm", A100, lambda w: [*w, "--no-async-scheduling"], {"async-scheduling": False}),
        ("tgi", A100, lambda words: [*words, "--max-batch-size", "4"], {"max-batch-size": 4}),
    ],
)  # fmt: skip
def test_a_flag_goes_into_the_config_file(
    engine: str, machine: Any, change: Any, section: dict[str, Any]
) -> None:
    case = asked(machine, None if machine is CPU else PHI, runtime=engine)
    found = edited(case, "services", "ws", "command", to=change)
    assert found.asked.workspace["inference"]["config"] == "ws-config"
    (config,) = found.asked.config_maps
    assert yaml.safe_load(config["data"]["inference_config.yaml"]) == {engine: section}
    assert back(file(found.asked)) == Carried(found.asked)


def test_other_options_of_the_file_stay() -> None:
    case = asked(CPU, config=a_config("llamacpp:\n  batch_size: 64\n"))
    found = edited(case, "services", "ws", "command", to=flag("--ctx-size", "-c=2048"))
    text = found.asked.data()["options"]["inference_config.yaml"]
    assert yaml.safe_load(text) == {"llamacpp": {"batch_size": 64, "ctx-size": 2048}}


def test_an_image_goes_into_the_presets_options() -> None:
    found = edited(CASES["vllm"], "services", "ws", "image", to="registry.example/mine:2")
    preset = found.asked.workspace["inference"]["preset"]
    assert preset["presetOptions"] == {"image": "registry.example/mine:2"}
    assert "services.ws.user: 65532:65532 -> None" in found.also


def test_an_image_that_tunes_too() -> None:
    document = file(CASES["a tuning"])
    for service in document["services"].values():
        service["image"] = "registry.example/mine:2"
    with pytest.raises(ComposeError, match=r"services\.check\.image: no field"):
        back(document)


def test_a_config_files_text_goes_into_the_config_map() -> None:
    entry = "options--inference_config-yaml"
    text = "llamacpp:\n  ctx-size: 1024  # for $$5\n"
    found = edited(CASES["llamacpp with options"], "configs", entry, "content", to=text)
    assert found.asked.data()["options"]["inference_config.yaml"] == text.replace("$$", "$")


@pytest.mark.parametrize(
    ("path", "to", "field", "expected"),
    [
        (("image",), "x:2", "image", "x:2"),
        (("entrypoint",), ["go", "$$HOME", "$$(X)"], "command", ["go", "$$HOME", "$$(X)"]),
        (("command",), ["a"], "args", ["a"]),
        (("working_dir",), "/elsewhere", "", "no field of a Workspace"),
    ],
)
def test_a_pod_of_ones_own_has_a_field_for_more(
    path: tuple[str, ...], to: Any, field: str, expected: Any
) -> None:
    case = asked(A100, {"template": TEMPLATE})
    if not field:
        with pytest.raises(ComposeError, match=expected):
            edited(case, "services", "server", *path, to=to)
        return
    found = edited(case, "services", "server", *path, to=to)
    spec = found.asked.workspace["inference"]["template"]["spec"]
    assert spec["containers"][0][field] == expected


def test_a_variable_of_a_pod_of_ones_own_stays_in_its_place() -> None:
    case = asked(A100, {"template": TEMPLATE})
    found = edited(case, "services", "first", "environment", "WHERE", to="/other")
    spec = found.asked.workspace["inference"]["template"]["spec"]
    assert spec["initContainers"][0]["env"] == [{"name": "WHERE", "value": "/other"}]
    assert any("--to=/data" in line and "--to=/other" in line for line in found.also)


@pytest.mark.parametrize(
    ("path", "to", "told"),
    [
        (("shm_size",), "1g", "services.ws.shm_size: it follows from the machine"),
        (("ports",), [], "services.ws.ports: make the file anew with --port"),
        (("deploy",), {}, "services.ws.deploy.resources: make the file anew for another machine"),
        (("stop_grace_period",), "1s", "services.ws.stop_grace_period: no field of a Workspace"),
        (("environment", "MINE"), "1", "services.ws.environment.MINE: no field of a Workspace"),
        (("image",), "${IMAGE}", "services.ws.image: it takes a value from the shell"),
        (("command",), lambda w: [*w, "--port=1"], "vllm.port belongs to the Service"),
        (("command",), lambda w: [*w, "--seed=true"], "would run something else"),
        (("command",), lambda w: w[1:], "--served-model-name is the controller's"),
        (("command",), lambda w: [*w, "--seed=1", "loose"], '"loose" belongs to no flag'),
    ],
)  # fmt: skip
def test_what_no_workspace_says_is_refused_by_name(
    path: tuple[str, ...], to: Any, told: str
) -> None:
    with pytest.raises(ComposeError) as raised:
        edited(asked(A100, PHI), "services", "ws", *path, to=to)
    assert told in str(raised.value)


def test_all_refusals_are_told_at_once() -> None:
    document = file(CASES["vllm"])
    document["services"]["ws"] |= {"tty": True, "shm_size": "1g"}
    document["services"]["more"] = {"image": "x"}
    with pytest.raises(ComposeError) as raised:
        back(document)
    fields = [line.partition(":")[0] for line in raised.value.lines]
    assert fields == ["services.more", "services.ws.shm_size", "services.ws.tty"]


def test_where_the_file_wins_a_flag_changes_nothing() -> None:
    case = CASES["vllm with options"]
    with pytest.raises(ComposeError, match="max-model-len of the config file wins: set it there"):
        edited(case, "services", "ws", "command", to=flag("--max-model-len", "--max-model-len=9"))


def test_an_option_that_became_a_flag_can_be_taken_away() -> None:
    def without(words: list[str]) -> list[str]:
        return [each for each in words if not each.startswith("--quantize")]

    found = edited(CASES["tgi with options"], "services", "ws", "command", to=without)
    assert yaml.safe_load(found.asked.data()["options"]["inference_config.yaml"]) == {"tgi": {}}
    assert "--dtype=bfloat16" in project(found.asked).document["services"]["ws"]["command"]


def test_a_list_of_variables_is_a_map_of_them() -> None:
    document = file(CASES["vllm"])
    service = document["services"]["ws"]
    service["environment"] = [f"{name}={value}" for name, value in service["environment"].items()]
    service["command"] = " ".join(f"'{word}'" for word in service["command"])
    assert back(document) == Carried(CASES["vllm"])


@pytest.mark.parametrize("extension", [None, {}, {"workspace": 1}, "x"])
def test_a_file_of_somebody_elses_is_told(extension: Any) -> None:
    with pytest.raises(ComposeError, match=r"x-kaito: .* make the file anew"):
        remembered({EXTENSION: extension})
