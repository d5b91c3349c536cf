"""training_config.yaml: what may be in it, what is said of the rest, and what it means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from apis import trainingoptions
from apis.trainingfields import TYPES
from apis.trainingkeys import GONE, OWNED, RANGES, RENAMED, TEMPLATES, UNFIT
from apis.trainingoptions import complaints, notes, output_dir, sections
from tests import training_config

LORA_TEMPLATE = """
training_config:
  ModelConfig: {torch_dtype: "bfloat16", local_files_only: true, device_map: "auto"}
  QuantizationConfig: {load_in_4bit: false}
  LoraConfig: {r: 8, lora_alpha: 8, lora_dropout: 0.0}
  TrainingArguments:
    output_dir: "/mnt/results"
    ddp_find_unused_parameters: false
    save_strategy: "no"
    per_device_train_batch_size: 1
  DataCollator: {mlm: true}
  DatasetConfig: {shuffle_dataset: true, train_test_split: 1}
"""
"""KAITO's, as is the next."""
QLORA_TEMPLATE = LORA_TEMPLATE.replace(
    "load_in_4bit: false",
    "load_in_4bit: true, bnb_4bit_quant_type: nf4, bnb_4bit_compute_dtype: bfloat16,"
    " bnb_4bit_use_double_quant: true",
)


def said(section: str, method: str = "lora") -> list[str]:
    """Of a file with these sections."""
    return list(complaints(document(section), method))


def document(section: str) -> Any:
    return yaml.safe_load(f"training_config: {{{section}}}")


@pytest.mark.parametrize(
    ("text", "method"),
    [
        pytest.param(LORA_TEMPLATE, "lora", id="KAITO's template"),
        pytest.param(QLORA_TEMPLATE, "qlora", id="KAITO's template for qlora"),
        pytest.param("training_config: {}", "lora", id="nothing"),
        pytest.param("training_config: {}", "full", id="full"),
        pytest.param("training_config: {LoraConfig: null}", "full", id="empty section"),
        pytest.param("training_config: {LoraConfig: {r: null}}", "full", id="null is absent"),
        pytest.param(
            "training_config: {QuantizationConfig: {load_in_8bit: true}}", "qlora", id="8 bits"
        ),
        pytest.param(
            "training_config: {TrainingArguments: {learning_rate: 1e-4, eval_strategy: no,"
            " num_train_epochs: 3, warmup_ratio: 0.1, save_steps: 0.2, debug: ''}}",
            "lora",
            id="what YAML makes of 1e-4 and no",
        ),
        pytest.param(
            "training_config: {ModelConfig: {pretrained_model_name_or_path:"
            " /workspace/tfs/weights, revision: main, chat_template: '{{ messages }}'},"
            " TrainingArguments: {report_to: none, push_to_hub: false, max_steps: -1}}",
            "lora",
            id="owned, but as it is",
        ),
        pytest.param(
            "training_config: {TrainingArguments: {load_best_model_at_end: true, eval_strategy:"
            " epoch, save_strategy: epoch}}",
            "lora",
            id="the best",
        ),
        pytest.param(
            "training_config: {LoraConfig: {target_modules: all-linear, init_lora_weights:"
            " gaussian, rank_pattern: {q: 4}, layers_to_transform: [1]}}",
            "lora",
            id="several types",
        ),
    ],
)
def test_taken(text: str, method: str) -> None:
    assert list(complaints(yaml.safe_load(text), method)) == []


@pytest.mark.parametrize("method", TEMPLATES)
def test_our_defaults_are_taken(method: str) -> None:
    assert list(complaints({"training_config": TEMPLATES[method]}, method)) == []
    assert list(notes({"training_config": TEMPLATES[method]})) == []


