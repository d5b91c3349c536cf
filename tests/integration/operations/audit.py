"""What programs asked of the API server, by its own audit log."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FORBIDDEN = 403
POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  userGroups: ["system:serviceaccounts:kaito-system"]
- level: None
"""


@dataclass(frozen=True, order=True)
class Grant:
    """A verb on a resource, or on a subresource: `pods/eviction`."""

    group: str
    resource: str
    verb: str

    def __str__(self) -> str:
        return f"{self.verb} {self.group or 'core'}/{self.resource}"


@dataclass(frozen=True)
class Asked:
    """One request that was answered."""

    account: str
    grant: Grant
    code: int
    uri: str
    decision: str
    """The authorizer's: allow or forbid. Admission may refuse what that allowed."""


def flags(folder: Path) -> dict[str, str]:
    """Of a kube-apiserver that writes the log into the folder."""
    policy = folder / "audit-policy.yaml"
    policy.write_text(POLICY)
    return {"audit-policy-file": str(policy), "audit-log-path": str(_log(folder))}


def read(folder: Path) -> list[Asked]:
    """All of it that concerns resources."""
    lines = _log(folder).read_text().splitlines()
    return [_asked(event) for event in map(json.loads, lines) if event.get("objectRef")]


def used(asked: Iterable[Asked], account: str) -> set[Grant]:
    """What the account was allowed to do, and did; be it that there was no such object."""
    return {
        grant
        for each in asked
        if each.account == account and each.code != FORBIDDEN
        for grant in _grants(each)
    }


def refused(asked: Iterable[Asked]) -> set[tuple[str, str, str]]:
    """Who was refused what. Admission's refusals count unless the same was let through later: it
    takes a moment until it knows new kinds."""
    asked = list(asked)
    later = {(each.account, each.grant, each.uri) for each in asked if each.code < 300}
    return {
        (each.account, str(each.grant), each.uri)
        for each in asked
        if each.code == FORBIDDEN
        and (each.decision != "allow" or (each.account, each.grant, each.uri) not in later)
    }


def granted(rules: Iterable[Mapping[str, Any]]) -> set[Grant]:
    """By the rules of Roles."""
    return {
        Grant(group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def _grants(asked: Asked) -> Iterator[Grant]:
    yield asked.grant
    if asked.grant.verb == "patch" and asked.code == 201:
        # A server-side apply of what is not there yet is asked about twice.
        yield Grant(asked.grant.group, asked.grant.resource, "create")


def _asked(event: Mapping[str, Any]) -> Asked:
    what = event["objectRef"]
    resource = "/".join(filter(None, (what["resource"], what.get("subresource", ""))))
    return Asked(
        account=event["user"]["username"].rpartition(":")[2],
        grant=Grant(what.get("apiGroup", ""), resource, event["verb"]),
        code=event["responseStatus"]["code"],
        uri=event["requestURI"],
        decision=event.get("annotations", {}).get("authorization.k8s.io/decision", ""),
    )


def _log(folder: Path) -> Path:
    return folder / "audit.log"
