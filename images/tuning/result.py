"""What a fine-tuning leaves behind: weights, tokenizer, how they came about, and a model card."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

METADATA = "kaito_tuning.json"
COMPLETED = "fine_tuning_completed.txt"
"""As KAITO's; the last file to be written."""
_PARTIAL = ".result-partial"
_WEIGHTS = ("*.safetensors", "*.safetensors.index.json", "adapter_config.json")
_LICENCES = ("LICENSE*", "LICENCE*", "NOTICE*", "*TERMS*", "USE_POLICY*")
_LIBRARIES = ("torch", "transformers", "peft", "trl", "accelerate", "datasets", "bitsandbytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """Nothing here tells when: the same work gives the same files."""

    model: str
    revision: str
    base_digest: str
    data_digest: str
    identity: str
    method: str
    seed: int
    steps: int
    rows: int
    held_out_rows: int
    loss: float | None
    eval_loss_before: float | None
    eval_loss: float | None
    config: Mapping[str, Any]

    def metadata(self) -> dict[str, Any]:
        return {
            "baseModel": {
                "name": self.model,
                "revision": self.revision,
                "digest": self.base_digest,
            },
            "data": {
                "digest": self.data_digest,
                "rows": self.rows,
                "heldOutRows": self.held_out_rows,
            },
            "method": self.method,
            "seed": self.seed,
            "config": dict(self.config),
            "metrics": {
                "steps": self.steps,
                "loss": self.loss,
                "evalLossBefore": self.eval_loss_before,
                "evalLoss": self.eval_loss,
            },
            "identity": self.identity,
            "versions": {name: version(name) for name in _LIBRARIES},
        }

    def annotations(self, name: str) -> dict[str, str]:
        """Of the image, without what is not known."""
        said = {
            "org.opencontainers.image.title": name,
            "org.opencontainers.image.description": f"{self.model}, fine-tuned ({self.method})",
            "sh.kaito.model.name": name,
            "sh.kaito.tuning.base-model": self.model,
            "sh.kaito.tuning.base-revision": self.revision,
            "sh.kaito.tuning.base-digest": self.base_digest,
            "sh.kaito.tuning.data-digest": self.data_digest,
            "sh.kaito.tuning.method": self.method,
            "sh.kaito.tuning.eval-loss-before": _number(self.eval_loss_before),
            "sh.kaito.tuning.eval-loss": _number(self.eval_loss),
        }
        return {key: value for key, value in said.items() if value}


def save(output: Path, model: Any, tokenizer: Any, tuned: Tuned, base: Path) -> list[str]:
    """Write the result into `output`, each file whole; the names of what is in it, but for the
    last file, which holds the time."""
    partial = output / _PARTIAL
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    model.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    if (partial / "adapter_config.json").exists():
        _mend(partial / "adapter_config.json", tuned)
    else:
        for licence in licences(base):
            shutil.copy(licence, partial / licence.name)
    (partial / METADATA).write_text(json.dumps(tuned.metadata(), indent=2, sort_keys=True) + "\n")
    (partial / "README.md").write_text(card(tuned, [path.name for path in licences(base)]))
    names = sorted(str(path.relative_to(partial)) for path in partial.rglob("*") if path.is_file())
    if (output / METADATA).exists():
        # Of earlier work: engines would take its weights, whole ones before those in parts.
        for stale in {each for name in _WEIGHTS for each in output.glob(name)}:
            stale.unlink()
    for name in names:
        (partial / name).chmod(0o644)
        (output / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(partial / name, output / name)
    shutil.rmtree(partial)
    return names


def complete(output: Path) -> None:
    """The sign that nothing more is written."""
    told = f"Fine-Tuning completed at {time.strftime('%Y-%m-%d-%H-%M-%S')}\n"
    partial = output / f".{COMPLETED}"
    partial.write_text(told)
    partial.replace(output / COMPLETED)


def found(output: Path, identity: str) -> dict[str, Any] | None:
    """The metadata of a whole result of the same work, as an earlier pod has left it. A result of
    other work is no longer called complete: it is about to be replaced."""
    try:
        (output / COMPLETED).stat()
        metadata: dict[str, Any] = json.loads((output / METADATA).read_text())
        if metadata["identity"] == identity:
            return metadata
    except (OSError, ValueError, KeyError, TypeError):
        pass
    (output / COMPLETED).unlink(missing_ok=True)
    return None


def licences(base: Path) -> list[Path]:
    """Files of the base model's terms."""
    return sorted({path for pattern in _LICENCES for path in base.glob(pattern) if path.is_file()})


def card(tuned: Tuned, terms: Iterable[str]) -> str:
    """README.md: a model card, as Hugging Face reads it."""
    named = ", ".join(f"`{name}`" for name in terms)
    where = f" ({named} beside the base model's weights)" if named else ""
    adapter = tuned.method != "full"
    tags = ["kaito", *(["lora", "peft"] if adapter else [])]
    return "\n".join(
        [
            "---",
            f"base_model: {tuned.model}",
            f"library_name: {'peft' if adapter else 'transformers'}",
            "pipeline_tag: text-generation",
            "tags:",
            *(f"- {tag}" for tag in tags),
            "---",
            f"# {tuned.model}, fine-tuned",
            "",
            f"{'An adapter for' if adapter else 'A model made from'} **{tuned.model}**"
            f" (revision {tuned.revision or 'not pinned'}), made by the method `{tuned.method}`.",
            "",
            "## Licence",
            "",
            f"The terms of the base model hold for this one as well{where},"
            " and so do those of the data.",
            "",
            "## How it was made",
            "",
            "| | |",
            "|---|---|",
            f"| Data | `{tuned.data_digest}`, {tuned.rows} rows |",
            f"| Steps | {tuned.steps} |",
            f"| Seed | {tuned.seed} |",
            f"| Held-out loss before | {_number(tuned.eval_loss_before) or 'not measured'} |",
            f"| Held-out loss after | {_number(tuned.eval_loss) or 'not measured'} |",
            "",
            f"Losses are mean cross entropies a token, in nats, on {tuned.held_out_rows} rows that"
            f" were not trained on. All of it is in `{METADATA}`.",
            "",
        ]
    )


def _mend(path: Path, tuned: Tuned) -> None:
    """PEFT names the directory that the base model was in, and lists modules as they come out of
    a set."""
    said = json.loads(path.read_text())
    said["base_model_name_or_path"] = tuned.model
    said["revision"] = tuned.revision or None
    for key, value in said.items():
        if isinstance(value, list) and all(isinstance(each, str) for each in value):
            said[key] = sorted(value)
    path.write_text(json.dumps(said, indent=2, sort_keys=True) + "\n")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
