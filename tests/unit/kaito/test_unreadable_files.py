"""A file that cannot be read is no `no`: each command that takes one ends with 2, in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from kaito import exits
from kaito.__main__ import main

EXAMPLE = str(Path(__file__).parents[3] / "examples/workspace-phi-4-mini.yaml")
DEPLOY = ["deploy", "--workspace-name", "ws", "--model", "phi-4-mini-instruct"]
DEPLOY += ["--instance-type", "Standard_NC24ads_A100_v4"]
MANIFESTS = [
    pytest.param(["validate", "-f", "FILE"], id="validate"),
    pytest.param(["compose", "-f", "FILE"], id="compose"),
    pytest.param(["compose", "--workspace", "-f", "FILE"], id="compose --workspace"),
    pytest.param(["diff", "-f", "FILE"], id="diff"),
]
AT_A_CLUSTER = [
    pytest.param(["status"], id="status"),
    pytest.param(["explain", "ws"], id="explain"),
    pytest.param(["get-endpoint", "ws"], id="get-endpoint"),
    pytest.param(["chat", "ws", "-m", "Hello"], id="chat"),
    pytest.param(["rollback", "ws"], id="rollback"),
    pytest.param(["diff", "-f", EXAMPLE], id="diff"),
    pytest.param(DEPLOY, id="deploy"),
]
UNREADABLE = {
    "absent": None,
    "no YAML": b"a: [b\n",
    "no text": b"a: \xff\xfe\n",
}


def ends_with(status: int, words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(words) == status
    said = capsys.readouterr()
    return said.out + said.err


@pytest.fixture(params=UNREADABLE)
def file(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    path = tmp_path / "given"
    content = UNREADABLE[request.param]
    if content is not None:
        path.write_bytes(content)
    return str(path)


@pytest.mark.parametrize("words", MANIFESTS)
def test_manifests(words: list[str], file: str, capsys: pytest.CaptureFixture[str]) -> None:
    given = [file if word == "FILE" else word for word in words]
    assert file in ends_with(exits.UNTOLD, given, capsys)


@pytest.mark.parametrize("words", AT_A_CLUSTER)
def test_kubeconfigs(words: list[str], file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert file in ends_with(exits.UNTOLD, [*words, "--kubeconfig", file], capsys)


@pytest.mark.parametrize("content", ["- a list\n", "a word\n"])
def test_a_kubeconfig_of_another_form(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text(content)
    said = ends_with(exits.UNTOLD, ["status", "--kubeconfig", str(file)], capsys)
    assert "is no kubeconfig" in said


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["inspect", "oci:LOST"], id="inspect"),
        pytest.param(["push", "oci:LOST", "docker://registry.example/a:v1"], id="push"),
        pytest.param(
            ["inspect", "docker://registry.example/a:v1", "--credentials", "LOST"], id="credentials"
        ),
    ],
)
def test_directories_of_images(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = str(tmp_path / "lost")
    given = ["model-image", *(word.replace("LOST", lost) for word in words)]
    assert lost in ends_with(exits.UNTOLD, given, capsys)
