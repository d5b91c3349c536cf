"""What a device plugin says of a node's GPUs, beside what its instance type has."""

from __future__ import annotations

import pytest

from gpu_provisioner import gpus


@pytest.mark.parametrize(
    ("capacity", "allocatable", "short"),
    [
        ({"nvidia.com/gpu": "8"}, {"nvidia.com/gpu": "8"}, None),
        ({"nvidia.com/gpu": "8"}, {"nvidia.com/gpu": "7"}, "7 of 8 nvidia.com/gpu"),
        ({"nvidia.com/gpu": "8"}, {}, "0 of 8 nvidia.com/gpu"),
        ({"amd.com/gpu": "8"}, {"nvidia.com/mig-1g.10gb": "7"}, "0 of 8 amd.com/gpu"),
        ({"aws.amazon.com/neuron": "1"}, {}, "0 of 1 aws.amazon.com/neuron"),
        ({"nvidia.com/gpu": "1"}, {"nvidia.com/gpu": "4"}, None),
        ({"nvidia.com/gpu": "1"}, {"nvidia.com/gpu.shared": "4"}, None),
        ({"nvidia.com/gpu": "2"}, {"nvidia.com/gpu": "1", "nvidia.com/mig-1g.10gb": "7"}, None),
        ({"nvidia.com/gpu": "2"}, {"nvidia.com/mig-1g.10gb": "0"}, "0 of 2 nvidia.com/gpu"),
        ({"cpu": "8"}, {"cpu": "7"}, None),
        ({}, {}, None),
    ],
)
def test_shortage(capacity: dict[str, str], allocatable: dict[str, str], short: str | None) -> None:
    found = gpus.shortage(capacity, allocatable)

    assert (None if found is None else str(found)) == short


@pytest.mark.parametrize(
    ("product", "model", "contradicted"),
    [
        ("NVIDIA-A100-SXM4-80GB", "NVIDIA A100", False),
        ("A100-SXM4-40GB-MIG-1g.5gb", "NVIDIA A100", False),
        ("Tesla-V100-SXM2-16GB", "V100", False),
        ("NVIDIA-H100-NVL", "NVIDIA H100 94GB", False),
        ("NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition", "NVIDIA RTX PRO 6000", False),
        ("NVIDIA-A10-24Q", "NVIDIA A10", False),
        ("NVIDIA-A10G", "NVIDIA A10", True),
        ("Tesla-T4", "NVIDIA L4", True),
        ("Tesla-T4", "", False),
        ("Tesla-T4", "AWS accelerators", False),
        ("", "NVIDIA L4", False),
    ],
)
def test_contradictions(product: str, model: str, contradicted: bool) -> None:
    assert gpus.contradicts(product, model) is contradicted
