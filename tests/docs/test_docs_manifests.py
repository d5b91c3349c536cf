"""Blocks of YAML and JSON can be read, and manifests in them are of the schemas that we serve.

A block without `kind` is part of a Workspace or RAGEngine where its keys say so: then every field
in it is one that there is, though not all that are required are in it.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema
import pytest
import yaml

from tests.docs.commands import typed
from tests.docs.pages import ROOT, Block, blocks

_PLACEHOLDER = re.compile(r"…")


def documents(block: Block) -> list[Any]:
    """What the block holds; what a shell feeds to kubectl as well."""
    if block.info in {"yaml", "yml"}:
        text = re.sub(r"^\s*…$", "", block.text, flags=re.MULTILINE)  # what is left out
        return [each for each in yaml.safe_load_all(text) if each is not None]
    if block.info == "bash":
        fed = [line.document for line in typed(block) if "kubectl" in line.text]
        return [each for text in fed for each in yaml.safe_load_all(text) if each is not None]
    return []


BLOCKS = [block for block in blocks() if block.info != "inline"]


def schemas() -> dict[tuple[str, str], dict[str, Any]]:
    """By apiVersion and kind."""
    found = {}
    for path in (ROOT / "apis" / "crds").glob("*.yaml"):
        spec = yaml.safe_load(path.read_text())["spec"]
        for version in spec["versions"]:
            name = f"{spec['group']}/{version['name']}"
            found[name, spec["names"]["kind"]] = version["schema"]["openAPIV3Schema"]
    return found


SCHEMAS = schemas()


def strict(schema: Mapping[str, Any], *, whole: bool) -> dict[str, Any]:
    """Unknown fields are refused, as kubectl's strict validation does; of a part nothing is
    required, and rules that only the API server can run are left to it."""
    made = copy.deepcopy(dict(schema))
    made.setdefault("properties", {}).setdefault("metadata", {"type": "object"})
    _harden(made, whole)
    return made


def _harden(schema: dict[str, Any], whole: bool) -> None:
    open_ended = (
        schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    )
    if "properties" in schema and not open_ended:
        schema["additionalProperties"] = False
    if not whole:
        schema.pop("required", None)
    schema.pop("format", None)
    for child in _children(schema):
        _harden(child, whole)


def _children(schema: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name, child in schema.get("properties", {}).items():
        if name != "metadata":
            yield child
    for key in ("items", "additionalProperties"):
        if isinstance(child := schema.get(key), dict):
            yield child


_PARTS = {
    "Workspace": ("kaito.sh/v1beta1", {"resource", "inference", "tuning"}),
    "RAGEngine": ("kaito.sh/v1beta1", {"spec"}),
}


def refusal(document: Any) -> str:
    """Why it is none that can be applied; empty where it can, or where it is no manifest."""
    if not isinstance(document, dict):
        return ""
    kind, version = document.get("kind"), document.get("apiVersion")
    if kind is None:
        return _refusal_of_part(document)
    if not version or not document.get("metadata", {}).get("name"):
        return "a manifest needs apiVersion and metadata.name"
    if schema := SCHEMAS.get((version, kind)):
        return _judged(document, strict(schema, whole=True))
    ours = {group.partition("/")[0] for group, _ in SCHEMAS}
    return f"no such kind: {version} {kind}" if version.partition("/")[0] in ours else ""


def _refusal_of_part(document: Mapping[str, Any]) -> str:
    version, roots = _PARTS["Workspace"]
    if not (set(document) & roots and set(document) <= {*roots, "metadata", "status"}):
        return ""
    return _judged(document, strict(SCHEMAS[version, "Workspace"], whole=False))


def _judged(document: Any, schema: Mapping[str, Any]) -> str:
    validator = jsonschema.Draft7Validator(schema)
    errors = [
        error
        for error in validator.iter_errors(document)
        if not (isinstance(error.instance, str) and _PLACEHOLDER.search(error.instance))
    ]
    return "; ".join(f"{error.json_path}: {error.message[:200]}" for error in errors)


def judged() -> list[tuple[Block, Any]]:
    return [(block, document) for block in BLOCKS for document in documents(block)]


def test_manifests_are_of_our_schemas():
    found = judged()
    assert sum(1 for _, each in found if isinstance(each, dict) and "kind" in each) > 10
    assert not [f"{block}: {why}" for block, each in found if (why := refusal(each))]


@pytest.mark.parametrize("block", [each for each in BLOCKS if each.info == "json"], ids=str)
def test_json_can_be_read(block: Block):
    """As one document, or as one in each line."""
    try:
        json.loads(block.text)
    except ValueError:
        for line in block.text.splitlines():
            json.loads(line)


def test_a_wrong_manifest_is_seen():
    name = {"apiVersion": "kaito.sh/v1beta1", "kind": "Workspace", "metadata": {"name": "x"}}
    right = {**name, "resource": {"instanceType": "x", "labelSelector": {}}}
    assert not refusal(right)
    assert "unexpected" in refusal({**right, "inference": {"preset": {"nmae": "phi-4"}}})
    assert "required" in refusal({**name, "resource": {}})
    assert "unexpected" in refusal({"inference": {"presets": {"name": "phi-4"}}})
    assert "no such kind" in refusal({**name, "kind": "Workspaec"})
