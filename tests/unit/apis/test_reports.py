"""What a container says, the controller understands."""

from __future__ import annotations

import pytest

from apis import reports
from apis.reports import Reports, Result, Stage, Training

STAGE = Stage(stage=reports.DOWNLOAD, done=1.5, total=3.0, unit="GiB", eta_seconds=4.0)
TRAINING = Training(step=3, steps=10, loss=1.25, eval_loss_before=4.0)
RESULT = Result(steps=10, seconds=60.5, output="r.example/a@sha256:0", eval_loss=1.0)


@pytest.mark.parametrize("report", [STAGE, TRAINING, RESULT])
def test_a_report_survives_its_line(report: Stage | Training | Result) -> None:
    assert reports.parse(type(report), f"12:00:01 INFO {reports.line(report)}\n") == report


def test_the_last_word_of_each_kind_counts() -> None:
    later = Training(step=4, steps=10)
    lines = ["starting", *map(reports.line, (STAGE, TRAINING, later)), "epoch 1"]
    assert reports.read(lines) == Reports(stage=STAGE, training=later)


@pytest.mark.parametrize(
    "text",
    [
        "no report",
        "KAITO_TUNING",
        "KAITO_TUNING {",
        "KAITO_TUNING 3",
        'KAITO_TUNING {"step": 3}',
        reports.line(RESULT),
        'KAITO_TUNING {"step": "3", "steps": 10}',
        'KAITO_TUNING {"step": true, "steps": 10}',
        'KAITO_TUNING {"step": 3, "steps": 1.5}',
        'KAITO_TUNING {"step": 3, "steps": 99999999999}',
        "KAITO_TUNING " + "[" * 200_000,
    ],
)
def test_what_is_no_whole_report_is_passed_over(text: str) -> None:
    assert reports.parse(Training, text) is None


@pytest.mark.parametrize("value", ['"soon"', "Infinity", "-1e999", "[1]", "null"])
def test_what_cannot_be_counts_as_unsaid(value: str) -> None:
    text = f'KAITO_TUNING {{"step": 3, "steps": 10, "eta_seconds": {value}}}'
    assert reports.parse(Training, text) == Training(step=3, steps=10)


def test_a_loss_that_is_no_number_is_said() -> None:
    found = reports.parse(Training, 'KAITO_TUNING {"step": 3, "steps": 10, "loss": NaN}')
    assert found is not None
    assert found.loss != found.loss


def test_keys_of_a_newer_image_do_no_harm() -> None:
    assert reports.parse(Stage, 'KAITO_STAGE {"stage": "load", "mood": 1}') == Stage(stage="load")
