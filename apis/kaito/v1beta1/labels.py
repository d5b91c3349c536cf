"""Labels, annotations and finalizers of kaito.sh, exactly as upstream writes them."""

from __future__ import annotations

GROUP = "kaito.sh"

WORKSPACE_FINALIZER = "workspace.finalizer.kaito.sh"

WORKSPACE_LABEL = "kaito.sh/workspace"
WORKSPACE_NAMESPACE_LABEL = "kaito.sh/workspacenamespace"
RAGENGINE_LABEL = "kaito.sh/ragengine"
RAGENGINE_NAMESPACE_LABEL = "kaito.sh/ragenginenamespace"
INFERENCESET_CREATED_BY_LABEL = "inferenceset.kaito.sh/created-by"
KARPENTER_MANAGED_BY_LABEL = "karpenter.kaito.sh/managed-by"
KARPENTER_WORKSPACE_LABEL = "karpenter.kaito.sh/workspace-name"
KARPENTER_WORKSPACE_NAMESPACE_LABEL = "karpenter.kaito.sh/workspace-namespace"
KARPENTER_INFERENCESET_LABEL = "karpenter.kaito.sh/inferenceset"
KARPENTER_INFERENCESET_NAMESPACE_LABEL = "karpenter.kaito.sh/inferenceset-namespace"
REVISION_NAME_LABEL = "workspace.kaito.io/name"
"""On a ControllerRevision: whose it is."""
ACCELERATOR_LABEL = "accelerator"
ACCELERATOR_NVIDIA = "nvidia"
"""On a provisioned GPU node; it draws the device plugin's DaemonSet there."""

NODEPOOL_KAITO = "kaito"
"""Value of karpenter.sh/nodepool on standalone claims; no such pool exists."""
SKU_TAINT_KEY = "sku"
SKU_TAINT_VALUE = "gpu"

RESERVED_SELECTOR_KEYS = frozenset(
    {
        WORKSPACE_LABEL,
        WORKSPACE_NAMESPACE_LABEL,
        RAGENGINE_LABEL,
        RAGENGINE_NAMESPACE_LABEL,
        KARPENTER_WORKSPACE_LABEL,
        KARPENTER_WORKSPACE_NAMESPACE_LABEL,
        KARPENTER_INFERENCESET_LABEL,
        KARPENTER_INFERENCESET_NAMESPACE_LABEL,
    }
)
"""Dropped from a user's matchLabels: they are how we mark whose a node is."""

RUNTIME_ANNOTATION = "kaito.sh/runtime"
RUNTIME_VLLM = "vllm"
RUNTIME_TRANSFORMERS = "transformers"
RUNTIME_LLAMACPP = "llamacpp"
"""Ours: llama.cpp, for nodes without a GPU (and GGUF weights)."""
RUNTIMES = (RUNTIME_VLLM, RUNTIME_TRANSFORMERS, RUNTIME_LLAMACPP)

ENABLE_LB_ANNOTATION = "kaito.sh/enablelb"
ENABLE_LB_VALUE = "True"
BYPASS_RESOURCE_CHECKS_ANNOTATION = "kaito.sh/bypass-resource-checks"
"""Its presence counts, whatever the value."""
DISABLE_BENCHMARK_ANNOTATION = "kaito.sh/disable-benchmark"
PERFORMANCE_MODE_ANNOTATION = "kaito.sh/performance-mode"
PERFORMANCE_MODES = ("balanced", "interactivity", "throughput")
USE_LOCAL_WEIGHTS_ANNOTATION = "kaito.sh/use-local-weights"
NODE_IMAGE_FAMILY_ANNOTATION = "kaito.sh/node-image-family"
NODE_IMAGE_FAMILIES = ("ubuntu", "azurelinux")
NODE_CLASS_NAME_ANNOTATION = "kaito.sh/node-class-name"
MODEL_STREAMING_ANNOTATION = "kaito.sh/model-streaming"
MODEL_STREAMING_DISABLED = "disabled"

WORKSPACE_HASH_ANNOTATION = "workspace.kaito.io/hash"
WORKSPACE_REVISION_ANNOTATION = "workspace.kaito.io/revision"

GPU_PRODUCT_LABEL = "nvidia.com/gpu.product"
GPU_COUNT_LABEL = "nvidia.com/gpu.count"
GPU_MEMORY_LABEL = "nvidia.com/gpu.memory"
"""MiB of one GPU, as gpu-feature-discovery writes it."""
GPU_COMPUTE_MAJOR_LABEL = "nvidia.com/cuda.compute.major"
GPU_COMPUTE_MINOR_LABEL = "nvidia.com/cuda.compute.minor"
GPU_RESOURCE = "nvidia.com/gpu"


def runtime(annotations: dict[str, str], *, vllm: bool = True) -> str:
    """Which engine serves the workspace; without the vLLM gate always Transformers."""
    asked = annotations.get(RUNTIME_ANNOTATION, "")
    if asked == RUNTIME_LLAMACPP:
        return RUNTIME_LLAMACPP
    if not vllm or asked == RUNTIME_TRANSFORMERS:
        return RUNTIME_TRANSFORMERS
    return RUNTIME_VLLM