def test_our_defaults_are_kaitos_but_for_what_is_held_out() -> None:
    for method, text in (("lora", LORA_TEMPLATE), ("qlora", QLORA_TEMPLATE)):
        kaito = {name: dict(section) for name, section in sections(yaml.safe_load(text)).items()}
        assert kaito["DatasetConfig"].pop("train_test_split") == 1
        ours = {
            name: dict(section)
            for name, section in sections({"training_config": TEMPLATES[method]}).items()
        }
        kaito["QuantizationConfig"] = {
            key: value for key, value in kaito["QuantizationConfig"].items() if value is not False
        }
        assert ours == kaito


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("a: 1", "training_config must be a map of ModelConfig,", id="no root"),
        pytest.param("- a", "training_config must be a map", id="list"),
        pytest.param("training_config: 3", "training_config must be a map", id="root"),
        pytest.param(
            "{training_config: {}, LoraConfig: {}}",
            '"LoraConfig" is no key of this file: put everything below training_config',
            id="outside",
        ),
        pytest.param(
            "training_config: {LoraConfg: {}}",
            'training_config: "LoraConfg" is no section; did you mean "LoraConfig"?',
            id="section",
        ),
        pytest.param(
            "training_config: {LoraConfig: [r]}",
            "training_config.LoraConfig must be a map of options",
            id="section is a list",
        ),
    ],
)
def test_the_shape(text: str, expected: str) -> None:
    assert next(complaints(yaml.safe_load(text), "lora")).startswith(expected)


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        pytest.param(
            "LoraConfig: {lora_alhpa: 1}",
            'LoraConfig.lora_alhpa is no option of LoraConfig; did you mean "lora_alpha"?',
            id="typo",
        ),
        pytest.param(
            "LoraConfig: {learning_rate: 1}",
            "LoraConfig.learning_rate is no option of LoraConfig: it goes below TrainingArguments",
            id="elsewhere",
        ),
        pytest.param("LoraConfig: {1: 1}", "LoraConfig.1 is no option of LoraConfig", id="no name"),
        pytest.param(
            "LoraConfig: {r: '8'}", 'LoraConfig.r "8" must be a whole number', id="quoted"
        ),
        pytest.param("LoraConfig: {r: true}", "must be a whole number", id="bool is no number"),
        pytest.param("LoraConfig: {r: 0}", "LoraConfig.r 0 must be at least 1", id="r"),
        pytest.param(
            "LoraConfig: {lora_dropout: 1.0}",
            "lora_dropout 1.0 must be at least 0 and below 1",
            id="dropout",
        ),
        pytest.param(
            "LoraConfig: {bias: some}",
            'LoraConfig.bias "some" must be one of none, all, lora_only',
            id="choice",
        ),
        pytest.param(
            "LoraConfig: {init_lora_weights: pissa_niter_4}",
            'init_lora_weights "pissa_niter_4": it changes the base model',
            id="other base model",
        ),
        pytest.param(
            "LoraConfig: {eva_config: {rho: 2}}",
            "LoraConfig.eva_config belongs to a program of one's own",
            id="an object",
        ),
        pytest.param(
            "TrainingArguments: {packing: 'true'}",
            'packing "true" is neither true nor false; write it without quotes',
            id="no bool",
        ),
        pytest.param(
            "TrainingArguments: {learning_rate: fast}",
            'learning_rate "fast" must be a number',
            id="no number",
        ),
        pytest.param(
            "TrainingArguments: {learning_rate: .nan}", "must be a number", id="not a number"
        ),
        pytest.param(
            "TrainingArguments: {learning_rate: 0}",
            "TrainingArguments.learning_rate 0 must be above 0",
            id="learning rate",
        ),
        pytest.param(
            "TrainingArguments: {per_device_train_batch_size: 0}", "must be at least 1", id="batch"
        ),
        pytest.param(
            "TrainingArguments: {eval_strategy: step}",
            'must be one of no, steps, epoch; did you mean "steps"?',
            id="strategy",
        ),
        pytest.param(
            "TrainingArguments: {optim: galore_adamw}",
            'optim "galore_adamw": the image has no package for it',
            id="optimizer",
        ),
        pytest.param(
            "TrainingArguments: {push_to_hub: true}",
            "push_to_hub belongs to tuning.output, which says where the result goes: name an image"
            " in tuning.output.image",
            id="push",
        ),
        pytest.param("TrainingArguments: {hub_token: x}", "belongs to tuning.output", id="token"),
        pytest.param(
            "TrainingArguments: {report_to: [wandb]}", "belongs to the image", id="reports"
        ),
        pytest.param(
            "TrainingArguments: {resume_from_checkpoint: /mnt/x}", "goes on from", id="resume"
        ),
        pytest.param(
            "TrainingArguments: {deepspeed: ds.json}", "one process a GPU", id="deepspeed"
        ),
        pytest.param(
            "TrainingArguments: {group_by_length: true}",
            "set train_sampling_strategy: group_by_length",
            id="gone, with a successor",
        ),
        pytest.param(
            "TrainingArguments: {bf16: true, fp16: true}", "bf16 and fp16 exclude", id="bf16, fp16"
        ),
        pytest.param(
            "TrainingArguments: {load_best_model_at_end: true}", "needs eval_strategy", id="best"
        ),
        pytest.param(
            "TrainingArguments: {load_best_model_at_end: true, eval_strategy: steps}",
            "needs eval_strategy and save_strategy to be the same",
            id="the best is not kept",
        ),
        pytest.param(
            "TrainingArguments: {max_seq_length: 8, max_length: 9}",
            "TrainingArguments.max_seq_length and training_config.TrainingArguments.max_length are"
            " one option: keep one",
            id="two names",
        ),
        pytest.param(
            "TrainingArguments: {output_dir: ../x}", "must lie below /mnt", id="outside of /mnt"
        ),
        pytest.param("TrainingArguments: {output_dir: ''}", "must lie below /mnt", id="empty"),
        pytest.param("TrainingArguments: {output_dir: /mnt}", "must lie below /mnt", id="/mnt"),
        pytest.param(
            "TrainingArguments: {output_dir: /mnt/data/out}", "has its input", id="in the data"
        ),
        pytest.param(
            "TrainingArguments: {output_dir: config}", "has its input", id="in the config"
        ),
        pytest.param(
            "ModelConfig: {pretrained_model_name_or_path: o/m}",
            "belongs to tuning.preset, which says what weights are tuned: name another there",
            id="model",
        ),
        pytest.param("ModelConfig: {revision: v1}", "belongs to tuning.preset", id="revision"),
        pytest.param(
            "ModelConfig: {torch_dtype: bfloat}",
            'ModelConfig.torch_dtype "bfloat" must be one of auto, bfloat16,',
            id="dtype under its old name",
        ),
        pytest.param(
            "DatasetConfig: {train_test_split: 0}",
            "train_test_split 0 must be above 0 and at most 1",
            id="split",
        ),
        pytest.param(
            "DatasetConfig: {dataset_extension: webdataset}", "must be one of arrow,", id="format"
        ),
        pytest.param(
            "DatasetConfig: {context_column: q, messages_column: m}",
            "name different kinds of data: keep one",
            id="columns",
        ),
        pytest.param("DataCollator: {tokenizer: x}", "belongs to tuning.preset", id="tokenizer"),
        pytest.param("DataCollator: {return_tensors: tf}", "trains with PyTorch", id="TensorFlow"),
    ],
)
def test_refused(section: str, expected: str) -> None:
    """W-C28."""
    (sentence,) = said(section)
    assert expected in sentence
    assert "training_config." in sentence


