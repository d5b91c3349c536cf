"""TRL's trainer with what a Workspace needs: exact held-out loss, whole checkpoints, and an end
that loses nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import PrinterCallback, TrainerCallback
from trl import SFTTrainer

from tuning import checkpoints
from tuning.board import Board
from tuning.checkpoints import Checkpoint
from tuning.interruption import Interruption

_WINDOW = 20
"""Logs that the speed is taken from."""


class Tuner(SFTTrainer):  # type: ignore[misc]
    """`saved` is called with each whole checkpoint, where this process leads."""

    def __init__(
        self, *, board: Board, origin: Checkpoint, saved: Callable[[Path], None], **given: Any
    ) -> None:
        super().__init__(**given)
        self.remove_callback(PrinterCallback)
        self.board = board
        self.origin = origin
        """What a checkpoint of this run says, but for its step."""
        self._saved = saved
        self.control: Any
        self.began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Trained, this pod's predecessors included."""
        return self.origin.seconds + time.monotonic() - self.began

    def held_out_loss(self) -> float | None:
        """Mean cross entropy a labelled token, in nats: each token counts once, whatever batch and
        process it is in. None without held-out data."""
        if self.eval_dataset is None:
            return None
        rank, ranks = self.accelerator.process_index, self.accelerator.num_processes
        rows = range(rank, len(self.eval_dataset), ranks)
        size = self.args.per_device_eval_batch_size
        self.model.eval()
        total = torch.zeros(2, dtype=torch.float64)
        for start in range(0, len(rows), size):
            batch = [self._row(index) for index in rows[start : start + size]]
            inputs = self._prepare_inputs(self.data_collator(batch))
            with torch.no_grad(), self.compute_loss_context_manager():
                found = self.model(**inputs, fused_lm_head=True)
            summed = torch.stack([-found.log_probs.double().sum(), found.label_mask.double().sum()])
            total += summed.cpu()
            self.board.evaluated(min(start + size, len(rows)) * ranks, len(self.eval_dataset))
        total = self.accelerator.reduce(total.to(self.accelerator.device), "sum").cpu()
        return float(total[0] / total[1].clamp(min=1))

    def evaluate(
        self,
        eval_dataset: Any = None,
        ignore_keys: Any = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """In the midst of the training, where the config's eval_strategy asks for it."""
        metrics = {f"{metric_key_prefix}_loss": self.held_out_loss() or 0.0}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def create_model_card(self, *_given: Any, **_named: Any) -> None:
        """The result has its own."""

    def agreed(self, wanted: bool) -> bool:
        """Whether any of the processes wants it: they save and stop together."""
        if self.accelerator.num_processes == 1:
            return wanted
        flag = torch.tensor(float(wanted), device=self.accelerator.device)
        return bool(self.accelerator.reduce(flag, "sum").item())

    def _row(self, index: int) -> dict[str, Any]:
        columns = ("input_ids", "labels", "seq_lengths")
        row = self.eval_dataset[index]
        return {name: row[name] for name in columns if name in row}

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()
        step = self.state.global_step
        if self.accelerator.is_main_process:
            path = checkpoints.directory(Path(self.args.output_dir), step)
            checkpoints.seal(replace(self.origin, path=path, step=step, seconds=self.seconds))
            self._saved(path)
        self.board.update(checkpoint_step=step)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """The adapter's weights into the parameters that are there: PEFT's own loading changes
        their precision, and the optimizer's state would no longer fit."""
        adapter = Path(resume_from_checkpoint) / "adapter_model.safetensors"
        if not adapter.exists():
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        from peft import set_peft_model_state_dict

        set_peft_model_state_dict(self.model, load_file(adapter))


class Watch(TrainerCallback):  # type: ignore[misc]
    """After each step: say how far it is, save when it is time, stop when asked to."""

    def __init__(self, board: Board, interruption: Interruption, every_seconds: float) -> None:
        self.trainer: Tuner | None = None
        self._board = board
        self._interruption = interruption
        self._every = every_seconds
        self._saved_at = time.monotonic()
        self._marks: list[tuple[float, int, float]] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._saved_at = time.monotonic()
        self._marks = [(time.monotonic(), state.global_step, 0.0)]
        self._board.update(now=True, step=state.global_step, steps=state.max_steps)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        assert self.trainer is not None  # noqa: S101
        due = self._every > 0 and time.monotonic() - self._saved_at >= self._every
        last = state.global_step >= state.max_steps
        if self.trainer.agreed(self._interruption.asked):
            control.should_save = control.should_training_stop = True
        elif last or self.trainer.agreed(due):
            control.should_save = True
        return control

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._saved_at = time.monotonic()

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: Any = None, **_: Any
    ) -> None:
        if metrics:
            self._board.update(now=True, eval_loss=metrics.get("eval_loss"))

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if not logs or "loss" not in logs:
            return
        self._marks.append((time.monotonic(), state.global_step, float(logs["num_tokens"])))
        del self._marks[: -_WINDOW - 1]
        if torch.cuda.is_available():
            self._board.gpu_memory(torch.cuda.current_device(), torch.cuda.memory_reserved())
        (began, step, tokens), (now, at, seen) = self._marks[0], self._marks[-1]
        elapsed = max(now - began, 1e-6)
        self._board.update(
            step=at,
            epoch=round(float(state.epoch or 0), 4),
            loss=float(logs["loss"]),
            learning_rate=float(logs["learning_rate"]),
            tokens_per_second=round((seen - tokens) / elapsed, 1),
            eta_seconds=round((state.max_steps - at) * elapsed / max(at - step, 1), 1),
        )
