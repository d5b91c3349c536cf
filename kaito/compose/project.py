"""A Workspace as a Compose file: the pod that the controller would apply, field by field. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

import cloudproviders
from apis.container import PORT
from apis.errors import FieldError
from apis.kaito import admission, defaults
from apis.kaito.v1beta1.workspace import Workspace
from apis.kaito.validation import Facts
from apis.kaito.validation.facts import BYO, NODECLAIM
from kaito.compose import machine, pod
from kaito.compose.made import Made, made
from kaito.compose.pod import Surroundings
from kaito.compose.table import ComposeError, checked
from kube.meta import Manifest
from workspace_controller import wiring
from workspace_controller.errors import UserError
from workspace_controller.manifests import service
from workspace_controller.nodes.provisioner import NodeShape
from workspace_controller.settings import Settings, process

EXTENSION = "x-kaito"
"""The top-level key that Compose passes over."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a Compose file is made of. `installation` are variables of the controller, as its chart
    sets them; `port` is where this machine listens."""

    workspace: Manifest
    config_maps: tuple[Manifest, ...]
    machine: NodeShape
    installation: Mapping[str, str]
    port: int = PORT

    @property
    def name(self) -> str:
        return str(self.workspace["metadata"]["name"])

    def extension(self) -> Manifest:
        """As the Compose file remembers it, so that it can be made anew."""
        return {
            "workspace": self.workspace,
            "configMaps": list(self.config_maps),
            "machine": machine.written(self.machine),
            "installation": dict(self.installation),
            "port": self.port,
        }

    def data(self) -> dict[str, Mapping[str, str]]:
        """The content of each ConfigMap."""
        return {str(each["metadata"]["name"]): each.get("data") or {} for each in self.config_maps}


@dataclass(frozen=True, slots=True)
class Project:
    """The file's content; what is not the same as in a cluster, a sentence each; and the engine
    that serves the preset, empty for a pod of the user's own and for a tuning."""

    document: Manifest
    warnings: tuple[str, ...]
    engine: str


def project(asked: Asked) -> Project:
    """ComposeError where admission would refuse the Workspace, the controller could not run it, or
    Compose cannot say it. Raises SettingsError and UnknownCloudError for the installation."""
    settings = _settings(asked)
    manifest = defaults.default(asked.workspace, byo=settings.facts.byo)
    if wrong := admission.refusals(manifest, _facts(asked, settings)):
        raise ComposeError(_line(each) for each in wrong)
    workspace = _workspace(manifest)
    try:
        found = made(workspace, asked.data(), settings)
    except UserError as error:
        raise ComposeError([error.message]) from error
    if found.nodes > 1:
        raise ComposeError(
            [
                f"it takes {found.nodes} such machines ({machine.described(asked.machine)}),"
                " and a Compose file is for one: name a larger one, or run it on a cluster"
            ]
        )
    warnings = [*checked(found.kind, found.spec, found.kind), *_unpinned(found)]
    around = Surroundings(
        name=asked.name,
        namespace=workspace.metadata.namespace or "default",
        config_maps=asked.data(),
        ports=tuple(_ports(workspace, asked, found)),
        tools=found.tools,
    )
    sections, said = pod.sections(found.spec["template"], around)
    document = {"name": asked.name, **sections, EXTENSION: asked.extension()}
    return Project(document, (*warnings, *said), found.engine)


def _workspace(manifest: Manifest) -> Workspace:
    try:
        found = Workspace.model_validate(manifest)
    except ValidationError as error:  # the schema has passed it
        raise ComposeError([str(error)]) from error
    if not found.metadata.name:
        raise ComposeError(["metadata.name: a Compose file needs a name: give one"])
    return found


def _settings(asked: Asked) -> Settings:
    """The controller's, on the one machine."""
    resource = asked.workspace.get("resource")
    named = isinstance(resource, dict) and resource.get("instanceType")
    told = process({"NODE_PROVISIONER": NODECLAIM if named else BYO, **asked.installation})
    found = wiring.settings_of(
        told, cloudproviders.profile(told.cloud), cloudproviders.instance_types(told.cloud)
    )
    return dataclasses.replace(found, nodes=machine.OneMachine(machine=asked.machine))


def _facts(asked: Asked, settings: Settings) -> Facts:
    known = asked.data()
    return dataclasses.replace(settings.facts, config_map=known.get)


def _ports(workspace: Workspace, asked: Asked, found: Made) -> Iterator[Manifest]:
    """Those of the Service behind which something listens, open to others where a load balancer
    is. The Service's 80 is a port that not everybody may open. A tuning has no Service."""
    if workspace.inference is None:
        return
    endpoint = service.endpoint(workspace, vllm=found.engine == "vllm")["spec"]
    outside = {} if endpoint["type"] == "LoadBalancer" else {"host_ip": "127.0.0.1"}
    declared = found.spec["template"]["spec"]["containers"][0].get("ports") or ()
    opened = {PORT, *(each["containerPort"] for each in declared)}
    for port in endpoint["ports"]:
        target = port["targetPort"]
        if target in opened:
            published = str(asked.port if target == PORT else port["port"])
            protocol = str(port["protocol"]).lower()
            yield {"target": target, **outside, "published": published, "protocol": protocol}


def _unpinned(found: Made) -> list[str]:
    if found.source is None or found.source.kind != "hub" or found.source.revision:
        return []
    return [
        f"weights: those of {found.source.location} as its main branch is when they are"
        " downloaded; a cluster pins them to the commit that it finds"
    ]


def _line(error: FieldError) -> str:
    return f"{error.path}: {error.message}" if error.path else error.message


def remembered(document: Mapping[str, Any]) -> Asked:
    """What the Compose file was made of; ComposeError where it was made by somebody else."""
    try:
        given = document[EXTENSION]
        return Asked(
            workspace=dict(given["workspace"]),
            config_maps=tuple(dict(each) for each in given["configMaps"]),
            machine=machine.read(given["machine"]),
            installation={str(key): str(value) for key, value in given["installation"].items()},
            port=int(given["port"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ComposeError(
            [
                f"{EXTENSION}: what `kaito compose` writes there is missing or changed: make the"
                " file anew"
            ]
        ) from error
