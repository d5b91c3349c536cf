"""Of a pod nothing is lost on the way into a Compose file."""

from __future__ import annotations

import copy
import dataclasses
import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

import cloudproviders
from apis.kaito.v1beta1.workspace import Workspace
from kaito.compose import machine, pod
from kaito.compose.made import Made, made
from kaito.compose.pod import Surroundings
from kaito.compose.project import project
from kaito.compose.table import TABLE, ComposeError
from kube.meta import Manifest
from presets.catalog import load
from presets.engines import registry
from tests.composition import CASES, CPU, FOUR, GEMMA, OPENED, TEMPLATE, asked
from workspace_controller import wiring
from workspace_controller.settings import process

INSIDE = {
    ("template", "spec"): "pod",
    ("pod", "securityContext"): "podSecurityContext",
    ("pod", "containers"): "container",
    ("pod", "initContainers"): "container",
    ("pod", "volumes"): "volume",
    ("container", "env"): "env",
    ("container", "ports"): "port",
    ("container", "resources"): "resources",
    ("container", "securityContext"): "securityContext",
    ("container", "volumeMounts"): "volumeMount",
    ("container", "startupProbe"): "probe",
    ("container", "readinessProbe"): "probe",
    ("env", "valueFrom"): "valueFrom",
    ("valueFrom", "secretKeyRef"): "secretKeyRef",
    ("valueFrom", "fieldRef"): "fieldRef",
    ("probe", "httpGet"): "httpGet",
    ("probe", "exec"): "exec",
    ("securityContext", "capabilities"): "capabilities",
    ("securityContext", "seccompProfile"): "seccompProfile",
    ("podSecurityContext", "seccompProfile"): "seccompProfile",
    ("secret", "items"): "secretItem",
    **{("volume", kind): kind for kind in TABLE["volume"] if kind != "name"},
}
"""Objects within objects, by the table's names."""

TWICE = {("persistentVolumeClaim", "readOnly")}
"""Said by the mount as well."""


@cache
def workload_of(case: str) -> Made:
    each = CASES[case]
    told = process({"NODE_PROVISIONER": "byo", **each.installation})
    settings = wiring.settings_of(
        told, cloudproviders.profile(told.cloud), cloudproviders.instance_types(told.cloud)
    )
    on = dataclasses.replace(settings, nodes=machine.OneMachine(machine=each.machine))
    return made(Workspace.model_validate(each.workspace), each.data(), on)


def composed(case: str, template: Manifest) -> str:
    around = Surroundings("ws", "default", CASES[case].data(), (), "tools")
    found, _ = pod.sections(template, around)
    for volume in found.get("volumes", {}).values():
        if not volume.get("external"):
            del volume["name"]  # has the whole pod in it, and would hide what nothing else says
    return json.dumps(found)


def objects(kind: str, given: Manifest, path: tuple[Any, ...]) -> Iterator[tuple[str, Any]]:
    """All objects whose fields the table knows, with where they are."""
    yield kind, path
    for name, value in given.items():
        inside = INSIDE.get((kind, name))
        if inside is None:
            continue
        if isinstance(value, list):
            for at, each in enumerate(value):
                yield from objects(inside, each, (*path, name, at))
        else:
            yield from objects(inside, value, (*path, name))


