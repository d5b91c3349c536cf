"""Room for adapters, against what vLLM sets aside for each matrix of a model."""

from __future__ import annotations

import pytest
from preset_models import a_llama

from apis import container
from presets.catalog import load
from presets.estimators import adapters
from presets.model import GIB


def matrices(*, hidden: int, inner: int, kv: int, tensor: int = 1) -> int:
    """Values of one layer and one rank as vLLM keeps them: `[rank, in]` and `[out, rank]`, cut by
    the outputs for q, k, v, gate and up, by the inputs for o and down."""
    by_output = [(hidden, hidden), (hidden, kv), (hidden, kv), (hidden, inner), (hidden, inner)]
    by_input = [(hidden, hidden), (inner, hidden)]
    whole = sum(into for into, _ in by_output) + sum(out for _, out in by_input)
    cut = sum(out for _, out in by_output) + sum(into for into, _ in by_input)
    return whole + cut // tensor


@pytest.mark.parametrize("tensor", [1, 2, 4, 8])
def test_the_room_is_what_vllm_takes(tensor: int) -> None:
    values = matrices(hidden=4096, inner=14336, kv=1024, tensor=tensor) * 32
    taken = values * container.LORA_RANK * container.LORA_SLOTS * 2 / GIB
    found = adapters.room_gib(a_llama(hidden_size=4096), tensor=tensor)
    assert found == pytest.approx(taken, rel=0.05)


def test_a_cpu_keeps_four_bytes_a_value() -> None:
    model = a_llama(hidden_size=4096)
    assert adapters.room_gib(model, value_bytes=4) == 2 * adapters.room_gib(model)


@pytest.mark.parametrize("fields", [{"lora": False}, {"moe": True}])
def test_no_room_where_none_is_set_aside(fields: dict[str, bool]) -> None:
    assert adapters.room_gib(a_llama(hidden_size=4096, **fields)) == 0


def test_it_is_little_beside_the_weights() -> None:
    """Or plans would be made for what most never use."""
    catalog = load()
    for name in catalog.names():
        model = catalog.get(name)
        room = adapters.room_gib(model)
        assert room < 0.25 or room < 0.1 * model.weights_bytes / GIB, name
