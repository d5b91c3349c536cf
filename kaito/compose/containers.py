"""A container of a pod as a service. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from kaito.compose.table import ComposeError, checked
from kaito.compose.text import Variable
from kube import quantity
from kube.meta import Manifest

_GPU = "nvidia.com/gpu"
_ROOT_ALONE = "runAsGroup without runAsUser: name both, since an image's user is not known here"
_MIB = 1024 * 1024
_PULL = {"Always": "always", "IfNotPresent": "missing", "Never": "never"}
_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)")


def service(container: Manifest, pod: Manifest, facts: Mapping[str, str], where: str) -> Manifest:
    """What says how it is run; mounts, ports, health and order are others' matter. `facts` are
    the values of fields that the cluster would tell (metadata.name)."""
    environment = dict(_environment(container, facts, where))
    found: Manifest = {"image": container["image"], "pull_policy": _pull_policy(container, where)}
    for name, attribute in (("command", "entrypoint"), ("args", "command")):
        if name in container:
            found[attribute] = [_filled(word, environment) for word in container[name]]
    if environment:
        found["environment"] = environment
    if "workingDir" in container:
        found["working_dir"] = container["workingDir"]
    found |= _security(container, pod, where)
    if resources := _resources(container, f"{where}.resources"):
        found["deploy"] = {"resources": resources}
    return found


def _pull_policy(container: Manifest, where: str) -> str:
    image = str(container["image"])
    tag = image.partition("@")[0].rpartition("/")[2].partition(":")[2]
    moves = "@" not in image and tag in ("", "latest")
    asked = container.get("imagePullPolicy") or ("Always" if moves else "IfNotPresent")
    if asked not in _PULL:
        raise ComposeError([f"{where}.imagePullPolicy: {asked} is none of {', '.join(_PULL)}"])
    return _PULL[asked]


def _environment(
    container: Manifest, facts: Mapping[str, str], where: str
) -> Iterator[tuple[str, str | None]]:
    """None: as the shell has it, and not at all where it has none."""
    said: dict[str, str | None] = {}
    for entry in container.get("env") or ():
        name = entry["name"]
        here = f"{where}.env[{name}]"
        checked("env", entry, here)
        if "valueFrom" in entry:
            said[name] = _from(name, entry["valueFrom"], facts, here)
        else:
            said[name] = _filled(entry.get("value", ""), said)
        yield name, said[name]


def _from(name: str, source: Manifest, facts: Mapping[str, str], where: str) -> str | None:
    checked("valueFrom", source, f"{where}.valueFrom")
    if (secret := source.get("secretKeyRef")) is not None:
        checked("secretKeyRef", secret, f"{where}.valueFrom.secretKeyRef")
        if secret.get("optional"):
            return None
        said = f"set it to the key {secret['key']} of the Secret {secret['name']}"
        return Variable(f"${{{name}:?{said}}}")
    field = source["fieldRef"]
    checked("fieldRef", field, f"{where}.valueFrom.fieldRef")
    path = field["fieldPath"]
    if path not in facts:
        raise ComposeError([f"{where}: {path} is known in a cluster alone: give a value"])
    return facts[path]


def _filled(text: str, variables: Mapping[str, str | None]) -> str:
    """The kubelet's `$(NAME)`, which Compose does not know; one that nobody set stays."""

    def value(found: re.Match[str]) -> str:
        name = found[1]
        if name is None:
            return "$"
        known = variables.get(name, found[0])
        if known is None or isinstance(known, Variable):
            raise ComposeError(
                [f"$({name}): Compose cannot put a Secret's value into a text: read the variable"]
            )
        return known

    return text if isinstance(text, Variable) else _REFERENCE.sub(value, text)


def _security(container: Manifest, pod: Manifest, where: str) -> Manifest:
    own = container.get("securityContext") or {}
    of_pod = pod.get("securityContext") or {}
    checked("securityContext", own, f"{where}.securityContext")
    checked("podSecurityContext", of_pod, "securityContext")
    capabilities = own.get("capabilities") or {}
    checked("capabilities", capabilities, f"{where}.securityContext.capabilities")
    both = {**of_pod, **own}
    options = _options(both, where)
    found: Manifest = {
        "user": _user(both, where),
        "group_add": [str(each) for each in _groups(of_pod)],
        "privileged": bool(own.get("privileged")),
        "read_only": bool(own.get("readOnlyRootFilesystem")),
        "cap_drop": list(capabilities.get("drop") or ()),
        "cap_add": list(capabilities.get("add") or ()),
        "security_opt": options,
    }
    return {key: value for key, value in found.items() if value}


def _groups(of_pod: Manifest) -> list[int]:
    volumes = [of_pod["fsGroup"]] if "fsGroup" in of_pod else []
    return [*(of_pod.get("supplementalGroups") or ()), *volumes]


def _user(both: Manifest, where: str) -> str:
    user, group = both.get("runAsUser"), both.get("runAsGroup")
    if user is None and group is not None:
        raise ComposeError([f"{where}.securityContext: {_ROOT_ALONE}"])
    return ":".join(str(each) for each in (user, group) if each is not None)


def _options(both: Manifest, where: str) -> list[str]:
    found = []
    if both.get("allowPrivilegeEscalation") is False:
        found.append("no-new-privileges:true")
    profile = both.get("seccompProfile") or {"type": "RuntimeDefault"}
    checked("seccompProfile", profile, f"{where}.securityContext.seccompProfile")
    if profile["type"] == "Unconfined":
        return [*found, "seccomp=unconfined"]
    if profile["type"] != "RuntimeDefault":
        raise ComposeError(
            [f"{where}.securityContext.seccompProfile: the file of the profile is on the nodes"]
        )
    return found


def _resources(container: Manifest, where: str) -> Manifest:
    """Requests are kept as reservations, which Docker honours of RAM and GPUs."""
    given = container.get("resources") or {}
    checked("resources", given, where)
    requests, limits = dict(given.get("requests") or {}), dict(given.get("limits") or {})
    gpus = limits.pop(_GPU, None) or requests.get(_GPU)
    if requests.pop(_GPU, gpus) != gpus:
        raise ComposeError([f"{where}: requests and limits differ in {_GPU}"])
    found = {}
    reservations = _amounts(requests, f"{where}.requests")
    if gpus:
        device = {"driver": "nvidia", "count": int(gpus), "capabilities": ["gpu"]}
        reservations["devices"] = [device]
    if reservations:
        found["reservations"] = reservations
    if bounds := _amounts(limits, f"{where}.limits"):
        found["limits"] = bounds
    return found


def _amounts(given: Mapping[str, Any], where: str) -> Manifest:
    found: Manifest = {}
    for name, amount in given.items():
        if name == "cpu":
            found["cpus"] = f"{quantity.parse(amount).normalize():f}"
        elif name == "memory":
            whole, rest = divmod(int(quantity.parse(amount)), _MIB)
            found["memory"] = f"{whole}m" if not rest else f"{whole * _MIB + rest}b"
        else:
            raise ComposeError(
                [
                    f"{where}.{name}: Compose can ask for cpu, memory and {_GPU}: for a slice of"
                    " a GPU, run its image by hand with the UUID that `nvidia-smi -L` prints"
                ]
            )
    return found
