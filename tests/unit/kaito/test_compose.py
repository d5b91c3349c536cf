"""`kaito compose`, as it is typed."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import yaml

from kaito import exits
from kaito.__main__ import main

EXAMPLES = Path(__file__).parents[3] / "examples"
GEMMA = EXAMPLES / "workspace-gemma-3-270m.yaml"
PHI = EXAMPLES / "workspace-phi-4-mini.yaml"
BYO = """\
apiVersion: kaito.sh/v1beta1
kind: Workspace
metadata:
  name: mine
  uid: 1-2-3
  resourceVersion: "7"
  annotations: {kubectl.kubernetes.io/last-applied-configuration: "{}"}
resource: {labelSelector: {matchLabels: {apps: a}}}
inference: {preset: {name: phi-4-mini-instruct}, config: options}
status: {observedGeneration: 1}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: options}
data: {inference_config.yaml: "vllm: {max-model-len: 4096}"}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: of-somebody-else}
"""
OWN = ("--gpu-count", "1", "--gpu-memory", "48", "--cpus", "16", "--memory", "64")


def compose(*arguments: str) -> int:
    return main(["compose", *arguments])


@pytest.fixture
def mine(tmp_path: Path) -> str:
    file = tmp_path / "workspace.yaml"
    file.write_text(BYO)
    return str(file)


@pytest.mark.parametrize(
    ("example", "cloud"),
    [
        (GEMMA, "local"),
        (EXAMPLES / "workspace-gemma-3-270m-vllm.yaml", "local"),
        (PHI, "azure"),
    ],
    ids=["llamacpp", "vllm on a CPU", "vllm"],
)
def test_examples_there_and_back(
    example: Path, cloud: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, again = tmp_path / "compose.yaml", tmp_path / "workspace.yaml"
    assert compose("-f", str(example), "--cloud", cloud, "-o", str(file)) == 0
    assert compose("--workspace", "-f", str(file), "-o", str(again)) == 0
    assert yaml.safe_load(again.read_text()) == yaml.safe_load(example.read_text())
    said = capsys.readouterr()
    assert said.out == ""
    (warning,) = said.err.splitlines()
    assert warning.startswith(f"{example}: warning: containers[workspace-")
    assert "livenessProbe" in warning


def test_a_machine_of_ones_own(mine: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert compose("-f", mine, *OWN, "--port", "8000", "--set", "SERVING_IMAGE_TAG=9") == 0
    text = capsys.readouterr().out
    assert "(1 x GPU of 48 GiB, 16 cores, 64 GiB of RAM)" in text.splitlines()[0]
    document = yaml.safe_load(text)
    server = document["services"]["mine"]
    assert server["image"] == "localhost/kaito-serving-vllm:9"
    assert server["ports"][0]["published"] == "8000"
    assert "--max-model-len=4096" in server["command"]
    assert [each["metadata"]["name"] for each in document["x-kaito"]["configMaps"]] == ["options"]
    metadata = document["x-kaito"]["workspace"]["metadata"]
    assert metadata == {"name": "mine", "annotations": {}}
    assert "status" not in document["x-kaito"]["workspace"]


def test_a_machine_without_gpus(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("-f", str(GEMMA), "--cloud", "local", "--cpus", "16", "--memory", "32")
    assert compose(*arguments) == 0
    server = yaml.safe_load(capsys.readouterr().out)["services"]["workspace-gemma-3-270m"]
    assert "--threads=15" in server["command"]
    assert "devices" not in server["deploy"]["resources"]["reservations"]


def test_standard_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(PHI.read_text()))
    assert compose("-f", "-") == 0
    said = capsys.readouterr()
    assert yaml.safe_load(said.out)["name"] == "workspace-phi-4-mini"
    assert said.err.startswith("<stdin>: warning: ")


REFUSED = [
    (("--gpu-count", "1", "--gpu-memory", "2"), "resource.labelSelector: phi-4-mini-instruct"),
    ((*OWN, "--name", "other"), "holds no Workspace other"),
    ((*OWN, "--workspace"), "is no Compose file: it must hold one document"),
]
CANNOT_TELL = [
    ((), "resource.instanceType is not set: say what this machine has, by --cpus with --memory"),
    (("--cpus", "4"), "--cpus and --memory go together"),
    (("--instance-type", "Standard_Nothing"), "unknown instance type 'Standard_Nothing' of azure"),
    ((*OWN, "--set", "WEIGHTS_CACHE"), "--set WEIGHTS_CACHE: write NAME=VALUE"),
    ((*OWN, "--set", "METRICS_PORT=1"), "--set METRICS_PORT: no pod rests on it; one of: ESTIMAT"),
    ((*OWN, "--set", "WEIGHTS_CACHE=x"), "WEIGHTS_CACHE is 'x'; one of: node, pod, nvme"),
    ((*OWN, "-o", "/nowhere/compose.yaml"), "/nowhere/compose.yaml: cannot be written: No such"),
]


@pytest.mark.parametrize(
    ("status", "arguments", "told"),
    [
        *((exits.NO, *each) for each in REFUSED),
        *((exits.UNTOLD, *each) for each in CANNOT_TELL),
    ],
)
def test_what_is_wrong_is_one_sentence(
    status: int,
    arguments: tuple[str, ...],
    told: str,
    mine: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert compose("-f", mine, *arguments) == status
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert line.startswith("error: ")
    assert told in line


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("kind: Pod", "holds no Workspace"),
        (BYO.replace("phi-4-mini-instruct", "phi-4-mini-instruckt"), "did you mean"),
        (BYO.replace("owner", "").replace("name: options}\ndata", "name: other}\ndata"), "options"),
        (BYO.replace("phi-4-mini-instruct", "owner/model"), "kaito estimate --preset owner/model"),
        (BYO.replace("  name: mine\n", "  generateName: mine-\n"), "metadata.name: a Compose file"),
        (BYO + "---\n" + BYO.replace("name: mine", "name: yours"), "mine, yours): choose one by"),
        (BYO.replace("max-model-len: 4096", "port: 1"), "vllm.port belongs to the Service"),
    ],
)
def test_what_is_wrong_in_the_file_is_told(
    text: str, told: str, mine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(mine).write_text(text)
    assert compose("-f", mine, *OWN) == 1
    assert told in capsys.readouterr().err


def test_no_secret_is_written(
    mine: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_of-the-user")
    Path(mine).write_text(
        BYO.replace(
            "{name: phi-4-mini-instruct}",
            "{name: phi-4-mini-instruct, presetOptions: {modelAccessSecret: hub}}",
        )
    )
    assert compose("-f", mine, *OWN) == 0
    text = capsys.readouterr().out
    assert "hf_of" not in text
    assert yaml.safe_load(text)["services"]["weights"]["environment"] == {"HF_TOKEN": None}


def test_an_edit_is_carried_and_what_follows_is_told(
    mine: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "compose.yaml"
    assert compose("-f", mine, *OWN, "-o", str(file)) == 0
    document = yaml.safe_load(file.read_text())
    document["services"]["mine"]["image"] = "registry.example/mine:1"
    file.write_text(yaml.safe_dump(document))
    capsys.readouterr()
    assert compose("--workspace", "-f", str(file)) == 0
    said = capsys.readouterr()
    config, workspace = yaml.safe_load_all(said.out)
    assert config["metadata"]["name"] == "options"
    options = workspace["inference"]["preset"]["presetOptions"]
    assert options == {"image": "registry.example/mine:1"}
    assert f"{file}: also: services.mine.user: 65532:65532 -> None" in said.err.splitlines()
