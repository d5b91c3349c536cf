"""How a model lies on a node type: the one answer that planner and engine flags share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Engine = Literal["vllm", "transformers", "llamacpp", "tgi"]

DEFAULT_CONTEXT = 2048
"""Tokens that a deployment is sized for where nobody asked for more (upstream's number)."""


class DoesNotFitError(ValueError):
    """The model cannot run there. The message has the numbers and what the user can do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """Nodes, and how one deployment uses them. All sizes in GiB.

    `data_parallel` replicas of the model, each cut into `tensor_parallel` slices of every layer
    and `pipeline_parallel` stages of layers.
    """

    nodes: int
    gpus_per_node: int
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    data_parallel: int = 1
    gpu_memory_utilization: float = 0.0
    """Share of each GPU that the engine may take: the share the plan was made with."""
    max_model_len: int | None = None
    """Longest request in tokens that is certain to fit; None leaves it to the engine."""
    memory_gib: float = 0.0
    """RAM that each node's pod should request; 0 where the node's RAM is not known."""
    cpu: float = 0.0
    """Cores that each node's pod should request; 0 where the node's are not known."""
    engine: Engine = "vllm"
    dtype: str = "auto"
    gpu_memory_gib: float = 0.0
    """What the plan takes of each GPU with one request of `max_model_len`, at most its share."""
    kv_cache_gib: float = 0.0
    """Room for keys and values: on each GPU, or in the RAM of a node without one."""
    shared_gpu: bool = False
    """On a slice of a GPU (MIG)."""
