"""The loader: a short-lived pod that brings one adapter into a serving pod, or takes it out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from apis import container
from apis.kaito.v1beta1.labels import LOADER_LABEL
from apis.kaito.v1beta1.workspace import AdapterSpec, Workspace
from kube import quantity
from kube.meta import Manifest
from kube.objects import Pod
from workspace_controller.manifests import adapters, ownership, scheduling, security
from workspace_controller.manifests.adapters import Bringer
from workspace_controller.manifests.scheduling import Reach
from workspace_controller.settings import Settings

POD_ANNOTATION = "kaito.sh/serving-pod"
"""On a loader: uid of the pod that it loads into."""
ADAPTER_ANNOTATION = "kaito.sh/adapter"
HASH_ANNOTATION = "kaito.sh/adapter-hash"
"""On a loader: of the adapter that it loads; empty where it removes one."""
ATTEMPT_ANNOTATION = "kaito.sh/attempt"

CONTAINER = "loader"

_DEADLINE_SECONDS = 30 * 60


@dataclass(frozen=True, slots=True)
class Errand:
    """What one loader is for: an adapter of that hash in that pod. `spec` is None, and `hash` is
    empty, where the adapter is to be removed."""

    pod: Pod
    adapter: str
    hash: str = ""
    spec: AdapterSpec | None = None
    attempt: int = 1

    def annotations(self) -> dict[str, str]:
        return {
            POD_ANNOTATION: self.pod.metadata.uid,
            ADAPTER_ANNOTATION: self.adapter,
            HASH_ANNOTATION: self.hash,
            ATTEMPT_ANNOTATION: str(self.attempt),
        }

    def is_of(self, loader: Pod) -> bool:
        """Whether the loader was made for this, at whichever attempt."""
        asked = {**self.annotations(), ATTEMPT_ANNOTATION: str(attempt(loader))}
        return asked.items() <= loader.metadata.annotations.items()


def attempt(loader: Pod) -> int:
    return quantity.count(loader.metadata.annotations.get(ATTEMPT_ANNOTATION, "")) or 0


def name(workspace: Workspace, errand: Errand) -> str:
    """The same errand, the same name: it is made once, whoever asks how often."""
    what = "/".join((*errand.annotations().values(), errand.pod.status.pod_ip))
    digest = hashlib.sha256(what.encode()).hexdigest()[:8]
    return f"{workspace.metadata.name}-adapters-{digest}"


def loader(workspace: Workspace, errand: Errand, bringer: Bringer, settings: Settings) -> Manifest:
    """The adapter comes the way it comes into a new pod, and on the serving pod's node, where a
    volume may be that is mounted there alone."""
    specs = (errand.spec,) if errand.spec else ()
    found = adapters.adapters(specs, bringer, copied=True) + adapters.token(workspace)
    on_its_node = Reach(terms=(scheduling.named(errand.pod.spec.node_name),))
    pod: Manifest = {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": _DEADLINE_SECONDS,
        "affinity": {"nodeAffinity": scheduling.node_affinity(on_its_node)},
        "tolerations": scheduling.tolerations(settings.cloud.tolerations),
        **security.pod(),
        "containers": [_container(errand, bringer.image, list(found.mounts))],
        "volumes": list(found.volumes),
    }
    if found.init_containers:
        pod["initContainers"] = list(found.init_containers)
    if found.pull_secrets:
        pod["imagePullSecrets"] = [{"name": each} for each in found.pull_secrets]
    metadata = ownership.child_metadata(workspace, name(workspace, errand), errand.annotations())
    # Not a serving pod: neither StatefulSet nor Services may select it.
    metadata["labels"] = {LOADER_LABEL: workspace.metadata.name}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod}


def _container(errand: Errand, image: str, mounts: list[Manifest]) -> Manifest:
    address = errand.pod.status.pod_ip
    host = f"[{address}]" if ":" in address else address
    removes = [] if errand.spec else ["--remove"]
    return {
        "name": CONTAINER,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-m", "serving.adapters", "sync"],
        "args": [f"--url=http://{host}:{container.PORT}", *removes],
        "env": [
            {"name": container.ENV_ADAPTER, "value": errand.adapter},
            {
                "name": container.ENV_ADAPTER_DIR,
                "value": f"{container.ADAPTERS_DIR}/{errand.adapter}",
            },
        ],
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
        "securityContext": security.errand(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
    }
