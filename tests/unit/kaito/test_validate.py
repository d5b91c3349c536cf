"""`kaito validate`: one line for each thing that is wrong, and never a traceback."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from kaito.__main__ import main

EXAMPLES = Path(__file__).parents[3] / "examples"

GOOD = """\
apiVersion: kaito.sh/v1beta1
kind: Workspace
metadata: {name: ws}
resource: {instanceType: Standard_NC24ads_A100_v4, labelSelector: {matchLabels: {apps: a}}}
inference: {preset: {name: phi-4-mini-instruct}}
"""
CLAIM = """\
apiVersion: karpenter.sh/v1
kind: NodeClaim
metadata: {name: claim}
spec:
  nodeClassRef: {group: kaito.sh, kind: KaitoNodeClass, name: default}
  requirements: [{key: a, operator: In}]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "objects.yaml"


def validate(file: Path, text: str | None, *flags: str) -> int:
    if text is not None:
        file.write_text(text)
    return main(["validate", "-f", str(file), *flags])


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    said = capsys.readouterr()
    assert said.err == ""
    return said.out.splitlines()


@pytest.mark.parametrize(
    ("example", "cloud"),
    [
        ("workspace-gemma-3-270m.yaml", "local"),
        ("workspace-gemma-3-270m-vllm.yaml", "local"),
        ("workspace-phi-4-mini.yaml", "azure"),
        ("workspace-tuning-phi-4-mini.yaml", "azure"),
        ("ragengine-minilm.yaml", "local"),
        ("ragengine-object-store.yaml", "aws"),
    ],
)
def test_the_examples_are_valid(
    example: str, cloud: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["validate", "-f", str(EXAMPLES / example), "--cloud", cloud]) == 0
    assert lines(capsys) == []


