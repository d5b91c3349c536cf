"""What a fine-tuning is known by, leaves behind and pushes, without its libraries."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from tuning import artifacts, model, result
from tuning.artifacts import Repository
from tuning.failures import failure
from tuning.result import Tuned

from apis import reports
from oci.registry import Registry
from oci.web import ATTEMPTS, Web
from tests.fakes.registry import Registry as Fake

MIB = 1 << 20


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """40 MiB that take no room."""
    folder = tmp_path / "base"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    with (folder / "model.safetensors").open("wb") as file:
        file.truncate(40 * MIB)
    return folder


def test_models_of_the_same_ends_are_told_apart(base: Path) -> None:
    before = model.digest(base, "")
    assert model.digest(base, "") == before != model.digest(base, "r")
    with (base / "model.safetensors").open("r+b") as file:
        file.seek(20 * MIB)
        file.write(os.urandom(4 * MIB))
    assert model.digest(base, "") != before


def test_a_chat_template_is_part_of_the_model(base: Path) -> None:
    before = model.digest(base, "")
    (base / "chat_template.jinja").write_text("{{ messages }}")
    assert model.digest(base, "") != before


class Saved:
    """A model, or a tokenizer."""

    def __init__(self, *names: str) -> None:
        self._names = names

    def save_pretrained(self, folder: Path) -> None:
        for name in self._names:
            (folder / name).write_text("{}")


def test_no_weights_of_earlier_work_stay(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result, "_LIBRARIES", ())
    fields: dict[str, Any] = dict.fromkeys(Tuned.__dataclass_fields__, "")
    numbers = {"loss": None, "eval_loss": None, "eval_loss_before": None, "config": {}}
    tuned, output = Tuned(**fields | numbers), tmp_path / "output"
    output.mkdir()
    (output / "mine.safetensors").touch()
    result.save(output, Saved("model.safetensors"), Saved(), tuned, base)
    assert (output / "mine.safetensors").exists()
    parts = ("model-00001-of-00002.safetensors", "model.safetensors.index.json")
    result.save(output, Saved(*parts), Saved("tokenizer.json"), tuned, base)
    weights = {path.name for path in output.glob("*.safetensors*")}
    assert weights == set(parts)


def test_a_registry_that_does_not_answer_is_asked_by_the_next_pod(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one that refuses is not."""
    web = Web(sleep=lambda _: None)
    monkeypatch.setattr(artifacts, "Registry", lambda *given: Registry(*given, web))
    (tmp_path / "adapter.safetensors").write_bytes(b"x")
    fake = Fake("team/a")
    with fake.running():
        repository = Repository(f"{fake.host}/team/a:v1", tmp_path, {})
        for code, ask in (
            (reports.EXIT_UNREACHABLE, repository.check),
            (
                reports.EXIT_UNREACHABLE,
                lambda: repository.push_result(tmp_path, ["adapter.safetensors"], {}),
            ),
        ):
            fake.busy["POST /v2/team/a/blobs/uploads/"] = ATTEMPTS
            with pytest.raises(Exception, match="answers 503") as refused:
                ask()
            assert failure(refused.value).code == code
        fake.writable = False
        with pytest.raises(artifacts.PushError) as refused:
            repository.check()
        assert failure(refused.value).code == reports.EXIT_PUSH_REFUSED
