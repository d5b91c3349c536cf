"""The page at /docs: openapi.json for people. FastAPI's own loads Swagger UI from another site,
which a cluster without a way out cannot do, and which could read what is typed there."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
  color: #1a1a1a; background: #fff }
h2 { border-top: 1px solid #8888; padding-top: 1rem; font-size: 1.1rem }
code, pre { font: 13px/1.45 ui-monospace, monospace; background: #8882; border-radius: 4px }
code { padding: .1em .3em } pre { padding: .7rem; overflow-x: auto }
table { border-collapse: collapse; margin: .5rem 0 }
td, th { text-align: left; vertical-align: top; padding: .2rem .9rem .2rem 0 }
.method { font-weight: 700 }
@media (prefers-color-scheme: dark) { body { color: #eee; background: #161616 } a { color: #8cf } }
"""
_METHODS = ("get", "post", "delete")


def page(described: Mapping[str, Any]) -> str:
    title = escape(described["info"]["title"])
    about = escape(described["info"].get("description", ""))
    parts = "".join(
        _operation(described, method, path, operation)
        for path, operations in described["paths"].items()
        for method, operation in operations.items()
        if method in _METHODS
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width">'
        f"<style>{STYLE}</style></head><body><h1>{title}</h1><p>{about}</p>"
        f'<p>For programs: <a href="openapi.json">openapi.json</a></p>{parts}</body></html>'
    )


def _operation(
    described: Mapping[str, Any], method: str, path: str, operation: Mapping[str, Any]
) -> str:
    parts = [
        f'<h2><span class="method">{method.upper()}</span> <code>{escape(path)}</code></h2>',
        f"<p><b>{escape(operation.get('summary', ''))}</b><br>"
        f"{escape(operation.get('description', ''))}</p>",
        _table(_parameters(operation)),
    ]
    if body := operation.get("requestBody"):
        media = body["content"]["application/json"]
        parts.append(_table(_fields(_resolved(described, media["schema"]))))
        parts.append(_example(_resolved(described, media["schema"]), media))
    answers = [
        (escape(status), escape(answer.get("description", "")))
        for status, answer in sorted(operation.get("responses", {}).items())
    ]
    return "".join([*parts, _table(answers)])


def _parameters(operation: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for each in operation.get("parameters", ()):
        schema = each.get("schema", {})
        name = f"<code>{escape(each['name'])}</code> in {escape(each['in'])}"
        yield name, escape(_kind(schema)), escape(each.get("description", ""))


def _fields(schema: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    required = schema.get("required", ())
    for name, each in schema.get("properties", {}).items():
        asked = " (required)" if name in required else ""
        about = escape(each.get("description", ""))
        yield f"<code>{escape(name)}</code>{asked}", escape(_kind(each)), about


def _kind(schema: Mapping[str, Any]) -> str:
    """Its type in words, with bounds and default."""
    kinds = [each.get("type") or _last(each) for each in schema.get("anyOf", (schema,))]
    words = " or ".join(str(kind) for kind in kinds if kind)
    bounds = {"minimum": "from", "maximum": "to"}
    for name, word in bounds.items():
        if name in schema:
            words += f" {word} {schema[name]}"
    if "default" in schema:
        words += f", default {json.dumps(schema['default'])}"
    return words


def _last(schema: Mapping[str, Any]) -> str:
    return str(schema.get("$ref", "")).rpartition("/")[2]


def _resolved(described: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    name = _last(schema)
    found = described["components"]["schemas"][name] if name else schema
    return found if isinstance(found, Mapping) else {}


def _example(schema: Mapping[str, Any], media: Mapping[str, Any]) -> str:
    examples = schema.get("examples") or media.get("examples") or ()
    found = next(iter(examples), None)
    text = json.dumps(found, indent=2, ensure_ascii=False)
    return f"<pre>{escape(text)}</pre>" if found is not None else ""


def _table(rows: Any) -> str:
    lines = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table>{lines}</table>" if lines else ""
