"""When a serving container counts as started, alive and ready."""

from __future__ import annotations

import math
from typing import Any

from apis.container import HEALTH_PATH, PORT
from kube.meta import Manifest

_STARTUP_PERIOD_SECONDS = 2
"""Short, since readiness is not asked for before startup has succeeded once."""

_HEALTH_CHECK = "/workspace/vllm/multi-node-health-check.py"


def startup(seconds: int, path: str = HEALTH_PATH) -> Manifest:
    """Loading a model may take `seconds`; only then is the container given up."""
    return {
        "httpGet": _health(path),
        "periodSeconds": _STARTUP_PERIOD_SECONDS,
        "timeoutSeconds": 5,
        "failureThreshold": math.ceil(seconds / _STARTUP_PERIOD_SECONDS),
    }


def readiness(path: str = HEALTH_PATH) -> Manifest:
    asked = {"httpGet": _health(path)}
    return {**asked, "periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 3}


def liveness(path: str = HEALTH_PATH) -> Manifest:
    """Patient: an engine under full load answers late and must not be killed for it."""
    asked = {"httpGet": _health(path)}
    return {**asked, "periodSeconds": 10, "timeoutSeconds": 15, "failureThreshold": 6}


def distributed_readiness(leader: str) -> Manifest:
    """Workers are always ready: only the leader serves."""
    return {
        "exec": _check("readiness", f"--leader-address={leader}", f"--vllm-port={PORT}"),
        "periodSeconds": 10,
        "timeoutSeconds": 10,
        "failureThreshold": 3,
    }


def distributed_startup(leader: str, seconds: int) -> Manifest:
    return {
        **distributed_readiness(leader),
        "failureThreshold": math.ceil(seconds / 10),
    }


def distributed_liveness(leader: str, ray_port: int) -> Manifest:
    """The leader restarts when an actor of its Ray job has died; workers follow it."""
    return {
        "exec": _check("liveness", f"--leader-address={leader}", f"--ray-port={ray_port}"),
        "initialDelaySeconds": 60,
        "periodSeconds": 10,
        "timeoutSeconds": 15,
        "failureThreshold": 3,
    }


def _health(path: str) -> dict[str, Any]:
    return {"path": path, "port": PORT}


def _check(question: str, *arguments: str) -> dict[str, Any]:
    return {"command": ["python3", _HEALTH_CHECK, question, *arguments]}
