"""Whose a sample is. Karpenter, which may run beside gpu-provisioner, has the same names for what
it does, and so has every Go controller. A process of ours is a target that tells our build info,
however Prometheus found it: each target has a `job` and an `instance`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

PROVISIONER = "kaito_gpu_provisioner_build_info"
WORKSPACE = "kaito_build_info"
_OURS = 'job="ours",instance="a"'
_STANDBY = 'job="ours",instance="b"'
_THEIRS = 'job="karpenter",instance="k"'


class Trial(TypedDict):
    """As an Alert has it."""

    fires: Mapping[str, str]
    rests: Mapping[str, str]


def of(build_info: str) -> str:
    """Behind a vector: what of it comes from processes that tell that."""
    return f"and on (instance, job) {build_info}"


def trial(
    build_info: str,
    *,
    fires: Mapping[str, str],
    rests: Mapping[str, str],
    standby: Mapping[str, str] | None = None,
) -> Trial:
    """The series as the leader's, beside a standby with its own, and beside a Karpenter: one that
    is well where the alert fires, and one that does all that it fires of where it rests."""
    replicas = _of(_STANDBY, {build_info: "1x120", **(standby or {})})
    leader = {build_info: "1x120"}
    karpenter = {"karpenter_build_info": "1x120"}
    return {
        "fires": {**_of(_OURS, leader | dict(fires)), **replicas, **_of(_THEIRS, karpenter)},
        "rests": {
            **_of(_OURS, leader | dict(rests)),
            **replicas,
            **_of(_THEIRS, karpenter | dict(fires)),
        },
    }


def _of(target: str, series: Mapping[str, str]) -> dict[str, str]:
    return {
        f"{name[:-1]},{target}}}" if name.endswith("}") else f"{name}{{{target}}}": values
        for name, values in series.items()
    }
