"""The hash of a pool's template: what a claim must have been cut from. Pure."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from apis.karpenter.v1.labels import NODEPOOL_HASH_ANNOTATION, NODEPOOL_HASH_VERSION
from apis.karpenter.v1.nodepool import NodePool
from gpu_provisioner.stamp import Stamp


def stamp(pool: NodePool) -> Stamp:
    """Of the template as it stands. Requirements are left out: those are compared with what the
    node has become. Lists count as sets, and what is empty as absent."""
    template = pool.spec.template.model_dump(mode="json", by_alias=True, exclude_none=True)
    del template["spec"]["requirements"]
    text = json.dumps(_canonical(template), sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return Stamp(NODEPOOL_HASH_ANNOTATION, digest, NODEPOOL_HASH_VERSION)


def _canonical(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: _canonical(each) for key, each in value.items()}
        return {key: each for key, each in kept.items() if each not in ("", {}, [])}
    if isinstance(value, list):
        return sorted((_canonical(each) for each in value), key=json.dumps)
    return value
