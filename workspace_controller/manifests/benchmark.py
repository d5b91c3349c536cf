"""The pod that measures a served model once: beside it, on its own node, where the image is."""

from __future__ import annotations

from apis.kaito.v1beta1 import labels
from apis.kaito.v1beta1.workspace import Workspace
from kube.meta import Manifest
from workspace_controller.manifests import ownership, scheduling, security, volumes
from workspace_controller.manifests.service import url
from workspace_controller.settings import Settings

_DEADLINE_SECONDS = 900


def benchmark_pod(
    workspace: Workspace, settings: Settings, *, name: str, image: str, revision: str
) -> Manifest:
    """`image` is the serving container's. No GPU is asked for: it only sends requests."""
    metadata = ownership.child_metadata(workspace, name, {labels.BENCHMARK_OF_ANNOTATION: revision})
    metadata["labels"] = {labels.BENCHMARK_LABEL: workspace.metadata.name}
    keys = volumes.api_keys(workspace)
    pod: Manifest = {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": _DEADLINE_SECONDS,
        "tolerations": scheduling.tolerations(settings.cloud.tolerations),
        **security.pod(),
        "containers": [
            {
                "name": "benchmark",
                "image": image,
                "imagePullPolicy": "IfNotPresent",
                "command": ["python", "-m", "serving.benchmark"],
                "args": [f"--url={url(workspace)}"],
                "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
                "securityContext": security.errand(),
                **({"volumeMounts": list(keys.mounts)} if keys.mounts else {}),
            }
        ],
        **({"volumes": list(keys.volumes)} if keys.volumes else {}),
    }
    affinity = scheduling.node_affinity(settings.nodes.reach(workspace))
    if affinity is not None:
        pod["affinity"] = {"nodeAffinity": affinity}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod}
