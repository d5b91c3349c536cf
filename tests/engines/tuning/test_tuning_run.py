"""A fine-tuning from config and data to adapter, through the image's own programs on the CPU."""

from __future__ import annotations

import json
import re
import signal
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from apis import reports
from tests.engines.tuning.conftest import Lab

pytestmark = pytest.mark.timeout(180)


def test_held_out_loss_falls_and_the_result_says_how_it_was_made(lab: Lab) -> None:
    ended = lab.tune()
    assert ended.code == 0, ended.log
    result = ended.result
    assert result.steps == 24
    assert result.eval_loss is not None
    assert result.eval_loss_before is not None
    assert result.eval_loss < result.eval_loss_before * 0.5
    said = json.loads((lab.output / "kaito_tuning.json").read_text())
    assert said["metrics"]["evalLoss"] == result.eval_loss
    assert said["data"]["heldOutRows"] == 16
    assert said["baseModel"]["name"] == "tiny"
    assert json.loads((lab.output / "adapter_config.json").read_text())["r"] == 8
    assert "Held-out loss after" in (lab.output / "README.md").read_text()
    assert (lab.output / "tokenizer.json").exists()
    assert (
        (lab.output / "fine_tuning_completed.txt").read_text().startswith("Fine-Tuning completed")
    )
    assert lab.checkpoints() == []
    assert [each.step for each in ended.trainings][-1] == 24
    stages = [line for line in ended.log.splitlines() if "KAITO_STAGE" in line]
    assert [name for name in ("load", "prepare", "evaluate", "train") if name in str(stages)]


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(
    make_lab: Callable[..., Lab],
) -> None:
    one, two, other = (make_lab(name) for name in ("one", "two", "other"))
    other.configure(TrainingArguments={"seed": 8})
    for each in (one, two, other):
        assert each.tune().code == 0
    assert one.adapter() == two.adapter() != other.adapter()
    for name in ("adapter_config.json", "kaito_tuning.json", "README.md"):
        assert (one.output / name).read_bytes() == (two.output / name).read_bytes()


def test_a_killed_pod_goes_on_where_it_was_and_ends_with_the_same_adapter(
    make_lab: Callable[..., Lab],
) -> None:
    """Dropout makes every step depend on the random numbers before it."""
    whole, killed = make_lab("whole"), make_lab("killed")
    for each in (whole, killed):
        each.configure(
            LoraConfig={"lora_dropout": 0.1},
            TrainingArguments={"save_strategy": "steps", "save_steps": 3, "max_steps": 30},
        )
    assert whole.tune().code == 0
    assert killed.kill(after=6).code == -signal.SIGKILL
    assert not (killed.output / "fine_tuning_completed.txt").exists()
    ended = killed.tune()
    assert ended.code == 0, ended.log
    assert ended.result.steps == 30
    assert ended.result.resumed_from >= 6
    assert killed.adapter() == whole.adapter()


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(lab: Lab) -> None:
    lab.configure(TrainingArguments={"save_strategy": "steps", "save_steps": 3, "max_steps": 3000})
    lab.kill(after=6)
    before, last = lab.checkpoints()[-2:]
    damaged = lab.output / f".checkpoints/checkpoint-{last}/optimizer.pt"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    process = lab.start()
    ended = lab.stop(process, signal.SIGTERM, lambda: lab.checkpoints()[-1] > last)
    assert f"checkpoint-{last} is not used: optimizer.pt is damaged" in ended.log
    assert f"goes on from step {before}" in ended.log


def test_sigterm_keeps_a_checkpoint_and_other_data_are_not_gone_on_with(lab: Lab) -> None:
    lab.configure(TrainingArguments={"max_steps": 3000, "save_strategy": "no"})
    process = lab.start()
    ended = lab.stop(process, signal.SIGTERM, lambda: '"steps": 3000' in lab.log)
    assert ended.code == reports.EXIT_INTERRUPTED, ended.log
    (step,) = lab.checkpoints()
    assert f"the checkpoint of step {step} is kept" in ended.message
    lab.configure(TrainingArguments={"max_steps": 4, "save_strategy": "no"})
    ended = lab.tune()
    assert ended.code == 0
    assert f"checkpoint-{step} is not used: it is of another config" in ended.log
    assert ended.result.resumed_from == 0


def test_checkpoints_are_kept_by_time_though_the_config_wants_none(lab: Lab) -> None:
    lab.environment["KAITO_CHECKPOINT_SECONDS"] = "0.2"
    lab.configure(TrainingArguments={"max_steps": 3000, "save_strategy": "no"})
    assert lab.kill(after=1).code == -signal.SIGKILL
    assert len(lab.checkpoints()) in (1, 2)


def test_several_processes_tune_as_one(make_lab: Callable[..., Lab]) -> None:
    """As several GPUs do; here over gloo. Two with half the batch each take the same steps."""
    one, lab = make_lab("one"), make_lab("two")
    lab.configure(TrainingArguments={"per_device_train_batch_size": 2})
    ended = lab.tune("--processes=2")
    assert ended.code == 0, ended.log
    assert ended.log.count(reports.Result.MARKER) == 1
    alone = one.tune().result
    assert ended.result.steps == alone.steps
    assert ended.result.eval_loss_before == pytest.approx(alone.eval_loss_before, rel=1e-5)
    assert ended.result.eval_loss == pytest.approx(alone.eval_loss, rel=1e-4)


def test_several_processes_stop_together(lab: Lab) -> None:
    lab.configure(TrainingArguments={"max_steps": 3000})
    process = lab.start("tuning.__main__", "--processes=2")
    ended = lab.stop(process, signal.SIGTERM, lambda: '"steps": 3000' in lab.log)
    assert ended.code == reports.EXIT_INTERRUPTED, ended.log
    assert len(lab.checkpoints()) == 1


