"""What of a Workspace's workload is still to be made, as ResourceQuotas count it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from apis.kaito.v1beta1.workspace import Workspace
from kube.meta import Manifest
from kube.objects import Pod
from workspace_controller.manifests.statefulset import inference_statefulset
from workspace_controller.manifests.tuning import tuning_job
from workspace_controller.settings import Settings
from workspace_controller.tenancyquotas import Wanted
from workspace_controller.workspace import sizing, tuningrun, tuningsize
from workspace_controller.workspace.observed import Observed

_SERVICES = 2


def wanted(workspace: Workspace, seen: Observed, settings: Settings) -> Wanted | None:
    """Pods that nobody has made yet, with what stands around them; None while nobody knows what
    they are like. A pod that is there has passed, whatever has become of its quota since."""
    if workspace.tuning is not None:
        return _of_tuning(workspace, seen, settings)
    sized = sizing.size(workspace, seen, settings)
    if sized is None:
        return None
    spec = inference_statefulset(workspace, sized, settings, number=1)["spec"]
    missing = max(0, sized.need.nodes - sum(map(_counts, seen.pods)))
    volumes = len(spec.get("volumeClaimTemplates") or ())
    services = max(0, _SERVICES - len(seen.services))
    objects = {
        "count/statefulsets.apps": int(seen.stateful_set is None),
        **_both("services", services),
        **_both("persistentvolumeclaims", volumes * missing),
    }
    return Wanted(_pod(spec), missing, objects)


def one_more(workspace: Workspace, seen: Observed, settings: Settings) -> Wanted | None:
    """The pod that comes up beside the first, where one is replaced."""
    sized = sizing.size(workspace, seen, settings)
    if sized is None:
        return None
    spec = inference_statefulset(workspace, sized, settings, number=1)["spec"]
    return Wanted(_pod(spec), 1, _both("persistentvolumeclaims", len(_claims(spec))))


def _of_tuning(workspace: Workspace, seen: Observed, settings: Settings) -> Wanted | None:
    tuned, work = tuningsize.size(workspace, seen, settings), workspace.tuning
    if tuned is None or work is None:
        return None
    run = tuningrun.of(workspace, seen)
    job = tuning_job(workspace, work, tuned, settings, run=run.wanted, number=1)
    missing = 0 if any(map(_counts, seen.pods)) else 1
    return Wanted(_pod(job["spec"]), missing, {"count/jobs.batch": int(seen.job is None)})


def _both(plural: str, count: int) -> dict[str, int]:
    """Kubernetes' own kinds are counted under two names."""
    return {plural: count, f"count/{plural}": count}


def _claims(spec: Manifest) -> list[Any]:
    return list(spec.get("volumeClaimTemplates") or ())


def _pod(workload: Mapping[str, Any]) -> Manifest:
    found: Manifest = workload["template"].get("spec") or {}
    return found


def _counts(pod: Pod) -> bool:
    return not pod.ended
