"""What a user has changed in the services of a Compose file, put into the Workspace. Pure.

An edit is carried where a field of the Workspace or of its ConfigMap says the same; the file that
is then made anew must have it. Everything else is refused by name.
"""

from __future__ import annotations

import copy
import dataclasses
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from apis.container import CONFIG_KEY
from kaito import merging
from kaito.compose import options
from kaito.compose.options import Flags
from kaito.compose.project import EXTENSION, Asked, Project, project
from kaito.compose.table import ComposeError
from kaito.compose.text import escaped, meant, takes_variables
from kaito.compose.volumes import config_name
from kaito.merging import Path
from kube.meta import Manifest

_ELSEWHERE = {
    "ports": "make the file anew with --port",
    "deploy": "make the file anew for another machine (--gpu-count, --cpus, --memory, …)",
    "shm_size": "it follows from the machine; make the file anew for another one",
}
_SET_BACK = "no field of a Workspace says it: set it back"


@dataclass(frozen=True, slots=True)
class Carried:
    """The Workspace with the edits, and what else becomes different by them, a line each."""

    asked: Asked
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Edit:
    path: Path
    before: Any
    after: Any


def carried(asked: Asked, given: Manifest) -> Carried:
    """`given` is the file as it is now. ComposeError with all edits that no Workspace can say."""
    first = project(asked)
    was, now = _comparable(escaped(first.document)), _comparable(given)
    edits = [_Edit(*each) for each in merging.changed(was, now, ())]
    if not edits:
        return Carried(asked)
    found, refused = asked, []
    for edit in edits:
        try:
            found = _into(found, edit, first)
        except ComposeError as error:
            refused += [f"{merging.spelled(edit.path)}: {line}" for line in error.lines]
    if refused:
        raise ComposeError(refused)
    last = project(found)
    anew = _comparable(escaped(last.document))
    if lost := [edit for edit in edits if not _holds(edit, anew, last, first)]:
        raise ComposeError(
            f"{merging.spelled(edit.path)}: the Workspace that says it would run something else"
            for edit in lost
        )
    asked_for = {edit.path for edit in edits}
    also = [
        f"{merging.spelled(path)}: {before} -> {after}"
        for path, before, after in merging.changed(was, anew, ())
        if path not in asked_for and not _is_config(path, found)
    ]
    return Carried(found, tuple(also))


def _into(asked: Asked, edit: _Edit, first: Project) -> Asked:
    if takes_variables(edit.after):
        raise ComposeError(
            ["it takes a value from the shell of this machine, which a cluster does not have"]
        )
    part = _part(asked.workspace)
    match edit.path:
        case ("services", name, "image") if name == asked.name and "template" not in part:
            return _with_image(asked, str(edit.after))
        case ("services", name, "command") if name == asked.name and first.engine:
            return _with_flags(asked, edit, first.engine)
        case ("configs", name, "content") if edit.after is not None:
            return _with_content(asked, name, meant(str(edit.after)))
        case ("services", name, attribute, *rest) if "template" in part:
            return _with_template(asked, edit, name, attribute, rest)
    attribute = edit.path[2] if len(edit.path) > 2 else ""
    raise ComposeError([_ELSEWHERE.get(attribute, _SET_BACK)])


def _with_image(asked: Asked, image: str) -> Asked:
    def change(workspace: Manifest) -> None:
        preset = _part(workspace)["preset"]
        preset.setdefault("presetOptions", {})["image"] = image

    return _changed(asked, change)


def _with_flags(asked: Asked, edit: _Edit, engine: str) -> Asked:
    """Flags that are new or have another value, into the engine's section of the ConfigMap."""
    before = options.flags(engine, meant(edit.before or []))
    after = options.flags(engine, meant(edit.after or []))
    named = _part(asked.workspace).get("config") or f"{asked.name}-config"
    text = asked.data().get(named, {}).get(CONFIG_KEY, "")
    return _with_config(asked, named, options.with_flags(engine, text, before, after))


def _with_config(asked: Asked, name: str, text: str) -> Asked:
    """The ConfigMap of that name with that text, made and named where there is none."""
    namespace = asked.workspace["metadata"].get("namespace")
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    new = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {}}
    known = {str(each["metadata"]["name"]): each for each in asked.config_maps}
    before = known.get(name, new)
    known[name] = {**before, "data": {**(before.get("data") or {}), CONFIG_KEY: text}}

    def change(workspace: Manifest) -> None:
        _part(workspace)["config"] = name

    return dataclasses.replace(_changed(asked, change), config_maps=tuple(known.values()))