def leaves(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, each in items:
        if isinstance(each, dict | list):
            yield from leaves(each, (*path, key))
        else:
            yield (*path, key)


def said(kind: str, given: Manifest, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """Every value in a field that the table says is said."""
    for name, value in given.items():
        if not TABLE[kind][name].said or (kind, name) in TWICE:
            continue
        inside = INSIDE.get((kind, name))
        here = (*path, name)
        if inside and isinstance(value, list):
            for at, each in enumerate(value):
                yield from said(inside, each, (*here, at))
        elif inside:
            yield from said(inside, value, here)
        elif isinstance(value, dict | list):
            yield from leaves(value, here)
        else:
            yield here


def changed(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    return f"1{value}" if value[:1].isdigit() else f"{value}x"


def excused(template: Manifest, path: tuple[Any, ...]) -> bool:
    """Nobody writes to what a ConfigMap or a Secret fills, and a Secret that may be missing is."""
    by_name = {each["name"]: each for each in template["spec"].get("volumes") or ()}
    if "volumes" in path:
        return bool((at(template, path[:3]).get("secret") or {}).get("optional"))
    if "volumeMounts" not in path:
        return False
    volume = by_name[at(template, path[:-1])["name"]]
    filled = volume.get("configMap") or volume.get("secret") or {}
    return bool(filled.get("optional") or (filled and path[-1] == "readOnly"))


def at(document: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        document = document[step]
    return document


@pytest.mark.parametrize("case", CASES)
def test_what_is_said_depends_on_every_field(case: str) -> None:
    template = workload_of(case).spec["template"]
    as_it_is = composed(case, template)
    silent = []
    for path in said("template", template, ()):
        other = copy.deepcopy(template)
        at(other, path[:-1])[path[-1]] = changed(at(template, path))
        try:
            if composed(case, other) == as_it_is and not excused(template, path):
                silent.append(".".join(map(str, path)))
        except (ComposeError, ValueError):
            continue  # it makes no sense: that is told
    assert silent == []


@pytest.mark.parametrize("case", CASES)
def test_a_field_that_nobody_knows_is_refused(case: str) -> None:
    """A field that the controller's pods gain must be put into the table, or all of this fails."""
    template = workload_of(case).spec["template"]
    found = list(objects("template", template, ()))
    assert len(found) > 5
    for kind, path in found:
        if any(step in ("livenessProbe", "metadata") for step in path):
            continue
        other = copy.deepcopy(template)
        at(other, path)["aNewField"] = True
        with pytest.raises(ComposeError, match="aNewField"):
            composed(case, other)
        assert "aNewField" not in TABLE[kind]


RUN = [
    pytest.param(name, engine, id=f"{engine} {name}")
    for engine, profile in registry.ENGINES.items()
    for name in load().names()
    if registry.refusal(load().lookup(name), engine) is None
]


@pytest.mark.parametrize(("name", "engine"), RUN)
def test_every_preset_is_said(name: str, engine: str) -> None:
    """As far as it runs on one machine at all."""
    inference = {"preset": {"name": name, "presetOptions": OPENED}}
    refused = ""
    try:
        found = project(asked(FOUR, inference, runtime=engine))
    except ComposeError as error:
        refused = str(error)
    else:
        assert {"ws"} <= found.document["services"].keys()
    assert not refused or re.search("takes [0-9]+ such machines|GiB", refused), refused


def test_the_table_has_a_word_for_each_field() -> None:
    for kind, fields in TABLE.items():
        for name, fate in fields.items():
            assert bool(fate.said) != bool(fate.why), f"{kind}.{name}"


def test_a_pod_that_wants_several_machines_is_refused() -> None:
    inference = {"preset": {"name": "llama-3.3-70b-instruct", "presetOptions": OPENED}}
    small = dataclasses.replace(FOUR, gpu=dataclasses.replace(FOUR.gpu, count=1))
    with pytest.raises(ComposeError, match=r"takes 3 such machines .* for one: name a larger"):
        project(asked(small, inference))


def test_gemma_is_at_home_on_a_small_machine() -> None:
    assert project(asked(CPU, GEMMA)).engine == "llamacpp"


def edited(container: Manifest, **pod_fields: Any) -> Manifest:
    """The template of one's own with another second container, or other fields of the pod."""
    template = copy.deepcopy(TEMPLATE)
    template["spec"]["containers"][1] |= container
    template["spec"] |= pod_fields
    return template


MOUNT = {"mountPath": "/scratch"}


@pytest.mark.parametrize(
    ("container", "told"),
    [
        ({"volumeMounts": [{"name": "scratch", **MOUNT}]}, "no memory that containers share"),
        ({"volumeMounts": [{"name": "keys", "subPath": "a", **MOUNT}]}, "subPath: Compose mounts"),
        ({"volumeMounts": [{"name": "none", **MOUNT}]}, "there is no volume 'none' in the pod"),
        ({"imagePullPolicy": "Sometimes"}, "Sometimes is none of Always, IfNotPresent, Never"),
        ({"name": "server"}, r"containers\[server\]: the name is taken"),
        ({"name": "volumes"}, r"containers\[volumes\]: the name is taken"),
        ({"resources": {"limits": {"nvidia.com/mig-1g.10gb": 1}}}, "for a slice of a GPU"),
        ({"securityContext": {"seccompProfile": {"type": "Localhost"}}}, "is on the nodes"),
        ({"readinessProbe": {"httpGet": {"port": "web"}}}, "there is no port 'web'"),
        ({"readinessProbe": {"periodSeconds": 1}}, "neither sends a request nor runs a command"),
        ({"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]},
         "known in a cluster alone"),
        ({"args": ["$(T)"], "env": [{"name": "T", "valueFrom": {"secretKeyRef": {"name": "s",
          "key": "k"}}}]}, "cannot put a Secret's value into a text"),
    ],
)  # fmt: skip
def test_what_compose_cannot_say_is_refused(container: Manifest, told: str) -> None:
    with pytest.raises(ComposeError, match=told):
        composed("a pod of one's own", edited(container))


def test_a_pod_of_ones_own_is_one_host() -> None:
    found = json.loads(composed("a pod of one's own", edited({})))["services"]
    server, beside, first = found["server"], found["beside"], found["first"]
    assert server["hostname"] == "ws-0"
    assert beside["network_mode"] == "service:server"
    assert server["entrypoint"] == ["serve", "$5", "$(UNKNOWN)"]
    assert first["command"] == ["--to=/data"]
    assert server["environment"]["POD"] == "ws-0"
    assert (server["user"], server["group_add"], server["read_only"]) == ("7:8", ["9"], True)
    assert list(server["depends_on"]) == ["volumes", "first"]
    assert server["deploy"]["resources"]["reservations"]["memory"] == "1000000b"
    assert beside["healthcheck"]["test"] == ["CMD", "test", "-e", "/ok"]
    assert server["healthcheck"]["test"][0] == "CMD-SHELL"
