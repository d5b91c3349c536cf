"""`kaito estimate`, as it is typed."""

from __future__ import annotations

import argparse
import json

import msgspec
import pytest

from kaito import estimate
from presets import catalog, fetch
from presets.files import UnsupportedModelError
from presets.model import Model

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
    ("arguments", "status", "reason"),
    [
        pytest.param(
            ("--preset", "lama-3.1-8b-instruct", *A10),
            1,
            "error: unknown preset 'lama-3.1-8b-instruct'; did you mean llama-3.1-8b-instruct",
            id="unknown preset",
        ),
        pytest.param(
            ("--preset", "phi-4", "--instance-type", "Standard_NV36ads_A10"),
            2,
            "error: unknown instance type 'Standard_NV36ads_A10' of azure; did you mean "
            "Standard_NV36ads_A10_v5",
            id="unknown instance type",
        ),
        pytest.param(
            ("--preset", "phi-4", "--instance-type", "nothing-like-it"),
            2,
            "error: unknown instance type 'nothing-like-it' of azure\n",
            id="nothing near",
        ),
        pytest.param(
            ("--preset", "phi-4", "--cloud", "azur", *A10),
            2,
            "error: unknown cloud",
            id="unknown cloud",
        ),
        pytest.param(
            ("--preset", "phi-4", "--cloud", "local", "--instance-type", "local-cpu-2"),
            1,
            "error: phi-4 on vllm needs",
            id="does not fit",
        ),
        pytest.param(
            ("--preset", "phi-4", *A10, "--max-model-len", "99999"),
            1,
            "error: max_model_len is 99999, but phi-4 handles at most 16384 tokens",
            id="context too long",
        ),
    ],
)
def test_reasons_go_to_stderr(
    arguments: tuple[str, ...], status: int, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert kaito(*arguments) == status
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(reason)


OWN = ("--preset", "llama-3.1-8b-instruct", "-o", "json")


@pytest.mark.parametrize(
    "machine",
    [
        pytest.param(("--gpu-count", "4", "--gpu-memory", "80"), id="counted"),
        pytest.param(
            (
                "--node-labels",
                "x=y,nvidia.com/gpu.count=4,nvidia.com/gpu.memory=81920,"
                "nvidia.com/gpu.product=NVIDIA-A100-SXM4-80GB",
            ),
            id="labelled",
        ),
        pytest.param(
            ("--node-labels", "node.kubernetes.io/instance-type=Standard_NC96ads_A100_v4"),
            id="labelled with its type",
        ),
    ],
)
def test_a_node_of_ones_own(machine: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert kaito(*OWN, *machine) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["gpus_per_node"], document["data_parallel"]) == (4, 4)
    assert document["model"] == "meta-llama/Llama-3.1-8B-Instruct"
    assert len(document["revision"]) == 40


@pytest.mark.parametrize(
    ("machine", "reason"),
    [
        pytest.param((), "by one of --instance-type", id="none"),
        pytest.param((*A10, "--gpu-count", "1"), "by one of --instance-type", id="two"),
        pytest.param(("--gpu-count", "1"), "--gpu-count needs --gpu-memory", id="half"),
        pytest.param(("--node-labels", "a=b"), "--node-labels: neither", id="labels of no GPU"),
        pytest.param((*A10, "--mig-profile", "small"), "is not as 1g.10gb", id="profile"),
    ],
)
def test_nodes_that_nothing_is_known_of(
    machine: tuple[str, ...], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert kaito(*OWN, *machine) == 2
    assert reason in capsys.readouterr().err


def test_a_slice(capsys: pytest.CaptureFixture[str]) -> None:
    a100 = ("--instance-type", "Standard_NC24ads_A100_v4", "--estimator", "kaito")
    assert kaito(*OWN, *a100, "--mig-profile", "3g.40gb") == 0
    assert json.loads(capsys.readouterr().out)["shared_gpu"] is True
    assert kaito(*OWN, *a100, "--mig-profile", "1g.10gb") == 1
    assert "only provides 10 GiB" in capsys.readouterr().err


def test_fewer_bits(capsys: pytest.CaptureFixture[str]) -> None:
    preset = ("--preset", "qwen2.5-coder-32b-instruct", *A10, "-o", "json")
    counts = []
    for options in ((), ("--load-in", "8bit"), ("--load-in", "4bit")):
        assert kaito(*preset, *options) == 0
        counts.append(json.loads(capsys.readouterr().out)["nodes"])
    assert counts == sorted(set(counts), reverse=True)


class Answers:
    """Stands in for Hugging Face."""

    says: Model | Exception
    asked: dict[str, object]

    def __init__(self, endpoint: str) -> None:
        type(self).asked = {"endpoint": endpoint}

    async def model(self, name: str, *, token: str, revision: str) -> Model:
        type(self).asked |= {"name": name, "token": token, "revision": revision}
        if isinstance(self.says, Exception):
            raise self.says
        return self.says

    async def close(self) -> None:
        type(self).asked["closed"] = True


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> type[Answers]:
    found = catalog.load().get("phi-4")
    Answers.says = msgspec.structs.replace(found, name="mine", hf_id="me/Mine", revision="c" * 40)
    Answers.asked = {}
    monkeypatch.setattr(fetch, "Hub", Answers)
    for variable in ("HF_ENDPOINT", "HF_TOKEN", "MY_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    return Answers


def test_a_model_outside_the_catalogue(
    hub: type[Answers], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example")
    monkeypatch.setenv("MY_TOKEN", "hf_x")
    assert kaito("--preset", "me/Mine", *A10, "--token-env", "MY_TOKEN", "--revision", "v2") == 0
    assert f"commit         {'c' * 40}" in capsys.readouterr().out
    assert hub.asked == {
        "endpoint": "https://mirror.example",
        "name": "me/Mine",
        "token": "hf_x",
        "revision": "v2",
        "closed": True,
    }


def test_the_catalogue_needs_no_network(hub: type[Answers]) -> None:
    assert kaito("--preset", "microsoft/phi-4", *A10) == 0
    assert hub.asked == {}
    assert kaito("--preset", "microsoft/phi-4", *A10, "--revision", "main") == 0
    assert hub.asked["name"] == "microsoft/phi-4"


def test_offline_nobody_is_asked(hub: type[Answers], capsys: pytest.CaptureFixture[str]) -> None:
    assert kaito("--preset", "me/Mine", *A10, "--offline") == 1
    assert "unknown preset 'me/Mine'" in capsys.readouterr().err
    assert hub.asked == {}


def test_a_description_to_take_along(
    hub: type[Answers], capsys: pytest.CaptureFixture[str]
) -> None:
    assert kaito("--preset", "me/Mine", "-o", "annotation") == 0
    assert msgspec.json.decode(capsys.readouterr().out, type=Model) == hub.says


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        pytest.param(
            fetch.AccessDeniedError("401", gated=True), "into $HF_TOKEN", id="gated or private"
        ),
        pytest.param(fetch.UnavailableError("answered 503"), "answered 503", id="fails"),
        pytest.param(UnsupportedModelError("vLLM does not"), "vLLM does not", id="not served"),
        pytest.param(TimeoutError(), "does not answer (TimeoutError)", id="silent"),
    ],
)
def test_what_hugging_face_refuses(
    error: Exception, reason: str, hub: type[Answers], capsys: pytest.CaptureFixture[str]
) -> None:
    hub.says = error
    told = 1 if isinstance(error, UnsupportedModelError) else 2
    assert kaito("--preset", "me/Mine", *A10) == told
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize("length", ["0", "-1", "many"])
def test_a_length_that_is_none(length: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        kaito("--preset", "phi-4", *A10, f"--max-model-len={length}")
    assert stopped.value.code == 2
    assert "not a positive number" in capsys.readouterr().err
