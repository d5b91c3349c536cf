"""The user's `training_config.yaml`: its sections, what they may say, and what it then means.

Standard library only: the tuning image carries a copy of this file and of the tables it reads
(`trainingfields`, `trainingkeys`), so that admission and image refuse the same in the same words.

The file is KAITO's: one key training_config, six sections, each for a dataclass of the libraries.
A null says nothing at all here; KAITO hands it on as the text "None".
"""

from __future__ import annotations

import difflib
import math
import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from apis import container
from apis.engineoptions import repeated as repeated
from apis.trainingfields import CHOICES, TYPES
from apis.trainingkeys import GONE, OWNED, RANGES, RENAMED, UNFIT
from apis.trainingkeys import TEMPLATES as TEMPLATES

ROOT: Final = "training_config"
SECTIONS: Final = tuple(TYPES)
Sections = Mapping[str, Mapping[str, Any]]

_LABELS = {
    "bool": "true or false", "int": "a whole number", "float": "a number", "str": "a text",
    "list": "a list", "map": "a map",
}  # fmt: skip
_VOLUMES = "/mnt"
"""Below it lie the volumes of a tuning pod, as KAITO's do."""
_TAKEN = (container.CONFIG_DIR, container.DATA_DIR)
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_LONGEST = 60
_QUANTIZED = ("load_in_4bit", "load_in_8bit")


def complaints(document: object, method: str) -> Iterator[str]:
    """What is wrong with the file, a sentence each; `method` is lora, qlora or full."""
    found = list(_shape(document))
    if not found:
        found = [each for name in SECTIONS for each in _section(name, _given(document, name))]
        read = sections(document)
        found += [*_quantization(read["QuantizationConfig"], method), *_together(read)]
        if method == "full" and (of_lora := sorted(read["LoraConfig"])):
            found.append(
                f"{ROOT}.LoraConfig.{of_lora[0]} is for an adapter, and method full changes all"
                " weights: leave LoraConfig out, or use method lora"
            )
    yield from found


def notes(document: object) -> Iterator[str]:
    """What a file without complaints says that has another name today, or no effect."""
    for name in SECTIONS:
        for key, value in _given(document, name).items():
            if (today := RENAMED.get(name, {}).get(key)) is not None:
                yield f"{ROOT}.{name}.{key} is called {today} today, and is taken as that"
            elif key in _gone(name) and value not in (None, False):
                why = (
                    "causal models are trained on each next token"
                    if name == "DataCollator"
                    else "today's libraries do not have it"
                )
                yield f"{ROOT}.{name}.{key} has no effect: {why}"


def sections(document: object) -> Sections:
    """What the file says, of a file without complaints: by section, under today's names, numbers
    as numbers; without nulls, what has no effect, and what is not the user's."""
    found: dict[str, dict[str, Any]] = {name: {} for name in SECTIONS}
    for name in SECTIONS:
        for key, value in _given(document, name).items():
            today = _today(name, key)
            left_out = today in OWNED.get(name, {}) or key in _gone(name)
            if value is not None and not left_out and today in TYPES[name]:
                found[name][today] = _read(name, today, value)
    return found


def output_dir(document: object) -> str:
    """Where the result goes, absolute; what is not below /mnt is taken from there, as KAITO's
    webhook does it. Empty where the file does not say."""
    given = sections(document)["TrainingArguments"].get("output_dir")
    return _below_volumes(given) if given else ""


def _shape(document: object) -> Iterator[str]:
    if not isinstance(document, Mapping) or not isinstance(document.get(ROOT), Mapping):
        yield f"{ROOT} must be a map of {', '.join(SECTIONS)}"
        return
    yield from (
        f'"{_shown(key)}" is no key of this file: put everything below {ROOT}'
        for key in document
        if key != ROOT
    )
    for name, value in document[ROOT].items():
        if name not in SECTIONS:
            near = _near(name, SECTIONS) or f"; there are {', '.join(SECTIONS)}"
            yield f'{ROOT}: "{_shown(name)}" is no section{near}'
        elif value is not None and not isinstance(value, Mapping):
            yield f"{ROOT}.{name} must be a map of options"