@pytest.mark.parametrize(
    ("section", "method", "expected"),
    [
        pytest.param("{load_in_4bit: true}", "lora", "use method qlora", id="lora"),
        pytest.param("{load_in_4bit: true}", "full", "use method qlora", id="full"),
        pytest.param("{load_in_4bit: false}", "qlora", "qlora needs load_in_4bit or", id="qlora"),
        pytest.param(
            "{load_in_4bit: true, load_in_8bit: true}", "qlora", "exclude each other", id="both"
        ),
        pytest.param("{load_in_4bit: 'yes'}", "lora", "neither true nor false", id="no bool"),
    ],
)
def test_quantization_is_of_qlora(section: str, method: str, expected: str) -> None:
    """W-C28."""
    assert expected in said(f"QuantizationConfig: {section}", method)[0]


def test_full_has_no_adapter() -> None:
    assert "leave LoraConfig out" in said("LoraConfig: {r: 8}", "full")[0]


def test_old_names_and_what_has_no_effect_are_told() -> None:
    told = list(notes(yaml.safe_load(LORA_TEMPLATE)))
    assert told == [
        "training_config.ModelConfig.torch_dtype is called dtype today, and is taken as that",
        "training_config.DataCollator.mlm has no effect: causal models are trained on each next"
        " token",
    ]
    (gone,) = notes(document("TrainingArguments: {overwrite_output_dir: true}"))
    assert gone.endswith("overwrite_output_dir has no effect: today's libraries do not have it")


