"""Label and field selectors, as far as our controllers use them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from kube.meta import Manifest

_SETS = re.compile(r"(\S+) (in|notin) \(([^)]*)\)")


@dataclass(frozen=True)
class Selector:
    labels: str = ""
    fields: str = ""

    @classmethod
    def of(cls, query: dict[str, str]) -> Selector:
        return cls(query.get("labelSelector", ""), query.get("fieldSelector", ""))

    def matches(self, obj: Manifest) -> bool:
        labels = obj["metadata"].get("labels") or {}
        terms = re.split(r",(?![^(]*\))", self.labels) if self.labels else []
        fields = self.fields.split(",") if self.fields else []
        return all(_label(term.strip(), labels) for term in terms) and all(
            _field(term, obj) for term in fields
        )


def _label(term: str, labels: dict[str, str]) -> bool:
    if match := _SETS.fullmatch(term):
        key, operator, values = match.groups()
        among = labels.get(key) in [value.strip() for value in values.split(",")]
        return among == (operator == "in")
    if "!=" in term:
        key, value = term.split("!=")
        return labels.get(key) != value
    if "=" in term:
        key, value = term.replace("==", "=").split("=")
        return labels.get(key) == value
    return term[1:] not in labels if term.startswith("!") else term in labels


def _field(term: str, obj: Manifest) -> bool:
    negated = "!=" in term
    path, value = term.replace("!=", "=").replace("==", "=").split("=")
    found: object = obj
    for part in path.split("."):
        found = found.get(part, "") if isinstance(found, dict) else ""
    return (str(found) == value) != negated
