"""Rows as TRL takes them, and what is learnt of each: the answer alone, where it can be told."""

from __future__ import annotations

from typing import Any

from tuning.board import Board
from tuning.config import TrainingConfig
from tuning.failures import DataError

MESSAGES = "messages"


def quietly() -> None:
    """Neither bars of progress in the log, nor copies of the data for runs that never come."""
    from datasets import disable_caching, disable_progress_bars
    from transformers.utils import logging

    disable_caching()
    disable_progress_bars()
    logging.disable_progress_bar()


def learn_answers_alone(
    arguments: Any, config: TrainingConfig, kind: str, tokenizer: Any, board: Board
) -> None:
    """Of conversations the assistant's turns, where the chat template can tell them apart and the
    user has not said otherwise. TRL does the same of prompt and completion by itself."""
    if kind != MESSAGES or "assistant_only_loss" in config.arguments:
        return
    arguments.assistant_only_loss = _tells_turns_apart(tokenizer)
    if not arguments.assistant_only_loss:
        board.note(
            "the chat template does not mark the assistant's turns, so the whole conversation is"
            " learnt; add {% generation %} to it to learn the answers alone"
        )


def checked(trainer: Any) -> None:
    """DataError where nothing is left to learn, as when all rows are cut before the answer."""
    if len(trainer.train_dataset) == 0:
        raise DataError(
            "no row has an answer within training_config.TrainingArguments.max_length"
            f" = {trainer.args.max_length} tokens; raise it, or shorten the prompts"
        )
    if trainer.eval_dataset is not None and len(trainer.eval_dataset) == 0:
        trainer.eval_dataset = None


def _tells_turns_apart(tokenizer: Any) -> bool:
    from trl.chat_template_utils import get_training_chat_template, has_generation_markers

    if has_generation_markers(tokenizer.chat_template):
        return True
    try:
        return get_training_chat_template(tokenizer) is not None
    except ValueError:  # TRL's word for a template that it does not know
        return False
