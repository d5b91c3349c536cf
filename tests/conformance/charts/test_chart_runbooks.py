"""Commands of the runbooks, tried on what the charts render: a page read at night must be right."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.conformance.charts.rendering import LOCAL, ROOT, Object, allows, environment, render

PAGES = sorted((ROOT / "docs").rglob("*.md"))
VALUES: dict[str, Object] = {"gpu-provisioner": LOCAL, "workspace": {}}
_CAN_I = re.compile(
    r"auth can-i (?P<verb>\w+) (?P<what>\S+) .*--as=system:serviceaccount:[^:\s]+:(?P<account>\S+)"
)


@dataclass(frozen=True)
class Question:
    """Of `kubectl auth can-i`."""

    verb: str
    resource: str
    group: str
    name: str
    account: str


def questions() -> Iterator[tuple[str, Question]]:
    """With the page that has it."""
    for page in PAGES:
        for found in _CAN_I.finditer(page.read_text()):
            kind, _, name = found["what"].partition("/")
            resource, _, group = kind.partition(".")
            asked = Question(found["verb"], resource, group, name, found["account"].rstrip("`"))
            yield page.stem, asked


def roles(objects: list[Object], account: str) -> Iterator[Object]:
    """Those that are bound to it."""
    for binding in (each for each in objects if each["kind"].endswith("RoleBinding")):
        if account in [each["name"] for each in binding["subjects"]]:
            kind, name = binding["roleRef"]["kind"], binding["roleRef"]["name"]
            yield from (
                each for each in objects if (each["kind"], each["metadata"]["name"]) == (kind, name)
            )


ASKED = [pytest.param(each, id=f"{page}-{each.account}") for page, each in questions()]


@pytest.mark.parametrize("asked", ASKED)
def test_a_healthy_installation_answers_yes(asked: Question) -> None:
    """The account is that of the release named like its chart. A rule for one object by its name
    answers no where the question names none."""
    bound = list(roles(render(asked.account, VALUES[asked.account]), asked.account))
    assert bound
    assert any(allows(each, asked.group, asked.resource, asked.verb, asked.name) for each in bound)


def test_both_controllers_leases_are_asked_for() -> None:
    asked = {each.name for _, each in questions()}
    leases = {
        environment(render(chart, values))["LEADER_ELECTION_NAME"]
        for chart, values in VALUES.items()
    }
    assert asked >= leases


def test_queues_are_asked_of_the_replica_that_has_them() -> None:
    """A Deployment stands for any of its pods, and one that waits has empty queues."""
    wrong = re.compile(r"port-forward[^\n`]*\bdeploy(ment)?/\S+ 8082")
    assert [page.name for page in PAGES if wrong.search(page.read_text())] == []
    leases = re.compile(r"get lease (\S+) -o jsonpath='\{\.spec\.holderIdentity\}'")
    named = {name for page in PAGES for name in leases.findall(page.read_text())}
    assert named == {
        environment(render(chart, values))["LEADER_ELECTION_NAME"]
        for chart, values in VALUES.items()
    }
