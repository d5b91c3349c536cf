"""Exit codes by the kind of error, and one line that says what to do."""

from __future__ import annotations

import pytest

from apis import reports
from tests.engines.tuning.conftest import Lab

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize(
    ("kind", "code", "said"),
    [
        ("GPU memory", reports.EXIT_OUT_OF_MEMORY, "per_device_train_batch_size"),
        ("memory", reports.EXIT_OUT_OF_MEMORY, "gradient_checkpointing"),
        ("data", reports.EXIT_BAD_DATA, "no rows"),
        ("model", reports.EXIT_BAD_MODEL, "no weights"),
        ("config", reports.EXIT_BAD_CONFIG, "training_config.LoraConfig.r"),
        ("push", reports.EXIT_PUSH_REFUSED, "denied"),
        ("interrupted", reports.EXIT_INTERRUPTED, "interrupted"),
        ("unforeseen", 1, "RuntimeError: the words: out of memory"),
    ],
)
def test_each_kind_of_error_has_its_code(lab: Lab, kind: str, code: int, said: str) -> None:
    ended = lab.end(lab.start("fails", f"--kind={kind}"))
    assert ended.code == code, ended.log
    assert said in ended.message
    assert "\n" not in ended.message
    assert ("Traceback" in ended.log) == (code == 1)
