"""Ways to lay a model on GPUs that its engine accepts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from presets.fits import Engine
from presets.model import Model

ONE_NODE: frozenset[Engine | None] = frozenset({"tgi", "transformers"})
"""Engines that cannot spread a model over several nodes."""


@dataclass(frozen=True, slots=True)
class Layout:
    """One way to lay a model on so many nodes; `pipeline` counts the stages over all of them."""

    nodes: int
    tensor: int
    pipeline: int
    data: int

    @property
    def gpus_per_node(self) -> int:
        return self.tensor * self.pipeline * self.data // self.nodes


def layouts(model: Model, gpus: int, nodes: int) -> Iterator[Layout]:
    """All ways to lay the model on nodes of so many GPUs that an engine accepts."""
    for tensor in tensor_sizes(model, gpus):
        for stages in range(1, gpus // tensor + 1):
            pipeline = stages * nodes
            if model.layers and pipeline > model.layers:
                continue
            data = gpus // (tensor * stages) if nodes == 1 else 1
            yield Layout(nodes, tensor, pipeline, data)


def of_engine(engine: Engine | None, all_: Iterator[Layout]) -> Iterator[Layout]:
    """Those that the engine can do: TGI cuts layers into slices, transformers deals whole layers
    out, both to the GPUs of one node and without replicas; vLLM does all of it."""
    for layout in all_:
        if engine not in ONE_NODE:
            yield layout
        elif (layout.pipeline if engine == "tgi" else layout.tensor) == 1:
            yield replace(layout, data=1)


def tensor_sizes(model: Model, gpus: int) -> list[int]:
    """Numbers of slices that heads and KV heads can be cut into; vLLM refuses all others.

    KV heads are either dealt out evenly or copied evenly. Where the heads are not known, powers
    of two are safe.
    """
    return [size for size in range(1, gpus + 1) if _divides(model, size)]


def _divides(model: Model, size: int) -> bool:
    power_of_two = size & (size - 1) == 0
    heads = model.heads % size == 0 if model.heads else power_of_two
    if model.latent_attention or not model.kv_heads:
        return heads
    return heads and (model.kv_heads % size == 0 or size % model.kv_heads == 0)
