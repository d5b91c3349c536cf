"""A fine-tuning from the weights to the result, in the order in which it happens."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from apis import reports
from tuning import arguments, artifacts, checkpoints, machine, model, prepare, result
from tuning.board import Board
from tuning.checkpoints import Checkpoint
from tuning.config import TrainingConfig
from tuning.failures import InterruptedTrainingError
from tuning.interruption import Interruption
from tuning.judge import judge
from tuning.settings import Settings

CHECKPOINTS = ".checkpoints"
LAST_PUSH_SECONDS = 60.0
"""For the checkpoint of a pod that must end; its grace period must be longer."""


class Run:
    """One process of a fine-tuning; of several, one leads."""

    def __init__(
        self,
        settings: Settings,
        config: TrainingConfig,
        environment: Mapping[str, str],
        interruption: Interruption,
    ) -> None:
        self.interruption = interruption
        self.settings, self.config = settings, config
        self.machine = machine.found(settings.device)
        self.board = Board(silent=not settings.leads)
        self.output = settings.output_dir or config.output_dir
        self.checkpoints = self.output / CHECKPOINTS
        self.repository = (
            artifacts.Repository(settings.output, settings.credentials, environment)
            if settings.output and settings.leads
            else None
        )
        self.began = time.monotonic()

    def work(self) -> str:
        """The line for the termination log; empty in processes that do not lead."""
        judge(self.config, self.machine, self.settings.target_modules)
        for note in self.config.notes:
            self.board.note(note)
        self.board.stage(reports.LOAD, f"{self.settings.model} on the {self.machine.name}")
        folder = model.directory(self.settings.weights)
        tokenizer = model.tokenizer(folder, self.config)
        found = self._data(tokenizer)
        base_digest = model.digest(folder, self.settings.revision)
        identity = self._identity(base_digest, found.digest)
        before = result.found(self.output, identity)
        if before is not None and not self.settings.output:
            return self._repeat(before)
        trainer = self._trainer(folder, tokenizer, found, identity)
        resumed = self._train(trainer, identity)
        self.board.stage(reports.EVALUATE, "held-out loss after the training")
        loss = trainer.held_out_loss()
        self.board.update(now=True, eval_loss=loss)
        if not self.settings.leads:
            return ""
        tuned = self._tuned(trainer, found, base_digest, identity)
        return self._deliver(trainer, tokenizer, tuned, folder, resumed)

    def _data(self, tokenizer: Any) -> Any:
        from tuning.data.read import read

        prepare.quietly()
        self.board.stage(reports.PREPARE, f"read {self.settings.data_dir}")
        found = read(
            self.settings.data_dir, self.config.dataset, tokenizer.chat_template is not None
        )
        for note in found.notes:
            self.board.note(note)
        self.board.note(
            f"{len(found.train)} rows to train with, {len(found.held_out)} held out,"
            f" of the kind {found.kind}"
        )
        return found

    def _identity(self, base_digest: str, data_digest: str) -> str:
        return checkpoints.identity(
            config=self._config(),
            base=base_digest,
            data=data_digest,
            target_modules=self.settings.target_modules,
            processes=self.settings.ranks,
        )

    def _config(self) -> dict[str, Any]:
        """The config as it was understood."""
        return {
            "ModelConfig": dict(self.config.model),
            "QuantizationConfig": dict(self.config.quantization),
            "LoraConfig": dict(self.config.lora),
            "TrainingArguments": dict(self.config.arguments),
            "DatasetConfig": asdict(self.config.dataset),
            "DataCollator": dict(self.config.collator),
        }

    def _trainer(self, folder: Path, tokenizer: Any, found: Any, identity: str) -> Any:
        from tuning.trainer import Tuner, Watch

        config = self.config
        given = arguments.sft_config(config, self.machine, self.checkpoints)
        _be_deterministic(given)
        self._say_device()
        base = model.load(
            folder,
            config,
            self.machine,
            arguments.quantization_config(config, self.machine),
            self.settings.rank,
        )
        peft = None
        if config.method != "full":
            peft = arguments.lora_config(config, self.settings.target_modules, model.knows(folder))
        prepare.learn_answers_alone(given, config, found.kind, tokenizer, self.board)
        watch = Watch(self.board, self.interruption, self.settings.checkpoint_seconds)
        blank = Checkpoint(
            path=self.checkpoints, step=0, identity=identity, eval_loss_before=None, seconds=0.0
        )
        uploads = self._uploads()
        trainer = Tuner(
            board=self.board,
            origin=blank,
            saved=uploads.offer if uploads else lambda path: None,
            model=base,
            args=given,
            train_dataset=found.train,
            eval_dataset=found.held_out if len(found.held_out) else None,
            processing_class=tokenizer,
            peft_config=peft,
            callbacks=[watch],
        )
        watch.trainer, self.uploads = trainer, uploads
        prepare.checked(trainer)
        return trainer

    def _uploads(self) -> artifacts.Uploads | None:
        """None where a volume keeps the checkpoints, and for whole models, which are too large."""
        if self.repository is None:
            return None
        if self.config.method == "full":
            self.board.note("checkpoints of a whole model are not pushed: they are too large")
            return None
        return artifacts.Uploads(self.repository, self.board.note)

    def _train(self, trainer: Any, identity: str) -> int:
        """The step that it went on from."""
        checkpoint = self._checkpoint(trainer, identity)
        if checkpoint is None:
            self.board.stage(reports.EVALUATE, "held-out loss before the training")
            loss = trainer.held_out_loss()
            trainer.origin = replace(trainer.origin, eval_loss_before=loss)
        else:
            trainer.origin = replace(checkpoint, path=self.checkpoints)
            self.board.note(f"goes on from step {checkpoint.step}")
        step = checkpoint.step if checkpoint else 0
        self.board.stage(reports.TRAIN)
        self.board.update(
            now=True, eval_loss_before=trainer.origin.eval_loss_before, checkpoint_step=step
        )
        self.interruption.be_patient(True)
        trainer.began = time.monotonic()
        trainer.train(resume_from_checkpoint=str(checkpoint.path) if checkpoint else None)
        if trainer.state.global_step < trainer.state.max_steps:
            self._end_early(trainer.state.global_step)
        self.interruption.be_patient(False)
        return step

    def _checkpoint(self, trainer: Any, identity: str) -> Checkpoint | None:
        """The leading process chooses for all."""
        from accelerate.utils import broadcast_object_list

        chosen: list[Checkpoint | None] = [None]
        if self.settings.leads:
            if self.repository is not None and self.config.method != "full":
                self.repository.pull_checkpoint(self.checkpoints, self.board.note)
            chosen = [checkpoints.latest(self.checkpoints, identity, self.board.note)]
        if trainer.accelerator.num_processes > 1:
            broadcast_object_list(chosen)
        return chosen[0]

    def _end_early(self, step: int) -> None:
        """InterruptedTrainingError, once the checkpoint is where the next pod finds it; else the
        training has ended by itself, as early stopping does."""
        if not self.interruption.asked:
            return
        if self.uploads is not None and not self.uploads.finish(LAST_PUSH_SECONDS):
            self.board.note("the last checkpoint could not be pushed in time")
        raise InterruptedTrainingError(f"interrupted; the checkpoint of step {step} is kept")

    def _tuned(self, trainer: Any, found: Any, base_digest: str, identity: str) -> result.Tuned:
        training = self.board.training
        return result.Tuned(
            model=self.settings.model or self.settings.weights.name,
            revision=self.settings.revision,
            base_digest=base_digest,
            data_digest=found.digest,
            identity=identity,
            method=self.config.method,
            seed=trainer.args.seed,
            steps=trainer.state.global_step,
            rows=len(found.train),
            held_out_rows=len(found.held_out),
            loss=training.loss,
            eval_loss_before=training.eval_loss_before,
            eval_loss=training.eval_loss,
            config=self._config(),
        )

    def _deliver(
        self, trainer: Any, tokenizer: Any, tuned: result.Tuned, base: Path, resumed: int
    ) -> str:
        unwrapped = trainer.accelerator.unwrap_model(trainer.model)
        files = result.save(self.output, unwrapped, tokenizer, tuned, base)
        if self.uploads is not None:
            self.uploads.finish(LAST_PUSH_SECONDS)
        where = self._push(files, tuned.annotations(self._name()))
        result.complete(self.output)
        shutil.rmtree(self.checkpoints, ignore_errors=True)
        return self.board.result(
            reports.Result(
                steps=tuned.steps,
                seconds=round(trainer.seconds, 1),
                output=where,
                loss=tuned.loss,
                eval_loss_before=tuned.eval_loss_before,
                eval_loss=tuned.eval_loss,
                resumed_from=resumed,
            )
        )

    def _push(self, files: list[str], annotations: Mapping[str, str]) -> str:
        if self.repository is None:
            return str(self.output)
        self.board.stage(reports.PUSH, str(self.repository.reference))
        return self.repository.push_result(self.output, files, annotations)

    def _name(self) -> str:
        """Of the model, in the image's annotations."""
        name = self.repository.reference.name.rpartition("/")[2] if self.repository else ""
        return name or self.settings.model

    def _repeat(self, before: Mapping[str, Any]) -> str:
        """An earlier pod has done all of it, and could not say so. (Where an image is asked for,
        a pod with the result on its disk goes on from its last checkpoint and pushes again.)"""
        if not self.settings.leads:
            return ""
        self.board.note(f"{self.output} holds the result of this very work already")
        metrics = before["metrics"]
        return self.board.result(
            reports.Result(
                steps=metrics["steps"],
                seconds=0.0,
                output=str(self.output),
                loss=metrics["loss"],
                eval_loss_before=metrics["evalLossBefore"],
                eval_loss=metrics["evalLoss"],
                resumed_from=metrics["steps"],
            )
        )

    def _say_device(self) -> None:
        asked = self.config.model.get("dtype")
        if not self.machine.gpu and asked not in (None, "auto", "float32"):
            self.board.note(f"on a CPU the weights are float32, not {asked}")


def _be_deterministic(given: Any) -> None:
    """The same seed gives the same adapter; where a GPU has no such way of computing something,
    torch warns. Before anything is computed."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    import torch
    from transformers import set_seed

    set_seed(given.seed)
    torch.use_deterministic_algorithms(True, warn_only=True)
