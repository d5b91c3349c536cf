"""docs/estimator.md says what the estimators do: each row of its tables is run."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloudproviders import instance_types
from presets import catalog, estimate
from presets.estimators import cpus, gpus, upstream

PAGE = Path(__file__).parents[3] / "docs" / "estimator.md"


def rows_of(*heading: str) -> list[list[str]]:
    """Cells of the table that starts with these column names."""
    lines = PAGE.read_text("utf-8").splitlines()
    start = next(n for n, line in enumerate(lines) if cells_of(line)[: len(heading)] == [*heading])
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append(cells_of(line))
    return rows


def cells_of(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def estimated(preset: str, instance_type: str, context: str, estimator: str) -> estimate.Fit:
    cloud = "azure" if instance_type.startswith("Standard_") else "aws"
    return estimate.fit(
        catalog.load().get(preset),
        instance_types(cloud)[instance_type].gpu,
        max_model_len=None if context == "-" else int(context),
        estimator="kaito" if estimator == "kaito" else "fit",
    )


def as_written(fit: estimate.Fit) -> str:
    """`2x TP2 PP2`: nodes, then what is more than one; `TP1` where there are no replicas."""
    words = [f"{fit.nodes}x"]
    if fit.tensor_parallel > 1 or fit.data_parallel == 1:
        words.append(f"TP{fit.tensor_parallel}")
    if fit.pipeline_parallel > 1:
        words.append(f"PP{fit.pipeline_parallel}")
    if fit.data_parallel > 1:
        words.append(f"DP{fit.data_parallel}")
    return " ".join(words)


@pytest.mark.parametrize("row", [pytest.param(row, id=row[0]) for row in rows_of("preset")])
def test_worked_examples(row: list[str]) -> None:
    preset, instance_type, context, kaito, fit, serves = row
    assert as_written(estimated(preset, instance_type, context, "kaito")) == kaito
    found = estimated(preset, instance_type, context, "fit")
    assert as_written(found) == fit
    assert found.max_model_len == int(serves)


@pytest.mark.parametrize("row", [pytest.param(row, id=row[0]) for row in rows_of("case", "preset")])
def test_differences(row: list[str]) -> None:
    _, preset, instance_type, context, kaito, fit, why = row
    assert as_written(estimated(preset, instance_type, context, "kaito")) == kaito
    assert as_written(estimated(preset, instance_type, context, "fit")) == fit
    assert why.endswith(".")


@pytest.mark.parametrize("row", [pytest.param(row, id=row[0]) for row in rows_of("what", "kaito")])
def test_each_other_difference_has_its_reason(row: list[str]) -> None:
    assert len(row) == 4
    assert row[1] != row[2]
    assert row[3].endswith(".")


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(f"memory of one GPU x {upstream.GPU_MEMORY_UTILIZATION}", id="kaito share"),
        pytest.param(f"but {upstream.A10_UTILIZATION} where", id="kaito A10"),
        pytest.param(f"{upstream.BASE_OVERHEAD_GIB} GiB + context", id="kaito overhead"),
        pytest.param(
            f"(available - reserve) / {1 + upstream.OVERHEAD_WEIGHT_FACTOR}", id="kaito factor"
        ),
        pytest.param(f"<= {gpus.SHARE} x memory that the GPU reports", id="share"),
        pytest.param(
            f"{gpus.BASE_OVERHEAD_GIB} GiB + {gpus.WEIGHT_OVERHEAD} x weights", id="overhead"
        ),
        pytest.param(f"window + {gpus.BATCHED_TOKENS})", id="batched tokens"),
        pytest.param(f"what fits {gpus.CONTEXT_MARGIN:.0%}".replace("%", " %"), id="margin"),
        pytest.param(f"{cpus.NODE_RESERVE_SHARE:.0%}".replace("%", " %"), id="node reserve"),
        pytest.param(f"and {cpus.NODE_RESERVE_CPUS} cores", id="node cores"),
        pytest.param(f"at most {cpus.CPU_CONTEXT} tokens", id="CPU context"),
    ],
)
def test_constants_on_the_page_are_those_in_the_code(number: str) -> None:
    assert number in PAGE.read_text("utf-8")