def test_a_good_object_says_nothing(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert validate(file, GOOD) == 0
    assert lines(capsys) == []


@pytest.mark.parametrize(
    ("text", "flags", "said"),
    [
        pytest.param(
            GOOD.replace("resource:", "resources:"),
            [],
            'Workspace ws: resources: unknown field; did you mean "resource"?',
            id="unknown field",
        ),
        pytest.param(
            GOOD.replace("phi-4-mini-instruct", "phi-4-mini-instuct"),
            [],
            'Workspace ws: inference.preset.name: "phi-4-mini-instuct" is no preset; did you mean'
            ' "phi-4-mini-instruct"? (a model of Hugging Face is named as owner/model)',
            id="preset",
        ),
        pytest.param(
            GOOD,
            ["--node-provisioner", "byo"],
            'Workspace ws: resource.instanceType: "Standard_NC24ads_A100_v4" cannot be asked for:'
            " node provisioner byo creates no nodes; leave it out and choose nodes by"
            " labelSelector",
            id="byo",
        ),
        pytest.param(
            GOOD,
            ["--cloud", "local"],
            'Workspace ws: resource.instanceType: "Standard_NC24ads_A100_v4" is no instance type'
            ' of cloud "local"',
            id="another cloud",
        ),
        pytest.param(
            CLAIM,
            [],
            "NodeClaim claim: spec.requirements[0].values: requirements with operator 'In' must"
            " have a value defined",
            id="NodeClaim",
        ),
        pytest.param(
            "kind: Pod\napiVersion: v1\nmetadata: {name: p}\n",
            [],
            'Pod p: kind: "Pod" of "v1" cannot be judged; known are Workspace (kaito.sh),'
            " RAGEngine (kaito.sh),"
            " NodeClaim (karpenter.sh), NodePool (karpenter.sh)",
            id="foreign kind",
        ),
        pytest.param("- a\n", [], "document 1 is no object with apiVersion", id="a list"),
        pytest.param("", [], "holds no objects", id="empty"),
        pytest.param("metadata: 3\nkind: {}\n", [], "kind:", id="odd shapes"),
        pytest.param(
            GOOD.replace("{name: ws}", "[]"), [], "metadata: must be an object", id="metadata"
        ),
    ],
)
def test_one_line_says_what_is_wrong(
    file: Path, text: str, flags: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert validate(file, text, *flags) == 1
    (line,) = lines(capsys)
    assert line.startswith(f"{file}: ")
    assert said in line


def test_a_gpu_that_is_too_small_is_told_with_numbers(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    large = GOOD.replace("phi-4-mini-instruct", "phi-4").replace(
        "Standard_NC24ads_A100_v4", "local-cpu-2"
    )
    assert validate(file, large, "--cloud", "local") == 1
    (line,) = lines(capsys)
    assert "resource.instanceType" in line
    assert "GiB" in line


def test_every_document_of_every_file_is_judged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = tmp_path / "1.yaml", tmp_path / "2.yaml"
    one.write_text(f"---\n{GOOD}---\n{CLAIM}---\n")
    items = "".join(f"  {line}\n" for line in CLAIM.splitlines())
    two.write_text(f"kind: List\napiVersion: v1\nitems:\n-{items[1:]}")
    assert main(["validate", "-f", str(one), "-f", str(two)]) == 1
    assert [line.split(": ")[:2] for line in lines(capsys)] == [
        [str(one), "NodeClaim claim"],
        [str(two), "NodeClaim claim"],
    ]


def test_standard_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(CLAIM))
    assert main(["validate", "-f", "-"]) == 1
    assert lines(capsys)[0].startswith("<stdin>: NodeClaim claim: ")


def test_json(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert validate(file, CLAIM, "-o", "json") == 1
    assert json.loads("\n".join(lines(capsys))) == [
        {
            "file": str(file),
            "kind": "NodeClaim",
            "name": "claim",
            "severity": "error",
            "field": "spec.requirements[0].values",
            "message": "requirements with operator 'In' must have a value defined",
        }
    ]
    assert validate(file, GOOD, "-o", "json") == 0
    assert lines(capsys) == ["[]"]


def test_the_early_form_is_taken(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    early = (
        "apiVersion: kaito.sh/v1alpha1\nkind: Workspace\nmetadata: {name: ws}\nspec:\n"
        "  resource: {labelSelector: {matchLabels: {apps: a}}}\n"
        "  inference: {preset: {name: phi-4-mini-instruct}}\n"
    )
    assert validate(file, early) == 0
    assert lines(capsys) == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(None, "cannot be read: No such file or directory", id="not there"),
        pytest.param(b"kind: \xff\n", "no UTF-8 at byte 6", id="no text"),
        pytest.param(b"a: [b\n", "no YAML: line 2, column 1: expected", id="malformed"),
        pytest.param(b"a: \x00\n", "no YAML:", id="control character"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_beside_what_is_wrong_in_others(
    file: Path, content: bytes | None, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        file.write_bytes(content)
    other = file.with_name("claim.yaml")
    other.write_text(CLAIM)
    assert main(["validate", "-f", str(file), "-f", str(other)]) == 2
    unreadable, wrong = lines(capsys)
    assert unreadable.startswith(f"{file}: {said}")
    assert wrong.startswith(f"{other}: NodeClaim claim: ")


def test_an_unknown_cloud(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert validate(file, GOOD, "--cloud", "moon") == 2
    assert "moon" in capsys.readouterr().err


@pytest.mark.parametrize("runtime", ["vllm", "llamacpp"])
def test_runtime_of_a_model_that_has_it_or_not(
    file: Path, runtime: str, capsys: pytest.CaptureFixture[str]
) -> None:
    annotated = GOOD.replace(
        "{name: ws}", f"{{name: ws, annotations: {{kaito.sh/runtime: {runtime}}}}}"
    )
    assert validate(file, annotated) == (0 if runtime == "vllm" else 1)
    said = lines(capsys)
    assert bool(said) == (runtime == "llamacpp")
    assert all("cannot be served by runtime" in line or "GGUF" in line for line in said)


TUNED = """\
apiVersion: kaito.sh/v1beta1
kind: Workspace
metadata: {name: ws}
resource: {instanceType: Standard_NC24ads_A100_v4, labelSelector: {matchLabels: {apps: a}}}
tuning:
  preset: {name: phi-4-mini-instruct}
  method: lora
  config: arguments
  input: {huggingFace: owner/data}
  output: {image: "registry.example.com/out:1", imagePushSecret: push}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: arguments}
data:
  training_config.yaml: "training_config: {LoraConfig: {%s}, ModelConfig: {%s}}"
"""


def test_training_arguments_beside_the_workspace_are_judged(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """W-C28."""
    assert validate(file, TUNED % ("r: 0", "")) == 1
    (line,) = lines(capsys)
    assert "Workspace ws: tuning.config: key training_config.yaml" in line
    assert line.endswith("training_config.LoraConfig.r 0 must be at least 1")


def test_old_names_in_training_arguments_are_warned_of(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert validate(file, TUNED % ("r: 8", "torch_dtype: bfloat16")) == 0
    (line,) = lines(capsys)
    assert "warning: tuning.config: training_config.ModelConfig.torch_dtype is called" in line
