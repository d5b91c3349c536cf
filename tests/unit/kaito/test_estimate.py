"""`kaito estimate`, as it is typed."""

from __future__ import annotations

import argparse
import json

import pytest

from kaito import estimate

A10 = ("--instance-type", "Standard_NV36ads_A10_v5")


def kaito(*arguments: str) -> int:
    parser = argparse.ArgumentParser(prog="kaito")
    estimate.add_parser(parser.add_subparsers(required=True))
    args = parser.parse_args(["estimate", *arguments])
    result: int = args.run(args)
    return result


@pytest.mark.parametrize(
    ("estimator", "expected"),
    [
        pytest.param(
            "kaito",
            {
                "nodes": 2,
                "gpus_per_node": 1,
                "tensor_parallel": 1,
                "pipeline_parallel": 2,
                "data_parallel": 1,
                "gpu_memory_utilization": 0.82,
            },
            id="kaito",
        ),
        pytest.param(
            "fit",
            {
                "nodes": 1,
                "gpus_per_node": 1,
                "tensor_parallel": 1,
                "pipeline_parallel": 1,
                "data_parallel": 1,
                "gpu_memory_utilization": 0.92,
            },
            id="fit",
        ),
    ],
)
def test_json_has_the_promised_keys_first(
    estimator: str, expected: dict[str, float], capsys: pytest.CaptureFixture[str]
) -> None:
    assert kaito("--preset", "gpt-oss-20b", *A10, "--estimator", estimator, "-o", "json") == 0
    document = json.loads(capsys.readouterr().out)
    assert list(document)[:6] == list(expected)
    assert {key: document[key] for key in expected} == expected
    assert {"max_model_len", "memory_gib", "cpu", "engine"} <= set(document)


def test_fit_is_the_default_and_azure_the_cloud(capsys: pytest.CaptureFixture[str]) -> None:
    assert kaito("--preset", "gpt-oss-20b", *A10, "-o", "json") == 0
    assert json.loads(capsys.readouterr().out)["nodes"] == 1


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    preset = "llama-3.3-70b-instruct"
    assert kaito("--preset", preset, "--instance-type", "standard_nc48ads_a100_v4") == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines["preset"] == preset
    assert lines["nodes"] == "2"
    assert lines["parallelism"] == "tensor 2, pipeline 2, data 1"
    assert lines["context"] == "131072 tokens"


def test_the_table_of_upstreams_estimate(capsys: pytest.CaptureFixture[str]) -> None:
    assert kaito("--preset", "phi-4-mini-instruct", *A10, "--estimator", "kaito") == 0
    output = capsys.readouterr().out
    assert "as much as fits" in output
    assert "pod requests" not in output


def test_a_node_without_gpus(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--preset", "gemma-3-270m", "--cloud", "local", "--instance-type", "local-cpu-2")
    assert kaito(*arguments) == 0
    output = capsys.readouterr().out
    assert "no GPU" in output
    assert "llamacpp" in output
    assert "GiB RAM" in output


def test_context_counts(capsys: pytest.CaptureFixture[str]) -> None:
    llama = ("--preset", "llama-3.1-8b-instruct", *A10, "--max-model-len")
    assert kaito(*llama, "131072", "-o", "json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["max_model_len"] == 131072
    assert document["nodes"] == 2


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        pytest.param(
            ("--preset", "lama-3.1-8b-instruct", *A10),
            "error: unknown preset 'lama-3.1-8b-instruct'; did you mean llama-3.1-8b-instruct",
            id="unknown preset",
        ),
        pytest.param(
            ("--preset", "phi-4", "--instance-type", "Standard_NV36ads_A10"),
            "error: unknown instance type 'Standard_NV36ads_A10' of azure; did you mean "
            "Standard_NV36ads_A10_v5",
            id="unknown instance type",
        ),
        pytest.param(
            ("--preset", "phi-4", "--instance-type", "nothing-like-it"),
            "error: unknown instance type 'nothing-like-it' of azure\n",
            id="nothing near",
        ),
        pytest.param(
            ("--preset", "phi-4", "--cloud", "azur", *A10),
            "error: unknown cloud",
            id="unknown cloud",
        ),
        pytest.param(
            ("--preset", "phi-4", "--cloud", "local", "--instance-type", "local-cpu-2"),
            "error: phi-4 on vllm needs",
            id="does not fit",
        ),
        pytest.param(
            ("--preset", "phi-4", *A10, "--max-model-len", "99999"),
            "error: max_model_len is 99999, but phi-4 handles at most 16384 tokens",
            id="context too long",
        ),
    ],
)
def test_reasons_go_to_stderr(
    arguments: tuple[str, ...], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert kaito(*arguments) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(reason)


@pytest.mark.parametrize("length", ["0", "-1", "many"])
def test_a_length_that_is_none(length: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        kaito("--preset", "phi-4", *A10, f"--max-model-len={length}")
    assert stopped.value.code == 2
    assert "not a positive number" in capsys.readouterr().err
