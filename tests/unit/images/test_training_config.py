"""training_config.yaml as the tuning image reads it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tuning.config import ConfigError, DatasetOptions, TrainingConfig, load
from tuning.data import split
from tuning.failures import DataError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "training_config.yaml"


def written(file: Path, text: str, method: str = "") -> TrainingConfig:
    file.write_text(f"training_config:\n{text}")
    return load(file, method)


@pytest.mark.parametrize(
    ("method", "dtype", "rank", "quantized"),
    [
        pytest.param("", "bfloat16", 8, False, id="lora is the default"),
        pytest.param("QLoRA", "bfloat16", 8, True, id="qlora"),
        pytest.param("full", "float32", None, False, id="full"),
    ],
)
def test_without_a_file_there_are_our_defaults(
    file: Path, method: str, dtype: str, rank: int | None, quantized: bool
) -> None:
    found = load(file, method)
    assert found.method == (method.lower() or "lora")
    assert found.model["dtype"] == dtype
    assert found.lora.get("r") == rank
    assert found.quantization.get("load_in_4bit", False) is quantized
    assert found.arguments["per_device_train_batch_size"] == 1
    assert found.output_dir == Path("/mnt/results")
    assert found.dataset == DatasetOptions()
    assert found.notes == ()


def test_a_file_of_ones_own_starts_from_the_libraries_defaults(file: Path) -> None:
    found = written(file, "  LoraConfig: {r: 4}\n  TrainingArguments: {seed: 3}\n")
    assert (found.lora, found.model) == ({"r": 4}, {})
    assert found.arguments == {"seed": 3, "per_device_eval_batch_size": 8}


def test_evaluation_needs_no_more_memory_than_training(file: Path) -> None:
    found = written(file, "  TrainingArguments: {per_device_train_batch_size: 2}\n")
    assert found.arguments["per_device_eval_batch_size"] == 2


def test_the_file_tells_the_method_where_nobody_does(file: Path) -> None:
    assert written(file, "  QuantizationConfig: {load_in_8bit: true}\n").method == "qlora"
    assert written(file, "  QuantizationConfig: {load_in_8bit: false}\n").method == "lora"


def test_weights_of_full_are_float32_if_not_asked_otherwise(file: Path) -> None:
    """Small steps get lost in bfloat16."""
    assert written(file, "  DatasetConfig: {}\n", "full").model["dtype"] == "float32"
    asked = written(file, "  ModelConfig: {torch_dtype: bfloat16}\n", "full")
    assert asked.model["dtype"] == "bfloat16"
    assert asked.notes[0].endswith("torch_dtype is called dtype today, and is taken as that")


def test_what_is_said_of_the_data(file: Path) -> None:
    found = written(
        file,
        "  TrainingArguments: {dataset_text_field: body, output_dir: out}\n"
        "  DatasetConfig:\n"
        "    {dataset_path: a/b.jsonl, dataset_extension: jsonl, shuffle_dataset: false,\n"
        "     shuffle_seed: 7, train_test_split: 0.9}\n",
    )
    assert found.dataset == DatasetOptions(
        path="a/b.jsonl",
        extension="jsonl",
        shuffle=False,
        seed=7,
        text_column="body",
        train_share=0.9,
    )
    assert set(found.arguments) == {"per_device_eval_batch_size"}
    assert found.output_dir == Path("/mnt/out")


def test_kaitos_split_is_respected(file: Path) -> None:
    assert written(file, "  DatasetConfig: {train_test_split: 1}\n").dataset.train_share == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("training_config: [", "is no YAML: ", id="no YAML"),
        pytest.param("", "training_config must be a map of ModelConfig", id="empty"),
        pytest.param(
            "training_config: {LoraConfig: {r: 1, r: 2}}",
            "training_config.LoraConfig.r is there twice: keep one",
            id="twice",
        ),
        pytest.param(
            "training_config: {LoraConfig: {r: 0}}", "training_config.LoraConfig.r 0", id="range"
        ),
    ],
)
def test_a_bad_file_is_refused_in_one_line(file: Path, text: str, said: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError) as refused:
        load(file, "lora")
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_unknown_method(file: Path) -> None:
    with pytest.raises(
        ConfigError, match=r'tuning\.method "dora" must be one of lora, qlora, full'
    ):
        load(file, "DoRA")


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("rows", "share", "kept"),
    [
        pytest.param(4, None, 0, id="none to spare"),
        pytest.param(5, None, 1, id="one"),
        pytest.param(100, None, 10, id="a tenth"),
        pytest.param(10**6, None, 200, id="enough"),
        pytest.param(10, 0.99, 1, id="at least one where it is asked for"),
        pytest.param(10, 1, 0, id="none"),
    ],
)
def test_how_many_rows_are_held_out(rows: int, share: float | None, kept: int) -> None:
    assert split.held_out(rows, share) == kept


def test_too_few_rows_to_split() -> None:
    with pytest.raises(DataError, match=r"train_test_split 0\.1: nothing would be left"):
        split.held_out(2, 0.1)
