"""A workload's pod as the services, volumes, configs and secrets of a Compose file. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from kaito.compose import containers, probes, volumes
from kaito.compose.table import ComposeError, checked
from kaito.compose.volumes import Mounted
from kube.meta import Manifest

VOLUMES_SERVICE = "volumes"
"""What the kubelet does before a pod's first container: a volume of the pod's own is open to
whoever its containers run as, and a claim to the group that the pod names."""

_ROOM = "/volumes"
_GRACE_SECONDS = 30
"""Kubernetes' own, where a pod does not say."""
_INDEX = "metadata.labels['apps.kubernetes.io/pod-index']"
_RESTARTS = {"Always": "unless-stopped", "OnFailure": "on-failure", "Never": "no"}


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a pod finds beside its manifest. `ports`: the file's `ports` of the main container.
    `tools`: an image with a shell."""

    name: str
    namespace: str
    config_maps: Mapping[str, Mapping[str, str]]
    ports: tuple[Manifest, ...]
    tools: str


@dataclass
class _Sections:
    """The file as it grows."""

    services: Manifest = field(default_factory=dict)
    top: dict[str, Manifest] = field(default_factory=dict)
    own: dict[str, None] = field(default_factory=dict)
    claimed: dict[str, None] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def take(self, mounted: Mounted, into: Manifest) -> None:
        for key, value in mounted.service.items():
            into[key] = [*into.get(key, ()), *value] if isinstance(value, list) else value
        for section, entries in mounted.top.items():
            self.top.setdefault(section, {}).update(entries)
        self.own |= {mounted.own: None} if mounted.own else {}
        self.claimed |= {mounted.claimed: None} if mounted.claimed else {}
        self.warnings += mounted.warnings


def sections(template: Manifest, around: Surroundings) -> tuple[Manifest, tuple[str, ...]]:
    """`services` and what they name, and what is not the same as in a cluster, a sentence each.

    The first container is the one that others share their network with, and that `around.ports`
    belong to. ComposeError where something cannot be said.
    """
    checked("template", template, "template")
    pod = template["spec"]
    found = _Sections(warnings=checked("pod", pod, "pod"))
    _refuse_shared_memory(pod)
    before: list[str] = []
    for container in pod.get("initContainers") or ():
        made = _service(container, pod, around, found)
        made["restart"] = "no" if pod.get("restartPolicy") == "Never" else "on-failure"
        made |= _after(before)
        before.append(_add(container, made, found))
    policy = pod.get("restartPolicy", "Always")
    if (restart := _RESTARTS.get(policy)) is None:
        raise ComposeError([f"pod.restartPolicy: {policy} is none of {', '.join(_RESTARTS)}"])
    first = ""
    for container in pod["containers"]:
        made = _service(container, pod, around, found)
        made["restart"] = restart
        made["stop_grace_period"] = f"{pod.get('terminationGracePeriodSeconds', _GRACE_SECONDS)}s"
        made |= _reached(container, around, first)
        made |= _after(before)
        added = _add(container, made, found)
        first = first or added
    _prepare(found, template, around)
    return {"services": found.services, **found.top}, tuple(dict.fromkeys(found.warnings))


def _refuse_shared_memory(pod: Manifest) -> None:
    """What lies in memory is each container's own in Compose."""
    both = (*(pod.get("initContainers") or ()), *pod["containers"])
    mounts = [mount["name"] for each in both for mount in each.get("volumeMounts") or ()]
    for volume in pod.get("volumes") or ():
        in_memory = (volume.get("emptyDir") or {}).get("medium") == "Memory"
        if in_memory and mounts.count(volume["name"]) > 1:
            raise ComposeError(
                [
                    f"volumes[{volume['name']}]: Compose has no memory that containers share: leave"
                    " out the medium"
                ]
            )


def _add(container: Manifest, made: Manifest, found: _Sections) -> str:
    name = str(container["name"])
    if name in found.services or name == VOLUMES_SERVICE:
        raise ComposeError([f"containers[{name}]: the name is taken: choose another"])
    found.services[name] = made
    return name


def _service(
    container: Manifest, pod: Manifest, around: Surroundings, found: _Sections
) -> Manifest:
    where = f"containers[{container['name']}]"
    found.warnings += checked("container", container, where)
    facts = {
        "metadata.name": f"{around.name}-0",
        "metadata.namespace": around.namespace,
        _INDEX: "0",
    }
    made = containers.service(container, pod, facts, where)
    by_name = {each["name"]: each for each in pod.get("volumes") or ()}
    for mount in container.get("volumeMounts") or ():
        mounted = volumes.mounted(mount, by_name, around.config_maps, f"{where}.volumeMounts")
        found.take(mounted, made)
    if (health := probes.healthcheck(container, where)) is not None:
        made["healthcheck"] = health
    return made


def _reached(container: Manifest, around: Surroundings, first: str) -> Manifest:
    """A pod is one host: its containers find each other at localhost."""
    for port in container.get("ports") or ():
        checked("port", port, f"containers[{container['name']}].ports")
    if first:
        return {"network_mode": f"service:{first}"}
    return {"hostname": f"{around.name}-0", "ports": [dict(port) for port in around.ports]}


def _after(before: list[str]) -> Manifest:
    done = {"condition": "service_completed_successfully"}
    return {"depends_on": {name: dict(done) for name in before}} if before else {}


def _prepare(found: _Sections, template: Manifest, around: Surroundings) -> None:
    """An emptyDir is as old as its pod. A volume of Compose outlives its containers, so it has the
    pod in its name: another pod finds it empty, and the same one as it left it."""
    group = (template["spec"].get("securityContext") or {}).get("fsGroup")
    claimed = list(found.claimed) if group is not None else []
    if not found.own and not claimed:
        return
    which = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:8]
    for name in found.own:
        found.top["volumes"][name] = {"name": f"{around.name}_{name}_{which}"}
    steps = [f"chmod 0777 {_ROOM}/{name}" for name in found.own]
    for name in claimed:
        steps += [f"chgrp -R {group} {_ROOM}/{name}", f"chmod -R g+rwX {_ROOM}/{name}"]
    for service in found.services.values():
        service["depends_on"] = {
            VOLUMES_SERVICE: {"condition": "service_completed_successfully"},
            **service.get("depends_on", {}),
        }
    opens: Manifest = {
        "image": around.tools,
        "pull_policy": "missing",
        "entrypoint": ["/bin/sh", "-c", " && ".join(steps)],
        "user": "0:0",
        "network_mode": "none",
        "restart": "no",
        "volumes": [
            {"type": "volume", "source": name, "target": f"{_ROOM}/{name}"}
            for name in (*found.own, *claimed)
        ],
    }
    found.services = {VOLUMES_SERVICE: opens, **found.services}