def _section(name: str, given: Mapping[str, Any]) -> Iterator[str]:
    first: dict[str, str] = {}
    for key, value in given.items():
        path, today = f"{ROOT}.{name}.{_shown(key)}", _today(name, str(key))
        if today in first:
            yield f"{ROOT}.{name}.{first[today]} and {path} are one option: keep one"
        first.setdefault(today, _shown(key))
        if value is None or key in _gone(name):
            continue
        if (owned := OWNED.get(name, {}).get(today)) is not None:
            if not _changes_nothing(value, owned.harmless):
                yield f"{path} belongs to {owned.owner}: {owned.remedy}"
        elif today not in TYPES[name]:
            yield f"{path} is no option of {name}{_where(name, str(key))}"
        else:
            yield from _value(path, name, today, value)


def _value(path: str, name: str, key: str, value: Any) -> Iterator[str]:
    kinds = TYPES[name][key].split("|")
    read, choices = _read(name, key, value), CHOICES.get(name, {}).get(key, ())
    if not _is_of(read, kinds):
        if kinds == ["bool"] or kinds == ["bool", "null"]:
            yield f'{path} "{_shown(value)}" is neither true nor false; write it without quotes'
            return
        wanted = " or ".join(_LABELS[kind] for kind in kinds if kind in _LABELS)
        yield f'{path} "{_shown(value)}" must be {wanted}'
        return
    unfit, why = UNFIT.get(name, {}).get(key, ("", ""))
    if isinstance(read, str) and _chosen(read, unfit.split()):
        yield f'{path} "{_shown(value)}": {why}'
    elif isinstance(read, str) and choices and not _chosen(read, choices):
        offered = [each for each in choices if each not in unfit.split() and "[" not in each]
        yield f'{path} "{_shown(value)}" must be one of {", ".join(offered)}{_near(read, offered)}'
    allowed = RANGES.get(name, {}).get(key)
    numeric = isinstance(read, int | float) and not isinstance(read, bool)
    if allowed is not None and numeric and not allowed.holds(read):
        yield f"{path} {value} must be {allowed}"
    if (name, key) == ("TrainingArguments", "output_dir"):
        yield from _results(path, read)


def _results(path: str, given: str) -> Iterator[str]:
    below = posixpath.normpath(f"{_VOLUMES}/{given.lstrip('/')}")
    if not below.startswith(f"{_VOLUMES}/") or posixpath.normpath(given) == _VOLUMES:
        yield f'{path} "{_shown(given)}" must lie below {_VOLUMES}'
    elif (taken := _below_volumes(given)).startswith(tuple(f"{each}/" for each in _TAKEN)) or (
        taken in _TAKEN
    ):
        yield f'{path} "{_shown(given)}" is where the pod has its input: choose another directory'


def _below_volumes(given: str) -> str:
    path = posixpath.normpath(given)
    if path.startswith(f"{_VOLUMES}/"):
        return path
    return posixpath.normpath(f"{_VOLUMES}/{path.lstrip('/')}")


def _quantization(given: Mapping[str, Any], method: str) -> Iterator[str]:
    """KAITO's rules, word for word in their sense."""
    chosen = [key for key in _QUANTIZED if given.get(key) is True]
    if len(chosen) > 1:
        yield f"{ROOT}.QuantizationConfig: load_in_4bit and load_in_8bit exclude each other"
    elif chosen and method != "qlora":
        yield (
            f"{ROOT}.QuantizationConfig.{chosen[0]} must not be true for {method}; use method qlora"
        )
    elif method == "qlora" and not chosen:
        yield f"{ROOT}.QuantizationConfig: qlora needs load_in_4bit or load_in_8bit to be true"


