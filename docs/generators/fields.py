"""Every field of a kind, as the API server will take it: from the CRD that the models make.

The rules are those that stand in the schema; what admission checks beyond it has pages of its own
(docs/workspace/validation.md, docs/rag/validation.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from apis.definitions import NODE_CLAIM, NODE_POOL, RAG_ENGINE, WORKSPACE
from docs.generators.markdown import NOTE, code, table
from kube.crd import Definition

KINDS = (WORKSPACE, RAG_ENGINE, NODE_CLAIM, NODE_POOL)

_EVERYWHERE = frozenset({"apiVersion", "kind", "metadata"})
_BOUNDS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "minLength": "{} or more characters",
    "maxLength": "at most {} characters",
    "minItems": "{} or more entries",
    "maxItems": "at most {} entries",
    "minProperties": "{} or more entries",
    "maxProperties": "at most {} entries",
}
_LONGEST_PATTERN = 90
"""Longer ones tell a reader nothing; their message, or the page of the rules, does."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field; `[]` in its path is an entry of a list, `{}` a value of a map."""

    path: str
    schema: Mapping[str, Any]
    required: bool


def fields(schema: Mapping[str, Any], prefix: str = "") -> Iterator[Field]:
    """Every field below, in the order of the alphabet, parents first."""
    required = schema.get("required", ())
    for name, child in schema.get("properties", {}).items():
        path = f"{prefix}{name}"
        if path in _EVERYWHERE:
            continue
        yield Field(path, child, name in required)
        yield from fields(child, f"{path}.")
        yield from fields(child.get("items", {}), f"{path}[].")
        if isinstance(values := child.get("additionalProperties"), Mapping):
            yield from fields(values, f"{path}{{}}.")


@dataclass(frozen=True, slots=True)
class Notes:
    """What the schema does not say: fields that are this project's, and words where it has none."""

    upstream: Mapping[str, list[str]]
    ours: Mapping[str, list[str]]
    words: Mapping[str, str]

    def is_ours(self, kind: str, path: str) -> bool:
        if any(_below(path, own) for own in self.ours.get(kind, ())):
            return True
        theirs = self.upstream.get(kind)
        return theirs is not None and not any(_below(path, each) for each in theirs)

    def meaning(self, field: Field) -> str:
        said = field.schema.get("description") or field.schema.get("items", {}).get("description")
        name = field.path.rpartition(".")[2]
        return str(said or self.words.get(field.path) or self.words.get(f"*.{name}", ""))


def _below(path: str, root: str) -> bool:
    return path == root or path.startswith((f"{root}.", f"{root}[]", f"{root}{{}}"))


def notes() -> Notes:
    return Notes(**yaml.safe_load(Path(__file__).with_name("fields.yaml").read_text()))


def page(definition: Definition) -> str:
    """The kind in its stored version; other versions are told by how they differ."""
    crd = definition.manifest()["spec"]
    known = notes()
    stored = next(version for version in crd["versions"] if version["storage"])
    schema = stored["schema"]["openAPIV3Schema"]
    names = [definition.plural, *definition.short_names]
    parts = [
        f"# {definition.kind}\n",
        NOTE,
        f"`{definition.group}/{stored['name']}`, {crd['scope'].lower()};"
        f" `kubectl get {' | '.join(names)}`. {_others(crd['versions'], stored['name'])}\n",
        _RULES,
        "## What you write\n",
        _table(definition, schema, known, lambda path: not path.startswith("status")),
    ]
    if rules := _rules_of(schema):
        parts.append("Rules of the whole object:\n\n" + "".join(f"- {rule}\n" for rule in rules))
    parts += [
        "## What you read\n",
        _table(definition, schema, known, lambda path: path.startswith("status")),
        "## Columns of kubectl get\n",
        _columns(stored["additionalPrinterColumns"]),
    ]
    return "\n".join(parts)


_RULES = (
    "*Whose*: a field of upstream's, with its meaning, or **ours**. **Required** holds where the"
    " object around the field is there. A default is what the API server fills in.\n"
)


def _others(versions: list[Mapping[str, Any]], stored: str) -> str:
    """What else is served, and which fields the two do not share."""
    whole = {version["name"]: _paths(version) for version in versions}
    said = []
    for version in versions:
        name = version["name"]
        if name == stored:
            continue
        more, less = whole[name] - whole[stored], whole[stored] - whole[name]
        differs = ", ".join(
            [f"has {code(path)} too" for path in sorted(more)]
            + [f"lacks {code(path)}" for path in sorted(less)]
        )
        deprecated = " (deprecated)" if version.get("deprecated") else ""
        said.append(f"`{name}`{deprecated} is served too: {differs or 'the same fields'}.")
    return " ".join(said)


def _paths(version: Mapping[str, Any]) -> set[str]:
    return {field.path for field in fields(version["schema"]["openAPIV3Schema"])}


def _table(definition: Definition, schema: Mapping[str, Any], known: Notes, wanted: Any) -> str:
    rows = [
        (
            code(field.path),
            ", ".join(
                filter(None, (_type(field.schema), _required(field), _default(field.schema)))
            ),
            "**ours**" if known.is_ours(definition.kind, field.path) else "upstream",
            "; ".join(_rules_of(field.schema)),
            known.meaning(field),
        )
        for field in fields(schema)
        if wanted(field.path) and field.path != "status" and not _forbidden(field.schema)
    ]
    return table(("field", "type", "whose", "validation", "meaning"), rows)


def _required(field: Field) -> str:
    return "**required**" if field.required else ""


def _forbidden(schema: Mapping[str, Any]) -> bool:
    """A field that is only there to be refused with a sentence."""
    return any(rule["rule"] == "false" for rule in schema.get("x-kubernetes-validations", ()))


def _type(schema: Mapping[str, Any]) -> str:
    if schema.get("x-kubernetes-int-or-string"):
        return "quantity"
    name = str(schema.get("format") or schema.get("type", "any"))
    if items := schema.get("items"):
        return f"list of {_type(items)}"
    if isinstance(values := schema.get("additionalProperties"), Mapping):
        return f"map to {_type(values)}"
    return name


def _default(schema: Mapping[str, Any]) -> str:
    if "default" not in schema:
        return ""
    text = yaml.safe_dump(schema["default"], default_flow_style=True).removesuffix("...\n")
    return f"default {code(text.strip())}"


def _rules_of(schema: Mapping[str, Any]) -> list[str]:
    """What the schema asks of the value, or of each entry of a list."""
    found = []
    if values := schema.get("enum"):
        found.append("one of " + ", ".join(code(str(value)) for value in values))
    found += [words.format(schema[key]) for key, words in _BOUNDS.items() if key in schema]
    if len(pattern := schema.get("pattern", "")) > 0:
        short = len(pattern) <= _LONGEST_PATTERN
        found.append(f"matches {code(pattern)}" if short else "matches a pattern (see the CRD)")
    found += [rule["message"] for rule in schema.get("x-kubernetes-validations", ())]
    inner = schema.get("items") or schema.get("additionalProperties")
    if isinstance(inner, Mapping) and "properties" not in inner:
        found += [f"each: {rule}" for rule in _rules_of(inner)]
    return found


def _columns(columns: list[Mapping[str, Any]]) -> str:
    return table(
        ("column", "from", "shown"),
        [
            (
                each["name"],
                code(each["jsonPath"]),
                "with `-o wide`" if each.get("priority") else "always",
            )
            for each in columns
        ],
    )