def test_what_a_file_means() -> None:
    read = sections(
        document(
            "ModelConfig: {torch_dtype: bfloat16, revision: main},"
            " LoraConfig: {r: 4, target_modules: null},"
            " TrainingArguments: {learning_rate: 2e-4, save_strategy: no, evaluation_strategy:"
            " steps, logging_dir: /x, report_to: none},"
            " DatasetConfig: {dataset_extension: .JSONL}, DataCollator: {mlm: true}"
        )
    )
    assert read == {
        "ModelConfig": {"dtype": "bfloat16"},
        "QuantizationConfig": {},
        "LoraConfig": {"r": 4},
        "TrainingArguments": {
            "learning_rate": 0.0002,
            "save_strategy": "no",
            "eval_strategy": "steps",
        },
        "DatasetConfig": {"dataset_extension": "jsonl"},
        "DataCollator": {},
    }


@pytest.mark.parametrize(
    ("given", "path"),
    [
        pytest.param("/mnt/results", "/mnt/results", id="absolute"),
        pytest.param("results/", "/mnt/results", id="relative"),
        pytest.param("/results", "/mnt/results", id="KAITO puts it below /mnt"),
        pytest.param("/mnt/a/../b", "/mnt/b", id="normal"),
    ],
)
def test_where_results_go(given: str, path: str) -> None:
    found = document(f"TrainingArguments: {{output_dir: {given}}}")
    assert output_dir(found) == path
    assert list(complaints(found, "lora")) == []


def test_nowhere_said() -> None:
    assert output_dir({}) == ""


def test_the_tables_name_keys_that_there_are() -> None:
    """A renamed field of a library would leave a rule without effect."""
    gone = {"push_to_hub_model_id", "push_to_hub_organization", "push_to_hub_token", "adafactor",
            "group_by_length", "save_safetensors"}  # fmt: skip
    for table in (OWNED, RANGES, UNFIT):
        for section, keys in table.items():
            assert set(keys) - gone <= set(TYPES[section]), section
    for section, names in RENAMED.items():
        assert set(names.values()) <= set(TYPES[section])
    for words in GONE["TrainingArguments"].split():
        assert words not in TYPES["TrainingArguments"]


def test_old_manifests_of_kaito_are_taken() -> None:
    path = Path(__file__).parents[2] / "manifests/azure/v0.3-tuning-config.yaml"
    config, _ = yaml.safe_load_all(path.read_text())
    found = yaml.safe_load(config["data"]["training_config.yaml"])
    assert list(complaints(found, "lora")) == []


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=4,
)
_keys = st.sampled_from(sorted({key for keys in TYPES.values() for key in keys})) | st.integers()
_sections = st.dictionaries(
    st.sampled_from(trainingoptions.SECTIONS), st.dictionaries(_keys, _values) | _values
)


@given(_values | st.fixed_dictionaries({"training_config": _sections}))
def test_whatever_yaml_gives_is_judged(found: Any) -> None:
    wrong = list(complaints(found, "lora"))
    assert [each for each in wrong if "\n" in each] == []
    if not wrong:
        assert set(sections(found)) == set(trainingoptions.SECTIONS)
        list(notes(found))


def test_the_page_is_up_to_date() -> None:
    assert training_config.PAGE.read_text() == training_config.page(), (
        "run: python -m tests.training_config"
    )


def test_the_examples_of_the_page_are_taken() -> None:
    """All that look like a ConfigMap."""
    blocks = training_config.page().split("```yaml\n")[1:]
    for block in blocks:
        found = yaml.safe_load(block.partition("```")[0])
        config = yaml.safe_load(found["data"]["training_config.yaml"])
        assert list(complaints(config, "lora")) == []
        assert list(notes(config)) == []
    assert blocks
