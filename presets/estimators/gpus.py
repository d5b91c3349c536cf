"""Our estimate for nodes with GPUs: what an engine takes of each, and the layout that holds it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

from apis.gpu import GPU
from presets.estimators import adapters
from presets.estimators.layouts import ONE_NODE, Layout, layouts, of_engine
from presets.fits import DEFAULT_CONTEXT, DoesNotFitError, Engine, Fit
from presets.loading import BITSANDBYTES
from presets.model import DTYPE_BYTES, GIB, Model, kv_bytes

SHARE = 0.92
"""Of the memory that a GPU reports (vLLM's own default); the rest stays with the driver."""
WEIGHT_EXPANSION = 1.02
"""Weights in memory against weights in files (measured by upstream)."""
BASE_OVERHEAD_GIB = 2.3
"""CUDA context, communication buffers, CUDA graphs, activations (measured by upstream)."""
WEIGHT_OVERHEAD = 0.05
"""Activations grow with the slice of the weights that a GPU holds (measured by upstream)."""
ROOMY = 0.5
"""Weights below this share of a GPU leave it enough cache to serve a replica of its own."""
CONTEXT_MARGIN = 0.9
"""Of the room left for the cache, what a context that nobody asked for may promise."""
BATCHED_TOKENS = 8192
"""Tokens of one scheduler step: a sliding layer keeps them beside its window."""
MAX_NODES = 32

_REPORTED_GIB = {
    "A2": 14.5, "A10": 22.0, "A10G": 22.0, "A16": 14.5, "L4": 22.0, "L40S": 44.3, "T4": 14.5,
}  # fmt: skip
"""Cards that keep their error correction in the memory they are named by."""
_REPORTED_SHARE = 0.985
_REPORTED_SHARE_MIG = 0.93


@dataclass(frozen=True, slots=True)
class Node:
    """One node of a type; `memory_gib` and `cpus` are 0 where they are not known. `share` is what
    the engine may take of the memory that a GPU reports."""

    gpu: GPU
    memory_gib: float = 0.0
    cpus: float = 0.0
    mig_profile: str = ""
    share: float = SHARE


@dataclass(frozen=True, slots=True)
class Need:
    """What one GPU must hold, in GiB."""

    weights: float
    overhead: float
    kv_cache: float

    @property
    def total(self) -> float:
        return self.weights + self.overhead + self.kv_cache


def reported_gib(gpu: GPU, mig_profile: str = "") -> float:
    """What the driver says a GPU has: less than what it is sold by."""
    if mig_profile:
        return gpu.memory_gib * _REPORTED_SHARE_MIG
    for word in re.split(r"[\s_-]+", gpu.model.upper()):
        if word in _REPORTED_GIB:
            return min(gpu.memory_gib * _REPORTED_SHARE, _REPORTED_GIB[word])
    return gpu.memory_gib * _REPORTED_SHARE


def fit(
    model: Model,
    node: Node,
    context: int | None,
    *,
    nodes: int | None,
    engine: Engine | None = None,
) -> Fit:
    """The fewest nodes that hold the model and a request of `context` tokens."""
    gpu = node.gpu
    budget = node.share * reported_gib(gpu, node.mig_profile)
    if budget <= 0:
        raise DoesNotFitError(
            f"the memory of {gpu.model or 'the GPU'} is not known: name a known instance type, "
            "or label the nodes with nvidia.com/gpu.memory"
        )
    wanted = context or min(DEFAULT_CONTEXT, model.max_model_len)
    for count in _node_counts(model, node, nodes, engine):
        candidates = [
            layout
            for layout in of_engine(engine, layouts(model, gpu.count, count))
            if need(model, layout, wanted).total <= budget
        ]
        if candidates:
            chosen = _preferred(model, candidates, gpu.memory_gib)
            served = context or _longest(model, chosen, budget)
            return replace(_fit(model, node, chosen, served, budget), engine=engine or "vllm")
    raise _does_not_fit(model, node, wanted, budget, nodes, engine)


def need(model: Model, layout: Layout, context: int) -> Need:
    """What each GPU of the layout holds with one request of so many tokens."""
    stage = _fullest_stage(model.layers, layout.pipeline)
    weights = model.weights_bytes * WEIGHT_EXPANSION / layout.tensor * stage / GIB
    # Over several nodes vLLM takes adapters only when it starts, and sets nothing aside.
    room = adapters.room_gib(model, tensor=layout.tensor) * stage if layout.nodes == 1 else 0.0
    return Need(
        weights=weights,
        overhead=BASE_OVERHEAD_GIB + WEIGHT_OVERHEAD * weights + room,
        kv_cache=cache_bytes(model, context) * _cache_share(model, layout) / GIB,
    )


def _fullest_stage(layers: int, stages: int) -> float:
    """Share of the layers in the fullest of so many stages; a guess where they are not known."""
    if not layers:
        return min(1.0, 1.25 / stages)
    return math.ceil(layers / stages) / layers


def cache_bytes(model: Model, context: int) -> float:
    """Keys, values and states of one request, all layers and heads together."""
    layer = kv_bytes(model, layers=1, value_bytes=DTYPE_BYTES[model.kv_dtype])
    window = min(context, model.sliding_window + BATCHED_TOKENS)
    # A layer without a growing cache keeps a state of fixed size: as much as upstream reserves.
    stateful = model.layers - model.kept_layers - model.sliding_layers
    return (
        model.kv_bytes_per_token * context
        + layer * model.sliding_layers * window
        + layer * stateful * DEFAULT_CONTEXT
    )


def _cache_share(model: Model, layout: Layout) -> float:
    """Of one request's cache, what the fullest GPU keeps."""
    stage = _fullest_stage(model.kept_layers + model.sliding_layers, layout.pipeline)
    if model.latent_attention:
        return stage
    dealt = min(layout.tensor, model.kv_heads) if model.kv_heads else 1
    return stage / dealt


def _node_counts(
    model: Model, node: Node, nodes: int | None, engine: Engine | None = None
) -> range:
    if node.mig_profile or engine in ONE_NODE:
        return range(1, 2)
    if nodes is not None:
        return range(nodes, nodes + 1)
    return range(1, min(MAX_NODES, model.layers or MAX_NODES) + 1)


def _preferred(model: Model, candidates: list[Layout], gpu_gib: float) -> Layout:
    """Always as many of the GPUs as work. On one node without a pipeline if it can be: replicas
    of their own where each has room, else the widest slices.

    vLLM moves replicas of a mixture of experts in lockstep, so they gain nothing: slices there.
    """
    whole = [each for each in candidates if each.pipeline == 1] or candidates
    most = max(each.gpus_per_node for each in whole)
    best = sorted((each for each in whole if each.gpus_per_node == most), key=lambda it: it.tensor)
    if best[0].pipeline == 1 and not model.moe:
        for layout in best:
            if need(model, layout, 1).weights < ROOMY * gpu_gib:
                return layout
    return best[-1]


def _longest(model: Model, layout: Layout, budget: float) -> int:
    """The longest request that fits, in whole 256 tokens; never less than the default."""
    empty = need(model, layout, 0)
    room = CONTEXT_MARGIN * (budget - empty.total) + empty.kv_cache
    low, high = min(DEFAULT_CONTEXT, model.max_model_len), model.max_model_len
    while low < high:
        middle = (low + high + 1) // 2
        if need(model, layout, middle).kv_cache <= room:
            low = middle
        else:
            high = middle - 1
    return low if low == model.max_model_len else max(DEFAULT_CONTEXT, low // 256 * 256)


def _fit(model: Model, node: Node, layout: Layout, context: int, budget: float) -> Fit:
    taken = need(model, layout, context)
    gpus = layout.gpus_per_node
    return Fit(
        nodes=layout.nodes,
        gpus_per_node=gpus,
        tensor_parallel=layout.tensor,
        pipeline_parallel=layout.pipeline,
        data_parallel=layout.data,
        gpu_memory_utilization=node.share,
        max_model_len=context,
        memory_gib=_host_memory_gib(node, gpus),
        cpu=_host_cpus(node, gpus),
        dtype=_dtype(model, node.gpu),
        gpu_memory_gib=round(taken.total, 2),
        kv_cache_gib=round(budget - taken.weights - taken.overhead, 2),
        shared_gpu=bool(node.mig_profile),
    )


def _host_memory_gib(node: Node, gpus: int) -> float:
    """An API server and a worker for each GPU, with their buffers; weights only pass through."""
    return round(min(4 + 2 * gpus, 0.8 * node.memory_gib), 2)


def _host_cpus(node: Node, gpus: int) -> float:
    return round(min(1 + gpus, 0.8 * node.cpus), 2)


def _dtype(model: Model, gpu: GPU) -> str:
    """GPUs before compute capability 8.0 have no bfloat16."""
    if model.quantization not in ("", BITSANDBYTES):
        return "auto"
    major = gpu.compute_capability.partition(".")[0]
    old = major.isdigit() and 0 < int(major) < 8
    return "float16" if old and model.dtype == "bfloat16" else model.dtype


def _does_not_fit(
    model: Model,
    node: Node,
    context: int,
    budget: float,
    nodes: int | None,
    engine: Engine | None = None,
) -> DoesNotFitError:
    counts = _node_counts(model, node, nodes, engine)
    best = min(
        of_engine(engine, layouts(model, node.gpu.count, counts[-1])),
        key=lambda each: need(model, each, context).total,
        default=None,
    )
    where = f"MIG slice {node.mig_profile}" if node.mig_profile else (node.gpu.model or "GPU")
    if best is None:
        return DoesNotFitError(
            f"{model.name} has {model.layers} layers and cannot be cut into "
            f"{counts[-1]} stages: use fewer nodes"
        )
    least = need(model, best, context)
    remedy = "use an instance type with more or larger GPUs"
    if node.mig_profile:
        remedy = "use a larger slice or a whole GPU"
    elif nodes is not None:
        remedy += " or more nodes"
    if context > DEFAULT_CONTEXT:
        remedy += ", or a smaller max_model_len"
    return DoesNotFitError(
        f"{model.name} needs {least.total:.1f} GiB on each {where} "
        f"(weights {least.weights:.1f}, overhead {least.overhead:.1f}, KV cache of {context} "
        f"tokens {least.kv_cache:.1f}), spread over {best.tensor * best.pipeline} GPU(s) on "
        f"{best.nodes} node(s), but an engine only has {budget:.1f} GiB of its "
        f"{node.gpu.memory_gib:g} GiB: {remedy}"
    )