def _with_content(asked: Asked, entry: str, text: str) -> Asked:
    maps = []
    for each in asked.config_maps:
        data = dict(each.get("data") or {})
        name = str(each["metadata"]["name"])
        data |= {key: text for key in data if config_name(name, key) == entry}
        maps.append({**each, "data": data})
    return dataclasses.replace(asked, config_maps=tuple(maps))


_OF_TEMPLATE = {"entrypoint": "command", "command": "args"}


def _with_template(
    asked: Asked, edit: _Edit, service: str, attribute: str, rest: list[str]
) -> Asked:
    """A pod of the user's own has a field for each of these."""

    def change(workspace: Manifest) -> None:
        spec = _part(workspace)["template"]["spec"]
        both = [*(spec.get("initContainers") or ()), *spec["containers"]]
        container = next((each for each in both if each["name"] == service), None)
        if container is None or edit.after is None:
            raise ComposeError([_SET_BACK])
        if attribute == "environment" and len(rest) == 1:
            by_name = {each["name"]: each for each in container.get("env") or ()}
            by_name[rest[0]] = {"name": rest[0], "value": _literal(str(edit.after))}
            container["env"] = list(by_name.values())
        elif attribute == "image" and not rest:
            container["image"] = meant(str(edit.after))
        elif attribute in _OF_TEMPLATE and not rest:
            container[_OF_TEMPLATE[attribute]] = [_literal(str(each)) for each in edit.after]
        else:
            raise ComposeError([_ELSEWHERE.get(attribute, _SET_BACK)])

    return _changed(asked, change)


def _literal(text: str) -> str:
    """The kubelet reads `$(NAME)` and `$$`; Compose's text has none of that left."""
    return str(meant(text)).replace("$", "$$")


def _changed(asked: Asked, change: Callable[[Manifest], None]) -> Asked:
    workspace = copy.deepcopy(asked.workspace)
    change(workspace)
    return dataclasses.replace(asked, workspace=workspace)


def _part(workspace: Manifest) -> Manifest:
    """`inference` or `tuning`; the first articles about KAITO put them under `spec`."""
    root = workspace if {"inference", "tuning"} & workspace.keys() else workspace["spec"]
    found: Manifest = root.get("inference") or root["tuning"]
    return found


def _holds(edit: _Edit, anew: Manifest, last: Project, first: Project) -> bool:
    """Whether the new file has what was asked for: a flag where the image takes it from."""
    if edit.path[2:] == ("command",) and first.engine:
        engine = first.engine
        wanted = options.flags(engine, meant(edit.after or []))
        before = options.flags(engine, meant(edit.before or []))
        found = _effective(engine, last)
        gone = before.keys() - wanted.keys()
        return all(found.get(name) == wanted[name] for name in _new(before, wanted)) and not (
            gone & found.keys()
        )
    return bool(_at(anew, edit.path) == edit.after)


def _effective(engine: str, found: Project) -> Flags:
    name = _part(found.document[EXTENSION]["workspace"]).get("config")
    configs = {each["metadata"]["name"]: each for each in found.document[EXTENSION]["configMaps"]}
    text = (configs.get(name, {}).get("data") or {}).get(CONFIG_KEY, "")
    service = found.document["services"][found.document["name"]]
    return options.flags(engine, service["command"]) | options.of_section(engine, text)


def _new(before: Flags, after: Flags) -> list[str]:
    return [name for name, value in after.items() if before.get(name) != value]


def _at(document: Any, path: Path) -> Any:
    for step in path:
        document = document.get(step) if isinstance(document, Mapping) else None
    return document


def _is_config(path: Path, asked: Asked) -> bool:
    """What comes with a ConfigMap: its file, and that the server is told of it."""
    in_service = path[:2] == ("services", asked.name) and path[2:] in (("configs",), ("command",))
    return in_service or path[0] == "configs"


def _comparable(document: Manifest) -> Manifest:
    """Without what is ours, and with one spelling of what Compose lets one spell in two ways."""
    found = {key: value for key, value in document.items() if key != EXTENSION}
    services = found.get("services")
    if isinstance(services, dict):
        found["services"] = {name: _service(each) for name, each in services.items()}
    return found


def _service(given: Any) -> Any:
    if not isinstance(given, dict):
        return given
    found = dict(given)
    for attribute in ("command", "entrypoint"):
        if isinstance(found.get(attribute), str):
            found[attribute] = shlex.split(found[attribute])
    environment = found.get("environment")
    if isinstance(environment, list):
        pairs = [str(entry).partition("=") for entry in environment]
        found["environment"] = {name: value if equals else None for name, equals, value in pairs}
    return found