def _together(read: Sections) -> Iterator[str]:
    """Options that fit single but not together; the libraries' own checks find the others."""
    arguments, data = read["TrainingArguments"], read["DatasetConfig"]
    for one, other in (("bf16", "fp16"), ("bf16_full_eval", "fp16_full_eval")):
        if arguments.get(one) is True and arguments.get(other) is True:
            yield f"{ROOT}.TrainingArguments: {one} and {other} exclude each other"
    evaluates = arguments.get("eval_strategy", "no")
    found = evaluates != "no" and arguments.get("save_strategy") in (evaluates, "best")
    if arguments.get("load_best_model_at_end") is True and not found:
        yield (
            f"{ROOT}.TrainingArguments.load_best_model_at_end needs eval_strategy and save_strategy"
            " to be the same, steps or epoch, so that the best one is there"
        )
    columns = [
        f"{ROOT}.{section}.{key}"
        for section, key, said in (
            ("DatasetConfig", "messages_column", data.get("messages_column")),
            ("DatasetConfig", "context_column", data.get("context_column")),
            ("TrainingArguments", "dataset_text_field", arguments.get("dataset_text_field")),
        )
        if said
    ]
    if len(columns) > 1:
        yield f"{' and '.join(columns)} name different kinds of data: keep one"


def _given(document: object, name: str) -> Mapping[str, Any]:
    """The section as it stands there; empty where there is none that could be read."""
    root = document.get(ROOT) if isinstance(document, Mapping) else None
    found = root.get(name) if isinstance(root, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _gone(name: str) -> list[str]:
    return GONE.get(name, "").split()


def _today(name: str, key: str) -> str:
    return RENAMED.get(name, {}).get(key, key)


def _read(name: str, key: str, value: Any) -> Any:
    """YAML takes `no` for false and 1e-4 for a text: what they stand for, of this key's type."""
    kinds = TYPES[name][key].split("|")
    if value is False and "bool" not in kinds and "no" in CHOICES.get(name, {}).get(key, ()):
        return "no"
    if isinstance(value, str) and "float" in kinds and _NUMBER.fullmatch(value.strip()):
        return float(value)
    if isinstance(value, str) and key == "dataset_extension":
        return value.lower().lstrip(".")
    return value


def _is_of(value: Any, kinds: list[str]) -> bool:
    """Whether YAML's value is of one of the types; a whole number is a number, too."""
    if isinstance(value, bool):
        return "bool" in kinds
    if isinstance(value, int):
        return "int" in kinds or "float" in kinds
    if isinstance(value, float):
        return "float" in kinds and math.isfinite(value)
    named = (("str", str), ("list", list), ("map", Mapping))
    return any(name in kinds and isinstance(value, kind) for name, kind in named)


def _chosen(value: str, choices: list[str] | tuple[str, ...]) -> bool:
    """A choice may end in a pattern, as pissa_niter_[number of iters]."""
    return any(
        value.startswith(each.partition("[")[0]) if "[" in each else value == each
        for each in choices
    )


def _changes_nothing(value: Any, harmless: tuple[object, ...]) -> bool:
    if value in ("", [], {}):
        return True
    return any(value == each and type(value) is type(each) for each in harmless)


def _where(name: str, key: str) -> str:
    """Where an unknown key belongs, or what it may have been meant to be."""
    others = [each for each in SECTIONS if each != name and key in TYPES[each]]
    if others:
        return f": it goes below {others[0]}"
    return _near(key, [*TYPES[name], *RENAMED.get(name, ())])


def _near(given: object, choices: Any) -> str:
    near = difflib.get_close_matches(str(given), list(choices), n=1, cutoff=0.6)
    return f'; did you mean "{near[0]}"?' if near else ""


def _shown(value: object) -> str:
    """In one line, and not the whole of a long text."""
    line = " ".join(str(value).split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"
