"""What is refused before anything is downloaded, and by which exit code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from apis import reports
from tests.engines.tuning.conftest import Lab

pytestmark = pytest.mark.timeout(120)


def test_a_good_config_is_let_through(lab: Lab) -> None:
    lab.model = Path("/nonexistent")
    ended = lab.check()
    assert ended.code == 0, ended.log
    assert ended.message == ""


@pytest.mark.parametrize(
    ("sections", "field"),
    [
        pytest.param(
            {"TrainingArguments": {"lr_scheduler_type": "linear", "lr_scheduler_kwargs": 3}},
            "training_config.TrainingArguments.lr_scheduler_kwargs",
            id="of a wrong type",
        ),
        pytest.param({"LoraConfig": {"r": 0}}, "training_config.LoraConfig.r", id="rank"),
        pytest.param(
            {"LoraConfig": {"use_dora": True, "init_lora_weights": "nonsense"}},
            "training_config.LoraConfig.init_lora_weights",
            id="initialisation",
        ),
        pytest.param(
            {"LoraConfig": {"layers_pattern": "layers"}},
            "training_config.LoraConfig.layers_pattern",
            id="what PEFT alone knows",
        ),
        pytest.param(
            {"TrainingArguments": {"lr_scheduler_type": "reduce_lr_on_plateau"}},
            "training_config.TrainingArguments.lr_scheduler_type",
            id="what transformers alone knows",
        ),
        pytest.param(
            {"LoraConfig": {"use_dora": True, "lora_bias": True}},
            "training_config.LoraConfig",
            id="what does not fit together",
        ),
    ],
)
def test_a_bad_config_is_refused_by_its_field(
    lab: Lab, sections: dict[str, Any], field: str
) -> None:
    lab.model = Path("/nonexistent")
    lab.configure(**sections)
    for ended in (lab.check(), lab.tune()):
        assert ended.code == reports.EXIT_BAD_CONFIG, ended.log
        assert ended.message.count("\n") == 0
        assert field in ended.message
