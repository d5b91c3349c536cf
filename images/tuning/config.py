"""training_config.yaml as it is trained with: judged, under today's names, with defaults.

A file of one's own starts from the libraries' defaults, as with KAITO; without a file there are
the values of `apis.trainingkeys.TEMPLATES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from apis import container, trainingoptions

LORA, QLORA, FULL = "lora", "qlora", "full"


class ConfigError(Exception):
    """The file cannot be trained with; one line for the user, with the field's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetOptions:
    """What DatasetConfig says of the data, and TrainingArguments.dataset_text_field."""

    path: str = ""
    """A file or directory; relative to the data, or below /mnt as KAITO has it."""
    extension: str = ""
    """As jsonl; empty: what the files' names say."""
    shuffle: bool = True
    seed: int = 42
    context_column: str = ""
    response_column: str = ""
    messages_column: str = ""
    text_column: str = ""
    train_share: float | None = None
    """In (0, 1]; 1 holds nothing out, None a small part (see `tuning.data.split`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """The sections as keyword arguments of their classes."""

    method: str
    model: Mapping[str, Any]
    quantization: Mapping[str, Any]
    lora: Mapping[str, Any]
    arguments: Mapping[str, Any]
    """For SFTConfig, without output_dir, and without what `dataset` says of columns."""
    dataset: DatasetOptions
    collator: Mapping[str, Any]
    output_dir: Path
    notes: tuple[str, ...] = ()
    """What the file says that has another name today or no effect, a sentence each."""


def load(path: Path, method: str = "") -> TrainingConfig:
    """The file, or our defaults where there is none. `method` is lora, qlora or full; empty: qlora
    where the file quantises, else lora.

    ConfigError with all that admission refuses: without the webhook, and when the ConfigMap changes
    later, this is the last place to say so.
    """
    method = method.lower()
    if method not in ("", *trainingoptions.TEMPLATES):
        known = ", ".join(trainingoptions.TEMPLATES)
        raise ConfigError(f'tuning.method "{method}" must be one of {known}')
    document = _document(path)
    if document is None:
        chosen = method or LORA
        return _config(chosen, {trainingoptions.ROOT: trainingoptions.TEMPLATES[chosen]}, ())
    chosen = method or _implied(document)
    if wrong := list(trainingoptions.complaints(document, chosen)):
        raise ConfigError(f"{path.name}: {'; '.join(wrong)}")
    return _config(chosen, document, tuple(trainingoptions.notes(document)))


def _document(path: Path) -> object | None:
    """None where there is no file. ConfigError where it is no YAML, or has a key twice."""
    try:
        text = path.read_text()
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        found: object = yaml.safe_load(text)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    if twice := list(trainingoptions.repeated(node)):
        raise ConfigError(f"{path.name}: {'; '.join(twice)}")
    return {} if found is None else found


def _implied(document: object) -> str:
    quantization = trainingoptions.sections(document)["QuantizationConfig"]
    return QLORA if {"load_in_4bit", "load_in_8bit"} & _true(quantization) else LORA


def _true(section: Mapping[str, Any]) -> set[str]:
    return {key for key, value in section.items() if value is True}


def _config(method: str, document: object, notes: tuple[str, ...]) -> TrainingConfig:
    read = trainingoptions.sections(document)
    model = dict(read["ModelConfig"])
    if method == FULL:
        model.setdefault("dtype", trainingoptions.TEMPLATES[FULL]["ModelConfig"]["dtype"])
    arguments = dict(read["TrainingArguments"])
    arguments.pop("output_dir", None)
    text_column = str(arguments.pop("dataset_text_field", ""))
    # Evaluation keeps the logits of its whole batch: what trains need not fit there.
    train_batch = arguments.get("per_device_train_batch_size", 8)
    arguments.setdefault("per_device_eval_batch_size", train_batch)
    return TrainingConfig(
        method=method,
        model=model,
        quantization=read["QuantizationConfig"],
        lora=read["LoraConfig"],
        arguments=arguments,
        dataset=_dataset(read["DatasetConfig"], text_column),
        collator=read["DataCollator"],
        output_dir=Path(trainingoptions.output_dir(document) or container.RESULTS_DIR),
        notes=notes,
    )


def _dataset(given: Mapping[str, Any], text_column: str) -> DatasetOptions:
    plain = DatasetOptions()
    return DatasetOptions(
        path=given.get("dataset_path", plain.path),
        extension=given.get("dataset_extension", plain.extension),
        shuffle=given.get("shuffle_dataset", plain.shuffle),
        seed=given.get("shuffle_seed", plain.seed),
        context_column=given.get("context_column", plain.context_column),
        response_column=given.get("response_column", plain.response_column),
        messages_column=given.get("messages_column", plain.messages_column),
        text_column=text_column,
        train_share=given.get("train_test_split", plain.train_share),
    )
