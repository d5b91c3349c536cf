"""Rules on the policy that a ConfigMap holds for guardrails."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from apis import container
from apis.errors import Errors, FieldError, did_you_mean, one_of
from apis.kaito.v1beta1.ragengine import RAGEngine
from apis.kaito.validation.facts import Facts, no_config_map
from apis.kaito.validation.rag import names, parts
from apis.kaito.validation.rag.judged import Judged

_PATH = "spec.guardrails.configMapRef.name"
_KEY = container.RAG_GUARDRAILS_KEY


def policy(engine: RAGEngine, facts: Facts) -> Errors:
    """R-6. Without a name it is the release's own, which needs no check."""
    name = policy_name(engine)
    if not name or facts.config_map is None:
        return
    data = facts.config_map(name)
    where = f'ConfigMap "{name}"'
    if data is None:
        yield no_config_map(_PATH, name, engine.metadata.namespace)
    elif _KEY not in data:
        yield FieldError(_PATH, f"{where} has no key {_KEY}")
    else:
        _, wrong = _read(data[_KEY])
        if wrong:
            yield FieldError(_PATH, f"key {_KEY} of {where}: {wrong}")


def reference(engine: RAGEngine, _: Facts) -> Errors:
    asked = parts.guardrails(engine)
    if asked is not None and asked.config_map_ref is not None:
        yield from names.config_map(_PATH, asked.config_map_ref.name)


def policy_name(engine: RAGEngine) -> str:
    """The ConfigMap that is looked at; empty where none is."""
    asked = parts.guardrails(engine)
    if asked is None or not asked.enabled or asked.config_map_ref is None:
        return ""
    return asked.config_map_ref.name


def notes(engine: RAGEngine, facts: Facts) -> Errors:
    """What a policy that is taken says without effect: the service leaves it out, and goes on."""
    name = policy_name(engine)
    data = facts.config_map(name) if name and facts.config_map is not None else None
    document, wrong = _read((data or {}).get(_KEY, ""))
    if not data or wrong:
        return
    for sentence in _without_effect(document):
        yield FieldError(_PATH, f'key {_KEY} of ConfigMap "{name}": {sentence}')


def _read(text: str) -> tuple[dict[str, Any], str]:
    """The document; and what keeps it from being a policy."""
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        return {}, f"no YAML (line {mark.line + 1})" if mark else "no YAML"
    if not isinstance(document, dict):
        return {}, "must be a map, with action, blockMessage and scanners"
    scanners = document.get("scanners")
    if scanners is not None and not isinstance(scanners, list):
        return {}, "scanners must be a list"
    return document, ""


def _without_effect(document: dict[str, Any]) -> Iterator[str]:
    scanners = document.get("scanners") or []
    if not scanners:
        yield "has no scanners, so nothing is looked for"
    for at, scanner in enumerate(scanners):
        given = scanner.get("type") if isinstance(scanner, dict) else None
        kind = str(given or "").strip().lower().replace("-", "_")
        if kind not in container.RAG_SCANNERS:
            hint = did_you_mean(kind, container.RAG_SCANNERS)
            yield (
                f'scanners[{at}] makes the policy void: type "{given or ""}" is not one of'
                f" {one_of(container.RAG_SCANNERS)}{hint}"
            )


RULES = (Judged(reference, parts.guardrails), Judged(policy, policy_name))