def test_the_best_is_kept_of_packed_rows_evaluated_on_the_way(lab: Lab) -> None:
    """So fast a learner is worse at the end."""
    lab.configure(
        TrainingArguments={
            "eval_strategy": "steps",
            "eval_steps": 6,
            "save_strategy": "steps",
            "save_steps": 6,
            "load_best_model_at_end": True,
            "learning_rate": 0.05,
            "packing": True,
            "max_length": 64,
        }
    )
    ended = lab.tune()
    assert ended.code == 0, ended.log
    losses = [each.eval_loss for each in ended.trainings if each.eval_loss is not None]
    assert len(losses) == 5
    assert ended.result.eval_loss == min(losses)


def test_metrics_tell_what_the_log_tells(lab: Lab) -> None:
    lab.configure(TrainingArguments={"max_steps": 3000})
    process = lab.start()

    def scraped() -> dict[str, float]:
        port = re.search(r"metrics are on port (\d+)", lab.log)
        if port is None:
            return {}
        with urllib.request.urlopen(f"http://127.0.0.1:{port[1]}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        return {
            name: float(value)
            for name, _, value in (line.rpartition(" ") for line in lines if line[:1] != "#")
        }

    ended = lab.stop(process, signal.SIGTERM, lambda: scraped().get("kaito_tuning_step", 0) >= 3)
    assert ended.code == reports.EXIT_INTERRUPTED
    lab.configure(TrainingArguments={"max_steps": 3000})
    process = lab.start()
    found: dict[str, float] = {}

    def goes_on() -> bool:
        found.update(scraped())
        return found.get("kaito_tuning_step", 0) > found.get("kaito_tuning_checkpoint_step", 0) > 0

    lab.stop(process, signal.SIGTERM, goes_on)
    assert found['kaito_stage{stage="train"}'] == 1
    assert found['kaito_stage{stage="load"}'] == 0
    assert found["kaito_tuning_steps"] == 3000
    assert found['kaito_tuning_eval_loss{when="before"}'] > 3
    for name in ("loss", "learning_rate", "tokens_per_second", "eta_seconds", "epoch"):
        assert found[f"kaito_tuning_{name}"] > 0, name


def test_full_changes_the_weights_themselves(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(method="full")
    lab.configure(TrainingArguments={"learning_rate": 0.003})
    ended = lab.tune()
    assert ended.code == 0, ended.log
    assert ended.result.eval_loss is not None
    assert ended.result.eval_loss < 1
    assert (lab.output / "model.safetensors").exists()
    assert not (lab.output / "adapter_config.json").exists()


def test_qlora_runs_on_a_cpu_and_goes_on_exactly(make_lab: Callable[..., Lab]) -> None:
    whole, killed = make_lab("whole", method="qlora"), make_lab("killed", method="qlora")
    for each in (whole, killed):
        each.configure(
            QuantizationConfig={"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
            TrainingArguments={"save_strategy": "steps", "save_steps": 3, "max_steps": 9},
        )
    ended = whole.tune()
    assert ended.code == 0, ended.log
    assert ended.result.eval_loss is not None
    assert ended.result.eval_loss_before is not None
    assert ended.result.eval_loss < ended.result.eval_loss_before * 0.9
    killed.kill(after=3)
    assert killed.tune().result.resumed_from >= 3
    assert killed.adapter() == whole.adapter()


def test_of_conversations_the_answers_are_learnt(lab: Lab) -> None:
    lab.write(
        [
            {
                "messages": [
                    {"role": "user", "content": f"what is the code of word {index}"},
                    {"role": "assistant", "content": "xyzzy"},
                ]
            }
            for index in range(32)
        ]
    )
    ended = lab.tune()
    assert ended.code == 0, ended.log
    assert ended.result.eval_loss is not None
    # The questions' numbers cannot be foreseen: with them, the loss would stay above.
    assert ended.result.eval_loss < 0.3


def test_a_result_that_is_there_is_not_made_again(lab: Lab) -> None:
    first = lab.tune()
    again = lab.tune()
    assert again.code == 0
    assert again.trainings == []
    assert again.result.eval_loss == first.result.eval_loss


@pytest.mark.parametrize(
    ("files", "said"),
    [
        pytest.param({"model.gguf": b"GGUF"}, "use the model's safetensors weights", id="gguf"),
        pytest.param({}, "holds no config.json", id="empty"),
        pytest.param({"config.json": b"{}"}, "files of weights", id="no weights"),
        pytest.param(
            {"config.json": b'{"model_type": "nobody"}', "model.safetensors": b"x"},
            "cannot be loaded",
            id="unknown architecture",
        ),
    ],
)
def test_weights_that_cannot_be_tuned_are_refused(
    lab: Lab, tmp_path: Path, files: dict[str, bytes], said: str
) -> None:
    lab.model = tmp_path / "weights"
    lab.model.mkdir()
    for name, content in files.items():
        (lab.model / name).write_bytes(content)
    ended = lab.tune()
    assert ended.code == reports.EXIT_BAD_MODEL, ended.log
    assert said in ended.message
    assert "\n" not in ended.message


def test_answers_beyond_the_longest_row_are_bad_data(lab: Lab) -> None:
    lab.configure(TrainingArguments={"max_length": 4})
    ended = lab.tune()
    assert ended.code == reports.EXIT_BAD_DATA, ended.log
    assert "training_config.TrainingArguments.max_length = 4" in ended.message
