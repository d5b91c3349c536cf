"""`kaito validate`: the verdict of admission on manifests, without a cluster.

What only a cluster can tell (labels of nodes, ConfigMaps that are not in the file) is not judged
here. What is accepted without effect is told as a warning.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from apis.errors import FieldError
from apis.kaito import admission, defaults
from apis.kaito.v1beta1 import labels
from apis.kaito.validation import Facts
from apis.kaito.validation.facts import NODE_PROVISIONERS, NODECLAIM
from apis.karpenter.v1 import validation as karpenter
from kaito import exits, output
from kube.meta import Manifest

KINDS = {
    "Workspace": "kaito.sh",
    "RAGEngine": "kaito.sh",
    "NodeClaim": "karpenter.sh",
    "NodePool": "karpenter.sh",
}
_OURS = ("Workspace", "RAGEngine")
_BESIDE = (
    ("v1", "ConfigMap"),
    ("v1", "PersistentVolume"),
    ("v1", "PersistentVolumeClaim"),
    ("v1", "Secret"),
    ("storage.k8s.io/v1", "StorageClass"),
)
"""Kubernetes' own, which stand beside ours in many a file."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with one object of a file, or with the file where `kind` is empty."""

    file: str
    kind: str
    name: str
    error: FieldError
    warning: bool = False
    readable: bool = True
    """Whether there is a verdict at all."""

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
        help="check Workspace, RAGEngine, NodeClaim and NodePool manifests as admission would",
        description="Check manifests as admission would, without a cluster. Exit status 1 and a"
        " line for each error where something is wrong, 2 where it cannot be told; warnings"
        " leave it at 0.",
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
    output.add_argument(parser, output.TEXT, output.JSON, output.YAML)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the findings; 0 where nothing is wrong, 1 where something is, 2 where a file could not
    be read, whatever the others say."""
    from cloudproviders.errors import UnknownCloudError

    try:
        known = facts(args.cloud, args.node_provisioner)
    except UnknownCloudError as error:
        return exits.failed(f"--cloud: {error}")
    findings = [each for file in args.filename for each in check(file, known)]
    told = output.document([_document(each) for each in findings], args.output)
    for line in findings if told is None else [told]:
        print(line)
    if any(not each.readable for each in findings):
        return exits.UNTOLD
    return exits.NO if any(not each.warning for each in findings) else exits.DONE


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
        yield Finding(shown, "", "", FieldError("", str(error)), readable=False)
        return
    if not manifests:
        yield Finding(shown, "", "", FieldError("", "holds no objects"))
    config_maps = {_identity(each)[1]: each for each in manifests if _is_config_map(each)}
    for number, manifest in enumerate(manifests, start=1):
        if not isinstance(manifest, dict):
            message = f"document {number} is no object with apiVersion and kind"
            yield Finding(shown, "", "", FieldError("", message))
            continue
        if (manifest.get("apiVersion"), manifest.get("kind")) in _BESIDE:
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
    if kind in _OURS:
        return admission.refusals(defaults.default(manifest, byo=known.byo), known)
    return karpenter.refusals(manifest)


def remarks(manifest: Manifest, known: Facts) -> list[FieldError]:
    """What admission would warn of in an object that it takes."""
    if manifest["kind"] not in _OURS:
        return []
    return admission.remarks(defaults.default(manifest, byo=known.byo), known)


def _is_config_map(manifest: object) -> bool:
    """One that stands beside the object that names it, as in examples."""
    return (
        isinstance(manifest, dict)
        and manifest.get("kind") == "ConfigMap"
        and manifest.get("apiVersion") == "v1"
    )


def _with_config(known: Facts, manifest: Manifest, found: Mapping[str, Manifest]) -> Facts:
    """With the ConfigMap that the object names, where the file has it."""
    names = _config_names(manifest)
    if not names or not names.issubset(found.keys()):
        return dataclasses.replace(known, config_map=None)
    return dataclasses.replace(known, config_map=lambda name: found[name].get("data") or {})


def _config_names(manifest: Manifest) -> set[str]:
    if manifest.get("kind") == "RAGEngine":
        part: Any = manifest
        for step in ("spec", "guardrails", "configMapRef"):
            part = part.get(step) if isinstance(part, dict) else None
        parts, key = [part, _annotated(manifest)], "name"
    else:
        parts, key = [manifest.get("inference"), manifest.get("tuning")], "config"
    return {str(part[key]) for part in parts if isinstance(part, dict) and part.get(key)}


def _annotated(manifest: Manifest) -> dict[str, Any]:
    """The settings of a RAGEngine, as a reference."""
    metadata = manifest.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    given = annotations if isinstance(annotations, dict) else {}
    return {"name": given.get(labels.RAG_SETTINGS_ANNOTATION)}


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
