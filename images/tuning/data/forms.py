"""What a row teaches: by the columns that it has, or that the user names.

Three kinds come out: `messages`, `prompt-completion`, `text`, with columns of these names, which
are TRL's. Questions and answers become turns of a conversation where the tokenizer has a chat
template, since the result will be asked in that form; prompt and completion are taken as they are
written, since whoever has them has written the whole prompt.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tuning.config import DatasetOptions
from tuning.data.messages import BadRowError, conversation, teaches
from tuning.failures import DataError

MESSAGES, PROMPT_COMPLETION, TEXT = "messages", "prompt-completion", "text"
KNOWN = "messages (or conversations), prompt and completion, instruction and output, or text"

Row = Mapping[str, Any]
Convert = Callable[[Row], dict[str, Any] | None]
"""None for a row that is empty; BadRowError for one that is wrong."""

_ALPACA = "Below is an instruction that describes a task. Write a response that appropriately\
 completes the request.\n\n### Instruction:\n{}\n\n### Response:\n"
"""Of the data set that gave this form its name: for models that know no turns."""


@dataclass(frozen=True, slots=True)
class Form:
    """`converts` answers with the columns of the kind."""

    kind: str
    columns: tuple[str, ...]
    convert: Convert


def form(columns: frozenset[str], options: DatasetOptions, has_template: bool) -> Form:
    """Of files with these columns. DataError where they hold nothing known, or what the tokenizer
    has no template for."""
    for names, made in (*_chosen(options, has_template), *_guessed(has_template)):
        if made is None:
            missing = [name for name in names if name not in columns]
            if missing:
                raise DataError(_lacks(missing[0], columns))
        elif set(names) <= columns:
            return made
    raise DataError(
        f"has the columns {_listed(columns)}; known are {KNOWN}: rename them, or name yours by"
        " context_column and response_column, messages_column (training_config.DatasetConfig) or"
        " dataset_text_field (TrainingArguments)"
    )


Candidate = tuple[tuple[str, ...], Form | None]
"""Columns, and the form that they are; None: they must be there."""


def _chosen(options: DatasetOptions, has_template: bool) -> list[Candidate]:
    if name := options.messages_column:
        return [((name,), None), ((name,), _conversations(name, has_template))]
    if context := options.context_column:
        names = (context, options.response_column or "text")
        return [(names, None), (names, _answers(names[0], "", names[1], has_template))]
    if name := options.text_column or options.response_column:
        # KAITO's own default is response_column text; where the data has none, that asks nothing.
        required: list[Candidate] = [] if name == "text" else [((name,), None)]
        return [*required, ((name,), Form(TEXT, (name,), _plain(name)))]
    return []


def _guessed(has_template: bool) -> list[Candidate]:
    return [
        (("messages",), _conversations("messages", has_template)),
        (("conversations",), _conversations("conversations", has_template)),
        (("prompt", "completion"), _completions(has_template)),
        *(
            ((question, *more, answer), _answers(question, *(more or ("",)), answer, has_template))
            for question, answer in (("instruction", "output"), ("instruction", "response"))
            for more in (("input",), ("context",), ())
        ),
        (("text",), Form(TEXT, ("text",), _plain("text"))),
    ]


def _conversations(column: str, has_template: bool) -> Form:
    def convert(row: Row) -> dict[str, Any] | None:
        _need_template(has_template)
        said = conversation(row[column], column)
        if not said:
            return None
        if not teaches(said):
            raise BadRowError(f"{column} has no answer of the assistant to learn")
        tools = row.get("tools")
        if not tools:
            return {"messages": said}
        return {"messages": said, "tools": tools if isinstance(tools, str) else json.dumps(tools)}

    return Form(MESSAGES, (column,), convert)


def _completions(has_template: bool) -> Form:
    def convert(row: Row) -> dict[str, Any] | None:
        if isinstance(row["prompt"], list):
            _need_template(has_template)
            prompt = conversation(row["prompt"], "prompt")
            completion = conversation(row["completion"], "completion")
            if not prompt or not completion:
                return None
            if not teaches(completion):
                raise BadRowError("completion has no answer of the assistant to learn")
            return {"prompt": prompt, "completion": completion}
        return _pair(_text(row, "prompt"), _text(row, "completion"))

    return Form(PROMPT_COMPLETION, ("prompt", "completion"), convert)


def _answers(question: str, context: str, answer: str, has_template: bool) -> Form:
    def convert(row: Row) -> dict[str, Any] | None:
        asked, said = _text(row, question), _text(row, answer)
        if context and (more := _text(row, context)).strip():
            asked = f"{asked}\n\n{more}"
        if not asked.strip() or not said.strip():
            return None
        if not has_template:
            return _pair(_ALPACA.format(asked), said)
        return {
            "prompt": [{"role": "user", "content": asked}],
            "completion": [{"role": "assistant", "content": said}],
        }

    names = tuple(name for name in (question, context, answer) if name)
    return Form(PROMPT_COMPLETION, names, convert)


def _plain(column: str) -> Convert:
    def convert(row: Row) -> dict[str, Any] | None:
        text = _text(row, column)
        return {"text": text} if text.strip() else None

    return convert


def _pair(prompt: str, completion: str) -> dict[str, Any] | None:
    if not prompt.strip() or not completion.strip():
        return None
    return {"prompt": prompt, "completion": completion}


def _text(row: Row, column: str) -> str:
    """A null is an empty text. BadRowError where the column is missing or something else."""
    if column not in row:
        raise BadRowError(f"{column} is missing")
    value = row[column]
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise BadRowError(f"{column} must be a text, not {type(value).__name__}")


def _need_template(has_template: bool) -> None:
    if not has_template:
        raise DataError(
            "holds conversations, and the model has no chat template: give one as"
            " training_config.ModelConfig.chat_template, or data with prompt and completion"
        )


def _lacks(name: str, columns: frozenset[str]) -> str:
    return f'has no column "{name}", which training_config names; it has {_listed(columns)}'


def _listed(columns: frozenset[str]) -> str:
    return ", ".join(sorted(columns)) or "none"
