"""KAITO v0.12's estimate, faults and all, for those who compare or move: estimator "kaito".

docs/estimator.md lists where `presets.estimators.gpus` decides otherwise, and why.
"""

from __future__ import annotations

from presets.estimators.gpus import Node
from presets.fits import DEFAULT_CONTEXT, DoesNotFitError, Fit
from presets.model import GIB, Model

GPU_MEMORY_UTILIZATION = 0.84
A10_UTILIZATION = 0.82
"""Only in the command line, only for a model spelled exactly `NVIDIA A10`; not in the plan."""
WEIGHT_EXPANSION = 1.02
BASE_OVERHEAD_GIB = 2.3
OVERHEAD_WEIGHT_FACTOR = 0.05


def fit(model: Model, node: Node, context: int | None, *, nodes: int | None) -> Fit:
    """Nodes by upstream's formula, or exactly `nodes`; then upstream's three tiers of layout."""
    count = nodes if nodes is not None else node_count(model, node, context)
    gpus = 1 if node.mig_profile else node.gpu.count
    alone = (
        count == 1
        and gpus > 1
        and model.upstream_weights_bytes * gpus * 2 < gpus * node.gpu.memory_gib * GIB
    )
    return Fit(
        nodes=count,
        gpus_per_node=gpus,
        tensor_parallel=1 if alone else gpus,
        pipeline_parallel=count,
        data_parallel=gpus if alone else 1,
        gpu_memory_utilization=(
            A10_UTILIZATION if node.gpu.model == "NVIDIA A10" else GPU_MEMORY_UTILIZATION
        ),
        max_model_len=context,
        dtype="auto" if model.quantization else model.dtype,
        shared_gpu=bool(node.mig_profile),
    )


def node_count(model: Model, node: Node, context: int | None) -> int:
    """Without GPU memory to reckon with it is one node."""
    gpus = 1 if node.mig_profile else node.gpu.count
    if not node.gpu.memory_gib:
        return 1
    per_gpu = int(gpus * node.gpu.memory_gib * GIB) // gpus
    available = per_gpu * GPU_MEMORY_UTILIZATION
    tokens = (context or DEFAULT_CONTEXT) * model.upstream_kv_bytes_per_token
    reserve = BASE_OVERHEAD_GIB * GIB + tokens / gpus
    if available <= reserve:
        raise DoesNotFitError(
            f"GPU memory of {per_gpu / GIB:.0f} GiB is too small for {model.name}: "
            f"{available / GIB:.1f} GiB are available, {reserve / GIB:.1f} GiB are overhead and "
            f"KV cache of {context or DEFAULT_CONTEXT} tokens: use an instance type with larger "
            "GPUs, or a smaller max_model_len"
        )
    size = model.upstream_weights_bytes * WEIGHT_EXPANSION
    per_gpu_weights = (available - reserve) / (1 + OVERHEAD_WEIGHT_FACTOR)
    # Upstream adds one to what was rounded down: an exact fit takes a GPU too many.
    count = -(-(int(size / per_gpu_weights) + 1) // gpus)
    if node.mig_profile and count > 1:
        overhead = reserve + OVERHEAD_WEIGHT_FACTOR * size
        raise DoesNotFitError(
            f"{model.name} needs {(size + overhead) / GIB:.1f} GiB (weights {size / GIB:.1f}, "
            f"overhead {overhead / GIB:.1f}) but MIG profile {node.mig_profile} only provides "
            f"{per_gpu / GIB:.0f} GiB ({available / GIB:.1f} GiB available): use a larger slice"
        )
    return count
