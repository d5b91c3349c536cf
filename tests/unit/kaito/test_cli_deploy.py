"""`kaito deploy`: the Workspace that flags mean."""

from __future__ import annotations

import json

import pytest
import yaml

from apis.kaito.v1beta1.labels import ENABLE_LB_ANNOTATION
from kaito import exits
from kaito.__main__ import main

A100 = ("--instance-type", "Standard_NC24ads_A100_v4")
NAMED = ("deploy", "--workspace-name", "ws", "--model", "phi-4-mini-instruct", *A100)
TUNED = (*NAMED, "--tuning")


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path):
    """No cluster: a dry run needs none."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> dict:
    assert main([*words, "--dry-run"]) == exits.DONE
    return yaml.safe_load(capsys.readouterr().out)


def test_a_served_model(capsys: pytest.CaptureFixture[str]):
    more = ("--count", "2", "--model-access-secret", "hf", "--inference-config", "engine")
    adapters = ("--adapters", "a=reg.example/a:1,b=reg.example/b:2", "--enable-load-balancer")
    assert shown(capsys, *NAMED, *more, *adapters, "-n", "team") == {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {
            "name": "ws",
            "namespace": "team",
            "annotations": {ENABLE_LB_ANNOTATION: "True"},
        },
        "resource": {
            "count": 2,
            "instanceType": "Standard_NC24ads_A100_v4",
            "labelSelector": {"matchLabels": {"apps": "ws"}},
        },
        "inference": {
            "preset": {
                "name": "phi-4-mini-instruct",
                "presetOptions": {"modelAccessSecret": "hf"},
            },
            "config": "engine",
            "adapters": [
                {"source": {"name": "a", "image": "reg.example/a:1"}},
                {"source": {"name": "b", "image": "reg.example/b:2"}},
            ],
        },
    }


def test_a_tuned_model(capsys: pytest.CaptureFixture[str]):
    work = shown(
        capsys,
        *TUNED,
        *("--input-urls", "https://example.org/a.jsonl", "--output-image", "reg.example/a:1"),
        *("--output-image-secret", "push", "--tuning-config", "training"),
    )["tuning"]
    assert work == {
        "preset": {"name": "phi-4-mini-instruct"},
        "method": "qlora",
        "config": "training",
        "input": {"urls": ["https://example.org/a.jsonl"]},
        "output": {"image": "reg.example/a:1", "imagePushSecret": "push"},
    }


def test_volumes_in_and_out(capsys: pytest.CaptureFixture[str]):
    work = shown(capsys, *TUNED, "--input-pvc", "data", "--output-pvc", "result")["tuning"]
    assert work["input"] == {"volumeSource": {"persistentVolumeClaim": {"claimName": "data"}}}
    assert work["output"] == {"volumeSource": {"persistentVolumeClaim": {"claimName": "result"}}}


def test_labels_choose_the_nodes(capsys: pytest.CaptureFixture[str]):
    found = shown(capsys, *NAMED, "--node-selector", "gpu=a100, zone=b")
    assert found["resource"]["labelSelector"]["matchLabels"] == {"gpu": "a100", "zone": "b"}


def test_annotations_are_put_on_it(capsys: pytest.CaptureFixture[str]):
    found = shown(capsys, *NAMED, "--annotation", "kaito.sh/runtime=vllm", "--annotation", "a=b=c")
    assert found["metadata"]["annotations"] == {"kaito.sh/runtime": "vllm", "a": "b=c"}


def test_both_forms_are_one_object(capsys: pytest.CaptureFixture[str]):
    assert main([*NAMED, "--dry-run", "-o", "json"]) == exits.DONE
    assert json.loads(capsys.readouterr().out) == shown(capsys, *NAMED)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        pytest.param(
            (*NAMED, "--input-urls", "https://example.org/a"),
            "--input-urls needs --tuning",
            id="tuning's flag without tuning",
        ),
        pytest.param(
            (*TUNED, "--adapters", "a=b", "--inference-config", "c"),
            "--adapters, --inference-config cannot be used with --tuning",
            id="inference's flags with tuning",
        ),
        pytest.param(
            (*TUNED, "--output-pvc", "o"), "needs one input: --input-urls or", id="no input"
        ),
        pytest.param(
            (*TUNED, "--input-pvc", "i", "--output-pvc", "o", "--output-image", "p"),
            "needs one output",
            id="two outputs",
        ),
        pytest.param((*NAMED, "--adapters", "a"), "'a' is not as NAME=VALUE", id="no pair"),
    ],
)
def test_flags_that_do_not_go_together(words, reason, capsys: pytest.CaptureFixture[str]):
    assert main([*words, "--dry-run"]) == exits.UNTOLD
    assert reason in capsys.readouterr().err


def test_what_admission_would_refuse_is_refused_here(capsys: pytest.CaptureFixture[str]):
    wrong = ("deploy", "--workspace-name", "ws", "--model", "phi-4-mini-instrct", *A100)
    assert main(list(wrong)) == exits.NO
    assert 'did you mean "phi-4-mini-instruct"' in capsys.readouterr().err


def test_without_a_cluster_it_cannot_be_created(capsys: pytest.CaptureFixture[str]):
    assert main(list(NAMED)) == exits.UNTOLD
    assert capsys.readouterr().err.startswith("error: ")
