"""Which node conditions make a node worth replacing, and after how long."""

from __future__ import annotations

from datetime import timedelta

from cloudproviders.provider import RepairPolicy


def _broken(condition: str, status: str, minutes: int) -> RepairPolicy:
    return RepairPolicy(condition, status, timedelta(minutes=minutes))


POLICIES = (
    _broken("Ready", "False", 30),
    _broken("Ready", "Unknown", 30),
    _broken("AcceleratedHardwareReady", "False", 10),
    _broken("StorageReady", "False", 30),
    _broken("NetworkingReady", "False", 30),
    _broken("KernelReady", "False", 30),
    _broken("ContainerRuntimeReady", "False", 30),
)
"""karpenter-provider-aws', for the conditions of the EKS node monitoring agent."""
