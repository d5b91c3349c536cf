"""What tells that a node is past helping itself, on whichever cloud it stands."""

from __future__ import annotations

from datetime import timedelta

from cloudproviders.provider import RepairPolicy

ACCELERATORS = (
    "nvidia.com/gpu",
    "amd.com/gpu",
    "gpu.intel.com/i915",
    "gpu.intel.com/xe",
    "habana.ai/gaudi",
    "aws.amazon.com/neuron",
    "google.com/tpu",
)
"""The resources by which device plugins offer whole devices."""

PARTITIONS = "nvidia.com/mig-"
"""What NVIDIA's plugin offers in place of GPUs that are cut up (`mixed` strategy)."""

NODE_NOT_READY = (
    RepairPolicy("Ready", "False", timedelta(minutes=10)),
    RepairPolicy("Ready", "Unknown", timedelta(minutes=10)),
)
"""As gpu-provisioner, kwok and Azure's Karpenter have it."""

GPU_FAULTS = (
    RepairPolicy("AcceleratedHardwareReady", "False", timedelta(minutes=10)),
    RepairPolicy("GPUMissing", "True", timedelta(minutes=10)),
    RepairPolicy("XIDErrors", "True", timedelta(minutes=10)),
    RepairPolicy("NVLinkStatusInactive", "True", timedelta(minutes=10)),
)
"""Conditions that watchers of GPUs put on nodes: EKS's node monitoring agent the first one
(docs.aws.amazon.com/eks/latest/userguide/node-health.html), AKS's node-problem-detector the others
(learn.microsoft.com/azure/aks/gpu-health-monitoring). They hold on every cloud that has nodes
repaired at all, unless it has its own word for them; where nobody sets them they cost nothing."""
