"""`kaito compose`: a Workspace on one machine without a cluster, and back."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kaito import exits, validate
from kaito.compose import machine
from kube.meta import Manifest

_SERVERS = ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields")
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_INSTALLATION = (
    "ESTIMATOR",
    "FEATURE_GATES",
    "HF_ENDPOINT",
    "IMAGE_VOLUMES",
    "INSECURE_REGISTRIES",
    "PRESET_REGISTRY_NAME",
    "SERVING_IMAGE_TAG",
    "WEIGHTS_CACHE",
    "WEIGHTS_CACHE_PATH",
)
"""Variables of the controller that pods depend on."""
_HEADER = """\
# Workspace {name} on one machine ({machine}): what the controller would run there.
# Needs Docker Compose 2.23.1 or later. `kaito compose --workspace -f` gives the Workspace back.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """`compose` with its flags; `run` is its `run` default."""
    parser = subparsers.add_parser(
        "compose",
        help="a Compose file that runs a Workspace on one machine, and back",
        description="Write a Compose file that runs a Workspace on one machine: the same image,"
        " command, environment, files and volumes as the controller's pod. With --workspace, read"
        " such a file and write its Workspace and ConfigMap, with what was edited in the services."
        " Warnings say what is not the same as on a cluster. Exit status 0, 1 where the Workspace"
        " cannot run there, 2 where it cannot be told: a file, or a flag.",
    )
    parser.add_argument(
        "-f",
        "--filename",
        required=True,
        metavar="FILE",
        help="YAML with a Workspace and the ConfigMap that it names; - for standard input",
    )
    parser.add_argument("-o", "--output", default="-", metavar="FILE", help="default: - (stdout)")
    parser.add_argument("--workspace", action="store_true", help="from a Compose file, back")
    parser.add_argument("--name", default="", help="which Workspace, where the file has several")
    parser.add_argument("--port", type=_port, default=0, help="of this machine (default: 5000)")
    machine.add_arguments(parser)
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a variable of the controller as it was installed, such as PRESET_REGISTRY_NAME",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the file; 1 or 2 with the reasons on stderr where there is none."""
    # Late, as these read the catalogues.
    from cloudproviders.errors import UnknownCloudError
    from kaito.compose.table import ComposeError
    from kaito.machines import UnknownMachineError
    from workspace_controller.errors import UserError
    from workspace_controller.settings import SettingsError

    shown = "<stdin>" if args.filename == "-" else args.filename
    try:
        text, said = _back(args) if args.workspace else _there(args)
        _write(args.output, text)
    except ComposeError as error:
        for line in error.lines:
            exits.failed(f"{shown}: {line}")
        return exits.NO
    except UserError as error:
        return exits.failed(f"{shown}: {error}", exits.NO)
    except validate.UnreadableError as error:
        return exits.failed(f"{shown}: {error}")
    except (UnknownCloudError, UnknownMachineError, SettingsError) as error:
        return exits.failed(error)
    except OSError as error:
        return exits.failed(f"{args.output}: cannot be written: {error.strerror}")
    for line in said:
        print(f"{shown}: {line}", file=sys.stderr)
    return exits.DONE


def _there(args: argparse.Namespace) -> tuple[str, list[str]]:
    from kaito.compose import text
    from kaito.compose.project import project

    asked = _asked(args)
    found = project(asked)
    header = _HEADER.format(name=asked.name, machine=machine.described(asked.machine))
    warnings = [f"warning: {each}" for each in found.warnings]
    return header + text.dump([text.escaped(found.document)]), warnings


def _back(args: argparse.Namespace) -> tuple[str, list[str]]:
    from kaito.compose import edits, text
    from kaito.compose.project import EXTENSION, remembered
    from kaito.compose.table import ComposeError

    given = list(validate.documents(validate.text(args.filename)))
    if len(given) != 1 or not isinstance(given[0], dict):
        raise ComposeError(["is no Compose file: it must hold one document"])
    document = given[0]
    extension = {EXTENSION: text.meant(document.get(EXTENSION))}
    found = edits.carried(remembered(extension), document)
    manifests = [*found.asked.config_maps, found.asked.workspace]
    return text.dump(manifests), [f"also: {each}" for each in found.also]


def _asked(args: argparse.Namespace) -> Any:
    from pydantic import ValidationError

    from apis.container import PORT
    from apis.kaito import defaults
    from apis.kaito.v1beta1.workspace import Workspace
    from kaito.compose.project import Asked
    from kaito.compose.table import ComposeError

    manifests = [
        each for each in validate.documents(validate.text(args.filename)) if isinstance(each, dict)
    ]
    manifest = _stripped(_chosen(manifests, args.name))
    shape = machine.of(args)
    if shape is None:
        try:
            workspace = Workspace.model_validate(defaults.default(manifest))
        except ValidationError as error:
            raise ComposeError(_invalid(error)) from error
        shape = machine.of_workspace(workspace, args.cloud)
    return Asked(
        workspace=manifest,
        config_maps=tuple(_named(manifests, manifest)),
        machine=shape,
        installation={"CLOUD_PROVIDER": args.cloud, **dict(map(_pair, args.set))},
        port=args.port or PORT,
    )


def _invalid(error: Any) -> list[str]:
    return [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]


def _chosen(manifests: list[Manifest], name: str) -> Manifest:
    from kaito.compose.table import ComposeError

    found = [each for each in manifests if each.get("kind") == "Workspace"]
    named = [each for each in found if not name or _name(each) == name]
    if not named:
        raise ComposeError([f"holds no Workspace{f' {name}' if name else ''}"])
    if len(named) > 1:
        names = ", ".join(map(_name, named))
        raise ComposeError([f"holds several Workspaces ({names}): choose one by --name"])
    return named[0]


def _named(manifests: list[Manifest], workspace: Manifest) -> list[Manifest]:
    """The ConfigMaps that it names; others of the file are none of its business."""
    wanted = repr({key: value for key, value in workspace.items() if key != "metadata"})
    maps = [each for each in manifests if each.get("kind") == "ConfigMap"]
    return [_stripped(each) for each in maps if repr(_name(each)) in wanted]


def _stripped(manifest: Manifest) -> Manifest:
    """Without what the API server has written."""
    metadata = {k: v for k, v in (manifest.get("metadata") or {}).items() if k not in _SERVERS}
    annotations = dict(metadata.get("annotations") or {})
    if annotations.pop(_LAST_APPLIED, None) is not None:
        metadata["annotations"] = annotations
    kept = {key: value for key, value in manifest.items() if key != "status"}
    return {**kept, "metadata": metadata}


def _name(manifest: Mapping[str, Any]) -> str:
    return str((manifest.get("metadata") or {}).get("name") or "")


def _pair(text: str) -> tuple[str, str]:
    from workspace_controller.settings import SettingsError

    name, equals, value = text.partition("=")
    if not equals:
        raise SettingsError(f"--set {text}: write NAME=VALUE")
    if name not in _INSTALLATION:
        raise SettingsError(f"--set {name}: no pod rests on it; one of: {', '.join(_INSTALLATION)}")
    return name, value


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port")
    return int(text)


def _write(where: str, text: str) -> None:
    if where == "-":
        sys.stdout.write(text)
    else:
        Path(where).write_text(text, "utf-8")
