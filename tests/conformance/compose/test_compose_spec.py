"""Compose files are what docker compose takes, and mean there what the pod says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kaito.compose.project import project
from kaito.compose.text import dump, escaped
from kube.meta import Manifest
from tests import composespec
from tests.composition import A100, CASES, TEMPLATE, a_config, asked

VARIABLES = {"TOKEN": "secret", "HF_TOKEN": "hf_secret"}


def loaded(tmp_path: Path, document: Manifest, **variables: str) -> dict[str, Any]:
    file = tmp_path / "compose.yaml"
    file.write_text(dump([escaped(document)]))
    return composespec.load(file, **variables)


@pytest.mark.parametrize("case", CASES)
def test_it_is_a_compose_file_and_is_read_as_it_is_meant(case: str, tmp_path: Path) -> None:
    document = project(CASES[case]).document
    found = loaded(tmp_path, document, **VARIABLES)
    assert found["name"] == "ws"
    assert list(found["services"]) == sorted(document["services"])
    for name, service in document["services"].items():
        read = found["services"][name]
        for words in ("entrypoint", "command"):
            assert read[words] == service.get(words)
        assert read["image"] == service["image"]
        for key, value in service.get("environment", {}).items():
            expected = value if value is not None and "${" not in value else VARIABLES[key]
            assert read["environment"][key] == expected
    contents = {name: each["content"] for name, each in document.get("configs", {}).items()}
    assert {name: each["content"] for name, each in found.get("configs", {}).items()} == contents
    assert found["x-kaito"] == document["x-kaito"]


def test_a_token_that_nobody_has_is_not_set(tmp_path: Path) -> None:
    """As the Secret is optional; and a value that must be there is asked for."""
    document = project(CASES["a gated model"]).document
    (of_hub,) = {
        each["environment"]["HF_TOKEN"]
        for each in loaded(tmp_path, document)["services"].values()
        if "HF_TOKEN" in each.get("environment", {})
    }
    assert of_hub is None
    with pytest.raises(composespec.InvalidComposeError, match="set it to the key k of the Secret"):
        loaded(tmp_path, project(asked(A100, {"template": TEMPLATE})).document)


def test_secrets_are_files_of_the_users(tmp_path: Path) -> None:
    document = project(CASES["weights of a registry"]).document
    found = loaded(tmp_path, document, KAITO_SECRETS="/elsewhere")
    files = [each["file"] for each in found["secrets"].values()]
    assert files == ["/elsewhere/pull/.dockerconfigjson"]


def test_gpus_memory_and_times_are_read(tmp_path: Path) -> None:
    server = loaded(tmp_path, project(CASES["vllm on four GPUs"]).document)["services"]["ws"]
    reserved = server["deploy"]["resources"]["reservations"]
    assert reserved["devices"] == [{"capabilities": ["gpu"], "driver": "nvidia", "count": 4}]
    assert server["shm_size"] == str(10 << 30)
    assert server["stop_grace_period"] == "1m0s"
    assert server["healthcheck"]["start_interval"] == "2s"


def test_dollars_are_the_users(tmp_path: Path) -> None:
    """Neither Compose nor the shell has a say in what was written literally."""
    text = "llamacpp:\n  # $HOME ${HOME} $$ $\n  ctx-size: 64\n"
    document = project(asked(CASES["llamacpp"].machine, config=a_config(text))).document
    found = loaded(tmp_path, document, HOME="/root")
    (config,) = found["configs"].values()
    assert config["content"] == text


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"no_such_attribute": 1}, "no_such_attribute"),
        ({"depends_on": ["nobody"]}, "nobody"),
        ({"volumes": [{"type": "volume", "source": "nothing", "target": "/x"}]}, "nothing"),
    ],
)
def test_the_check_refuses(change: Manifest, told: str, tmp_path: Path) -> None:
    document = project(CASES["llamacpp"]).document
    document["services"]["ws"] |= change
    with pytest.raises(composespec.InvalidComposeError, match=told):
        loaded(tmp_path, document)
