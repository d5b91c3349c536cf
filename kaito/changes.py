"""What applying a manifest would change in a Workspace, and what each change means. Pure.

Means as the controller means it: the same functions say how many nodes a Workspace needs and which
pods it has, before the edit and after it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from apis.errors import FieldError
from apis.kaito import admission
from apis.kaito.v1beta1.labels import WORKSPACE_LABEL
from apis.kaito.v1beta1.workspace import Workspace
from kaito.merging import LAST_APPLIED, Path, changed, spelled, with_value
from kube.meta import Manifest
from kube.objects import ConfigMap, Node
from workspace_controller.errors import UserError
from workspace_controller.nodes.provisioner import user_labels
from workspace_controller.settings import Settings
from workspace_controller.workspace import effects
from workspace_controller.workspace.effects import Meaning
from workspace_controller.workspace.observed import Observed
from workspace_controller.workspace.revision import SECTIONS
from workspace_controller.workspace.workload import meaning, surges

REFUSED = "Refused"
CREATE = "Create"
UNKNOWN = "Unknown"
"""Beside the controller's effects: what is not there yet, and what only the cluster can tell."""


@dataclass(frozen=True, slots=True)
class World:
    """What is there beside the Workspace. `configs` are the ConfigMaps as they are, `proposed`
    those that the files bring."""

    now: datetime
    nodes: tuple[Node, ...] = ()
    namespace_labels: Mapping[str, str] = field(default_factory=dict)
    configs: Mapping[str, ConfigMap] = field(default_factory=dict)
    proposed: Mapping[str, ConfigMap] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field, None where it is not set; and what changing it alone takes."""

    path: str
    before: Any
    after: Any
    effect: str
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Difference:
    """All that an edit changes, its effect as a whole, and what that is like for users."""

    namespace: str
    name: str
    fields: tuple[FieldChange, ...] = ()
    effect: str = effects.NONE
    message: str = ""


def difference(
    old: Workspace | None, manifest: Manifest, world: World, settings: Settings
) -> Difference:
    """What becomes of `old` where `manifest`, defaulted and merged with it, is stored."""
    metadata = manifest.get("metadata") or {}
    found = Difference(str(metadata.get("namespace", "")), str(metadata.get("name", "")))
    refusals = admission.refusals(
        manifest, _facts(manifest, world, settings), None if old is None else _document(old)
    )
    try:
        new = Workspace.model_validate(manifest)
    except ValidationError:
        return _refused(found, (), refusals)
    if old is None:
        return _refused(found, (), refusals) if refusals else _created(found, new, world, settings)
    return _edited(found, old, new, world, settings, refusals)


def _edited(
    found: Difference,
    old: Workspace,
    new: Workspace,
    world: World,
    settings: Settings,
    refusals: list[FieldError],
) -> Difference:
    was = _meaning(old, world.configs, world, settings)
    configs = {**world.configs, **world.proposed}
    becomes = _meaning(new, configs, world, settings)
    whole = _effect(was, becomes)
    before, after = _document(old), _document(new)
    fields = []
    for path, left, right in changed(before, after, ()):
        alone = with_value(before, path, right)
        effect = _alone(was, alone, world, settings, whole)
        refused = _refusal(path, refusals)
        fields.append(
            FieldChange(spelled(path), left, right, REFUSED if refused else effect, refused)
        )
    fields += _config_changes(old, new, was, world, settings)
    if refusals:
        return _refused(found, tuple(fields), refusals)
    # Where the Workspace as it is makes no sense either, it is the flags that do not fit it.
    if isinstance(becomes, UserError) and not isinstance(was, UserError):
        return _refused(found, tuple(fields), [FieldError("", becomes.message)])
    if not fields:
        return found
    message = _outlook(whole, was, becomes, new)
    return dataclasses.replace(found, fields=tuple(fields), effect=whole, message=message)


def _created(found: Difference, new: Workspace, world: World, settings: Settings) -> Difference:
    asked = _meaning(new, {**world.configs, **world.proposed}, world, settings)
    if isinstance(asked, UserError):
        return _refused(found, (), [FieldError("", asked.message)])
    if asked is None:
        message = "how many nodes it takes is known once they, or the model's description, are"
    elif settings.facts.byo:
        message = f"a new Workspace: it takes {_nodes(asked)} of those that its labels select"
    else:
        message = f"a new Workspace: it creates {_nodes(asked)}"
    return dataclasses.replace(found, effect=CREATE, message=message)


def _refused(
    found: Difference, fields: tuple[FieldChange, ...], refusals: list[FieldError]
) -> Difference:
    said = "; ".join(
        f"{each.path}: {each.message}" if each.path else each.message for each in refusals
    )
    return dataclasses.replace(found, fields=fields, effect=REFUSED, message=said)


def _meaning(
    workspace: Workspace, configs: Mapping[str, ConfigMap], world: World, settings: Settings
) -> Meaning | UserError | None:
    name = _config_name(workspace)
    seen = Observed(
        now=world.now,
        nodes=tuple(each for each in world.nodes if _is_for(workspace, each)),
        namespace_labels=world.namespace_labels,
        config=configs.get(name),
    )
    try:
        return meaning(workspace, seen, settings)
    except UserError as error:
        return error


def _config_name(workspace: Workspace) -> str:
    work = workspace.inference or workspace.tuning
    return work.config if work is not None else ""


def _is_for(workspace: Workspace, node: Node) -> bool:
    said = node.metadata.labels
    owner = said.get(WORKSPACE_LABEL, workspace.metadata.name)
    return user_labels(workspace).items() <= said.items() and owner == workspace.metadata.name


def _effect(was: Meaning | UserError | None, becomes: Meaning | UserError | None) -> str:
    if isinstance(was, Meaning) and isinstance(becomes, Meaning):
        return effects.effect(was, becomes)
    return UNKNOWN


def _alone(
    was: Meaning | UserError | None,
    document: Manifest,
    world: World,
    settings: Settings,
    whole: str,
) -> str:
    """What one change takes; where it makes no sense without the others, what they all take."""
    try:
        workspace = Workspace.model_validate(document)
    except ValidationError:
        return whole
    configs = {**world.configs, **world.proposed}
    found = _effect(was, _meaning(workspace, configs, world, settings))
    return whole if found == UNKNOWN else found


def _config_changes(
    old: Workspace,
    new: Workspace,
    was: Meaning | UserError | None,
    world: World,
    settings: Settings,
) -> Iterator[FieldChange]:
    """What the files change in the ConfigMap that was in use and stays in use."""
    name = _config_name(new)
    if not name or name not in world.proposed or name != _config_name(old):
        return
    stored = world.configs.get(name)
    before = {} if stored is None else stored.data
    configs = {**world.configs, **world.proposed}
    effect = _effect(was, _meaning(old, configs, world, settings))
    for path, left, right in changed(before, world.proposed[name].data, ()):
        yield FieldChange(f"ConfigMap/{name} {spelled(path)}", left, right, effect)


def _outlook(
    effect: str,
    was: Meaning | UserError | None,
    becomes: Meaning | UserError | None,
    new: Workspace,
) -> str:
    """The whole in a sentence: what happens, and whether users will notice."""
    if effect == effects.NONE:
        return "nothing that runs changes"
    if effect == effects.HOT:
        return "applied to what runs; no pod is restarted"
    if not isinstance(becomes, Meaning) or not isinstance(was, Meaning):
        return "what it takes is known once the nodes, or the model's description, are"
    if new.tuning is not None:
        return "the Job ends with its pods, and another is made that tunes anew"
    name = new.metadata.name
    pods = f"all {becomes.nodes} pods are replaced together, since they are one engine: it does"
    pods += " not serve until they have loaded the model"
    if becomes.nodes == 1 and not surges(new):
        pods = f"pod {name}-0 is replaced in place: it does not serve until it has loaded the model"
    elif becomes.nodes == 1:
        pods = (
            f"pod {name}-1 comes up beside {name}-0 and takes over, where its nodes have room for"
            f" both; else {name}-0 is replaced in place and does not serve until it has loaded"
            " the model"
        )
    if effect == effects.REPLACE_NODES:
        return f"from {_nodes(was)} to {_nodes(becomes)}; {pods}"
    return pods


def _nodes(asked: Meaning) -> str:
    type_ = f" of type {asked.instance_type}" if asked.instance_type else ""
    return f"{asked.nodes} {'node' if asked.nodes == 1 else 'nodes'}{type_}"


def _facts(manifest: Manifest, world: World, settings: Settings) -> Any:
    def config_map(name: str) -> Mapping[str, str] | None:
        found = {**world.configs, **world.proposed}.get(name)
        return None if found is None else found.data

    return dataclasses.replace(settings.facts, config_map=config_map)


def _document(workspace: Workspace) -> Manifest:
    """The fields that mean something, defaults left out, and no status."""
    metadata = workspace.to_json()["metadata"]
    annotations = {
        key: value
        for key, value in (metadata.get("annotations") or {}).items()
        if key != LAST_APPLIED
    }
    kept = {key: metadata[key] for key in ("name", "namespace", "uid", "labels") if key in metadata}
    document: Manifest = {
        "apiVersion": workspace.api_version,
        "kind": workspace.kind,
        "metadata": {**kept, "annotations": annotations},
    }
    for name in SECTIONS:
        part = getattr(workspace, name)
        if part is not None:
            document[name] = part.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return document


def _refusal(path: Path, refusals: list[FieldError]) -> str:
    """What is said of this field, or of what it is part of."""
    here = spelled(path)
    said = (each for each in refusals if each.path)
    return next((each.message for each in said if _touch(here, each.path)), "")


def _touch(one: str, other: str) -> bool:
    shorter, longer = sorted((one, other), key=len)
    return longer == shorter or (longer.startswith(shorter) and longer[len(shorter)] in ".[")
