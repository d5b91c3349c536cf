"""Labels, annotations and finalizers of kaito.sh, exactly as upstream writes them."""

from __future__ import annotations

GROUP = "kaito.sh"

WORKSPACE_FINALIZER = "workspace.finalizer.kaito.sh"
RAGENGINE_FINALIZER = "ragengine.finalizer.kaito.sh"

WORKSPACE_LABEL = "kaito.sh/workspace"
WORKSPACE_NAMESPACE_LABEL = "kaito.sh/workspacenamespace"
LOADER_LABEL = "kaito.sh/workspace-loader"
"""Ours, on pods that load adapters into a Workspace's pods: its name."""
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
RUNTIME_TGI = "tgi"
"""Ours: Hugging Face's text-generation-inference."""
RUNTIMES = (RUNTIME_VLLM, RUNTIME_TRANSFORMERS, RUNTIME_LLAMACPP, RUNTIME_TGI)
DISTRIBUTED_EXECUTOR_ANNOTATION = "kaito.sh/distributed-executor"
"""Ours: what joins the nodes of one model, Ray (as upstream) or vLLM's own launcher."""
DISTRIBUTED_EXECUTORS = ("ray", "mp")
INFERENCE_ROLE_LABEL = "kaito.sh/inference-role"
"""prefill or decode, of a MultiRoleInference."""

ENABLE_LB_ANNOTATION = "kaito.sh/enablelb"
ENABLE_LB_VALUE = "True"
BYPASS_RESOURCE_CHECKS_ANNOTATION = "kaito.sh/bypass-resource-checks"
"""Its presence counts, whatever the value."""
DISABLE_BENCHMARK_ANNOTATION = "kaito.sh/disable-benchmark"
BENCHMARK_LABEL = "kaito.sh/benchmark"
"""Ours, on the pod that measures a Workspace: its name. Neither Services nor sets select it."""
BENCHMARK_OF_ANNOTATION = "kaito.sh/benchmark-of"
"""Ours, on that pod: the hash of the pods that it measures."""
SURGE_ANNOTATION = "kaito.sh/surge"
"""Ours: "false" replaces pods in place, even where a second one would fit."""
KEEP_NODES_ANNOTATION = "kaito.sh/keep-nodes"
"""Ours: "true" keeps the nodes of a tuning that is over."""
RUNTIME_ADAPTERS_ANNOTATION = "kaito.sh/runtime-adapters"
"""Ours: "false" keeps adapters for the start, "true" allows them to a mixture of experts that has
none yet."""
PERFORMANCE_MODE_ANNOTATION = "kaito.sh/performance-mode"
PERFORMANCE_MODES = ("balanced", "interactivity", "throughput")
API_KEY_SECRET_ANNOTATION = "kaito.sh/api-key-secret"  # noqa: S105
"""Ours: a Secret; who asks the served model must show what is under one of its keys."""
RAG_SETTINGS_ANNOTATION = "kaito.sh/rag-settings"
"""Ours, on a RAGEngine, as are the next three: a ConfigMap whose keys are variables of its service
(`apis.kaito.ragsettings`)."""
RAG_RERANKER_SECRET_ANNOTATION = "kaito.sh/rag-reranker-secret"  # noqa: S105
"""A Secret, whose key RAG_RERANKER_ACCESS_SECRET opens the service that reranks."""
RAG_OBJECT_STORE_ANNOTATION = "kaito.sh/rag-object-store"
"""Where snapshots of the indexes go, as s3://bucket/prefix (`apis.kaito.objectstores`)."""
RAG_OBJECT_STORE_SECRET_ANNOTATION = "kaito.sh/rag-object-store-secret"  # noqa: S105
"""A Secret with the store's keys; without it the pod's own identity opens the store."""
GPU_QUOTA_ANNOTATION = "kaito.sh/gpu-quota"
"""Ours, on a Namespace: how many GPUs its Workspaces and RAGEngines may ask for together."""
RECONCILE_ID_ANNOTATION = "kaito.sh/reconcile-id"
"""Ours, on a NodeClaim: the round that asked for it; the provisioner's log lines carry it too."""
TRACE_PARENT_ANNOTATION = "kaito.sh/traceparent"
"""Ours, on Workspaces, RAGEngines and NodeClaims: the W3C trace context that their spans join."""
USE_LOCAL_WEIGHTS_ANNOTATION = "kaito.sh/use-local-weights"
MODEL_WEIGHTS_ANNOTATION = "kaito.sh/model-weights"
"""Ours: where the weights come from, as a URL (`apis.kaito.weights`)."""
MODEL_WEIGHTS_PULL_SECRETS_ANNOTATION = "kaito.sh/model-weights-pull-secrets"
"""Ours: names of Secrets with credentials of the registry, separated by commas."""
NODE_IMAGE_FAMILY_ANNOTATION = "kaito.sh/node-image-family"
NODE_IMAGE_FAMILIES = ("ubuntu", "azurelinux")
NODE_CLASS_NAME_ANNOTATION = "kaito.sh/node-class-name"
MODEL_STREAMING_ANNOTATION = "kaito.sh/model-streaming"
MODEL_STREAMING_DISABLED = "disabled"
BLOB_CSI_DRIVER = "blob.csi.azure.com"

WORKSPACE_HASH_ANNOTATION = "workspace.kaito.io/hash"
WORKSPACE_REVISION_ANNOTATION = "workspace.kaito.io/revision"

REVISED_ANNOTATIONS = (
    RUNTIME_ANNOTATION,
    DISTRIBUTED_EXECUTOR_ANNOTATION,
    DISABLE_BENCHMARK_ANNOTATION,
    RUNTIME_ADAPTERS_ANNOTATION,
    PERFORMANCE_MODE_ANNOTATION,
    API_KEY_SECRET_ANNOTATION,
    USE_LOCAL_WEIGHTS_ANNOTATION,
    MODEL_WEIGHTS_ANNOTATION,
    MODEL_WEIGHTS_PULL_SECRETS_ANNOTATION,
    MODEL_STREAMING_ANNOTATION,
)
"""Annotations that change the pods: they are part of a revision as the fields are."""

GPU_PRODUCT_LABEL = "nvidia.com/gpu.product"
GPU_COUNT_LABEL = "nvidia.com/gpu.count"
GPU_MEMORY_LABEL = "nvidia.com/gpu.memory"
"""MiB of one GPU, as gpu-feature-discovery writes it."""
GPU_COMPUTE_MAJOR_LABEL = "nvidia.com/cuda.compute.major"
GPU_COMPUTE_MINOR_LABEL = "nvidia.com/cuda.compute.minor"
GPU_RESOURCE = "nvidia.com/gpu"
MIG_CONFIG_LABEL = "nvidia.com/mig.config"
MIG_CONFIG_STATE_LABEL = "nvidia.com/mig.config.state"
MIG_CONFIG_DONE = "success"
"""How the MIG manager of the GPU operator has cut a node's GPUs, and whether it has."""


def runtime(annotations: dict[str, str], *, vllm: bool = True) -> str:
    """Which engine serves the workspace; without the vLLM gate always Transformers."""
    asked = annotations.get(RUNTIME_ANNOTATION, "")
    if asked in (RUNTIME_LLAMACPP, RUNTIME_TGI):
        return asked
    if not vllm or asked == RUNTIME_TRANSFORMERS:
        return RUNTIME_TRANSFORMERS
    return RUNTIME_VLLM
