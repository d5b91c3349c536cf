"""`kaito validate`: the verdict of admission on manifests, without a cluster.

What only a cluster can tell (labels of nodes, ConfigMaps that are not in the file) is not judged
here. What is accepted without effect is told as a warning.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from apis.errors import FieldError
from apis.kaito import admission, defaults
from apis.kaito.validation import Facts
from apis.kaito.validation.facts import NODE_PROVISIONERS, NODECLAIM
from apis.karpenter.v1 import validation as karpenter
from kube.meta import Manifest

KINDS = {"Workspace": "kaito.sh", "NodeClaim": "karpenter.sh", "NodePool": "karpenter.sh"}


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with one object of a file, or with the file where `kind` is empty."""

    file: str
    kind: str
    name: str
    error: FieldError
    warning: bool = False

    def __str__(self) -> str:
        what = f"{self.kind} {self.name}: " if self.kind else ""
        mark = "warning: " if self.warning else ""
        where = f"{self.error.path}: " if self.error.path else ""
        return f"{self.file}: {what}{mark}{where}{self.error.message}"


class UnreadableError(ValueError):
    """A file holds no manifests; the message says where it goes wrong."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """`validate` with its flags; `run` is its `run` default."""
    parser = subparsers.add_parser(
        "validate",
        help="check Workspace, NodeClaim and NodePool manifests as admission would",
        description="Check manifests as admission would, without a cluster. Exit status 1 and a"
        " line for each error where something is wrong; warnings leave it at 0.",
    )
    parser.add_argument(
        "-f",
        "--filename",
        action="append",
        required=True,
        metavar="FILE",
        help="YAML with one or more objects, - for standard input; may be repeated",
    )
    parser.add_argument("--cloud", default="azure", help="whose instance types (default: azure)")
    parser.add_argument(
        "--node-provisioner",
        choices=NODE_PROVISIONERS,
        default=NODECLAIM,
        help=f"where nodes come from (default: {NODECLAIM})",
    )
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the findings; 0 where nothing is wrong, else 1."""
    from cloudproviders.errors import UnknownCloudError

    try:
        known = facts(args.cloud, args.node_provisioner)
    except UnknownCloudError as error:
        print(f"error: --cloud: {error}", file=sys.stderr)
        return 1
    findings = [each for file in args.filename for each in check(file, known)]
    if args.output == "json":
        print(json.dumps([_document(each) for each in findings], indent=2))
    else:
        for each in findings:
            print(each)
    return 1 if any(not each.warning for each in findings) else 0


def facts(cloud: str, node_provisioner: str) -> Facts:
    """Those that the controller's webhook has, less what only a cluster tells.

    Raises UnknownCloudError.
    """
    # Late, since the other commands need not read these catalogues.
    import cloudproviders
    from presets import catalog
    from workspace_controller import facts as installed

    return installed.facts(
        cloud=cloud,
        profile=cloudproviders.profile(cloud),
        provisioner=node_provisioner,
        gates={},
        instance_types=cloudproviders.instance_types(cloud),
        catalog=catalog.load(),
    )


def check(file: str, known: Facts) -> Iterator[Finding]:
    """What is wrong in a file, `-` being standard input."""
    shown = "<stdin>" if file == "-" else file
    try:
        manifests = list(documents(text(file)))
    except UnreadableError as error:
        yield Finding(shown, "", "", FieldError("", str(error)))
        return
    if not manifests:
        yield Finding(shown, "", "", FieldError("", "holds no objects"))
    config_maps = {_identity(each)[1]: each for each in manifests if _is_config_map(each)}
    for number, manifest in enumerate(manifests, start=1):
        if not isinstance(manifest, dict):
            message = f"document {number} is no object with apiVersion and kind"
            yield Finding(shown, "", "", FieldError("", message))
            continue
        if _is_config_map(manifest):
            continue
        kind, name = _identity(manifest)
        known = _with_config(known, manifest, config_maps)
        wrong = refusals(manifest, known)
        for refusal in wrong:
            yield Finding(shown, kind, name, refusal)
        for remark in () if wrong else remarks(manifest, known):
            yield Finding(shown, kind, name, remark, warning=True)


def documents(text: str) -> Iterator[Any]:
    """The objects of a YAML stream; a `List` is its items. Raises UnreadableError."""
    try:
        for document in yaml.safe_load_all(text):
            if isinstance(document, dict) and document.get("kind") == "List":
                yield from document.get("items") or ()
            elif document is not None:
                yield document
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise UnreadableError(f"no YAML: {where}{error.problem}") from error
    except yaml.YAMLError as error:
        raise UnreadableError(f"no YAML: {' '.join(str(error).split())}") from error


def refusals(manifest: Manifest, known: Facts) -> list[FieldError]:
    """What admission has against creating the object."""
    kind = manifest.get("kind")
    group = str(manifest.get("apiVersion", "")).partition("/")[0]
    if not isinstance(kind, str) or KINDS.get(kind) != group:
        ours = ", ".join(f"{name} ({group_})" for name, group_ in KINDS.items())
        return [
            FieldError(
                "kind",
                f'"{kind or ""}" of "{manifest.get("apiVersion", "")}" cannot be judged;'
                f" known are {ours}",
            )
        ]
    if kind == "Workspace":
        return admission.refusals(defaults.default(manifest, byo=known.byo), known)
    return karpenter.refusals(manifest)


def remarks(manifest: Manifest, known: Facts) -> list[FieldError]:
    """What admission would warn of in an object that it takes."""
    if manifest["kind"] != "Workspace":
        return []
    return admission.remarks(defaults.default(manifest, byo=known.byo), known)


def _is_config_map(manifest: object) -> bool:
    """One that stands beside the Workspace that names it, as in examples."""
    return (
        isinstance(manifest, dict)
        and manifest.get("kind") == "ConfigMap"
        and manifest.get("apiVersion") == "v1"
    )


def _with_config(known: Facts, manifest: Manifest, found: Mapping[str, Manifest]) -> Facts:
    """With the ConfigMap that the Workspace names, where the file has it."""
    parts = (manifest.get("inference"), manifest.get("tuning"))
    names = {str(part["config"]) for part in parts if isinstance(part, dict) and part.get("config")}
    if not names or not names.issubset(found.keys()):
        return dataclasses.replace(known, config_map=None)
    return dataclasses.replace(known, config_map=lambda name: found[name].get("data") or {})


def text(file: str) -> str:
    """What a file holds, `-` being standard input. Raises UnreadableError."""
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text("utf-8")
    except OSError as error:
        raise UnreadableError(f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UnreadableError(f"no UTF-8 at byte {error.start}") from error


def _identity(manifest: Mapping[str, Any]) -> tuple[str, str]:
    metadata = manifest.get("metadata")
    named = metadata if isinstance(metadata, dict) else {}
    name = named.get("name") or named.get("generateName") or "(unnamed)"
    return str(manifest.get("kind") or "(no kind)"), str(name)


def _document(finding: Finding) -> dict[str, str]:
    return {
        "file": finding.file,
        "kind": finding.kind,
        "name": finding.name,
        "severity": "warning" if finding.warning else "error",
        "field": finding.error.path,
        "message": finding.error.message,
    }
