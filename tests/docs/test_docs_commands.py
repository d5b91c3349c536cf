"""Every command that a page has a reader type is one that its program takes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.docs import programs
from tests.docs.commands import Command, commands
from tests.docs.pages import ROOT, Block, blocks

COMMANDS = [command for block in blocks() for command in commands(block)]
_NAMED_KINDS = re.compile(r"^[a-z][\w.,-]*$")
_OF_KINDS = frozenset({"get", "describe", "delete", "annotate", "label", "patch", "edit", "wait"})
_OF_OBJECTS = frozenset({"rollout", "scale", "logs", "port-forward", "exec"})
_VERBS = {"auth": 2, "config": 2, "create": 2, "rollout": 2, "top": 2}
"""How many words a command is of; one, where nothing is said."""
_UNSPOKEN = re.compile(r"…|\[|<|\bNESTED\b")


def of(name: str) -> list[Command]:
    return [command for command in COMMANDS if command.program == name]


def wrong(name: str, refuses: Callable[[Command], str]) -> list[str]:
    """Each command of the program that is refused, with why."""
    asked = ((command, refuses(command)) for command in of(name))
    return [f"{command}: {why}" for command, why in asked if why]


def test_make():
    known = programs.targets()

    def refuses(command: Command) -> str:
        asked = {word for word in command.words[1:] if "=" not in word and not word.startswith("-")}
        return ", ".join(sorted(each for each in asked - known if not _UNSPOKEN.search(each)))

    assert not wrong("make", refuses)


def test_python():
    def refuses(command: Command) -> str:
        if command.words[1:2] != ("-m",) or _UNSPOKEN.search(command.words[2]):
            return ""
        return "" if programs.module_exists(command.words[2]) else "there is no such module"

    assert not wrong("python", refuses)


def test_kaito():
    def refuses(command: Command) -> str:
        words = command.words[1:]
        why = programs.kaito_refuses(words)
        return "" if command.inline and programs.is_kaito_command(words) else why

    assert not wrong("kaito", refuses)


def flags(words: Sequence[str]) -> Iterator[str]:
    for word in words:
        if word == "--":
            return
        if re.match(r"^--?[A-Za-z]", word):
            yield word.partition("=")[0]


def unknown_flags(name: str, verbs: Sequence[str], words: Sequence[str]) -> list[str]:
    known = programs.options(name, *verbs)
    return [
        flag
        for flag in flags(words)
        if flag not in known and not (not flag.startswith("--") and flag[:2] in known)
    ]


def positional(name: str, verbs: Sequence[str], words: Sequence[str]) -> list[str]:
    """What is neither a flag nor the value of one."""
    found, rest = [], iter(words)
    for word in rest:
        if word == "--":
            break
        if word.startswith("-") and word != "-":
            if "=" not in word and programs.takes_value(name, word, *verbs):
                next(rest, None)
            continue
        found.append(word)
    return found


def kubectl_refuses(command: Command) -> str:
    words = list(command.words[1:])
    while words and words[0].startswith("-"):  # kubectl -n NAMESPACE verb …
        words = words[1:] if "=" in words[0] else words[2:]
    if not words or _UNSPOKEN.search(words[0]):
        return ""
    if words[0] == "kaito":
        said = [word for word in words[1:] if not _UNSPOKEN.search(word)]
        return programs.kaito_refuses(said) if said else ""
    verbs = words[: _VERBS.get(words[0], 1)]
    verbs = words[:3] if words[:2] == ["create", "secret"] else verbs
    verbs = words[:1] if verbs[-1].startswith("-") else verbs
    if not programs.is_command("kubectl", *verbs):
        return "no such command"
    if unknown := unknown_flags("kubectl", verbs, words):
        return f"no such flags: {unknown}"
    return unknown_kinds(verbs, positional("kubectl", verbs, words[len(verbs) :]))


def unknown_kinds(verbs: Sequence[str], names: Sequence[str]) -> str:
    if not names or _UNSPOKEN.search(names[0]):
        return ""
    asked = []
    if verbs[0] in _OF_KINDS and "/" not in names[0] and _NAMED_KINDS.match(names[0]):
        asked = names[0].split(",")
    elif verbs[0] in _OF_KINDS | _OF_OBJECTS and "/" in names[0]:
        asked = [names[0].split("/")[0]]
    strange = [kind for kind in asked if not programs.is_resource(kind)]
    return f"no such kinds: {strange}" if strange else ""


def test_kubectl():
    assert len(of("kubectl")) > 150
    assert not wrong("kubectl", kubectl_refuses)


def test_helm():
    def refuses(command: Command) -> str:
        words = command.words[1:]
        if not words or _UNSPOKEN.search(words[0]):
            return ""
        verbs = words[:2] if words[0] in {"get", "show", "repo"} else words[:1]
        if unknown := unknown_flags("helm", verbs, words):
            return f"no such flags: {unknown}"
        named = [each for each in words if each.startswith("charts/") and "<" not in each]
        absent = [each for each in named if not (ROOT / each).exists()]
        return f"there is no {absent}" if absent else ""

    assert not wrong("helm", refuses)


def with_values() -> list[Command]:
    known = {path.parent.name for path in (ROOT / "charts").glob("*/Chart.yaml")}
    return [command for command in of("helm") if chart_of(command) in known and values_of(command)]


def chart_of(command: Command) -> str:
    """The chart of the repository that the command installs or upgrades, if it is one."""
    found = [Path(word).name for word in command.words if word.startswith("charts/")]
    return found[0] if command.words[1] in {"install", "upgrade", "template"} and found else ""


def values_of(command: Command) -> list[str]:
    """`--set …` and `--values …` of the command, without what is left out of them."""
    found, rest = [], iter(command.words)
    for word in rest:
        name, equals, value = word.partition("=")
        if name in {"--set", "--set-string", "--set-json", "--values", "-f"}:
            value = value if equals else next(rest, "")
            given = re.sub(r"\$\w+|\$\{\w+\}|NESTED|…", "x", value)
            if not name.startswith("--set") and not (ROOT / given).exists():
                continue  # a file of the reader's
            found += [name, given]
    return found


@pytest.mark.parametrize("command", with_values(), ids=str)
def test_charts_take_the_values(command: Command):
    whole = command.words[1] == "install" and "…" not in command.words
    assert not programs.chart_refuses(chart_of(command), values_of(command), whole)


def test_no_upgrade_reuses_values_from_another_version_of_a_chart():
    """The charts refuse it, as it leaves out the defaults of values that are new."""
    assert not [str(each) for each in of("helm") if "--reuse-values" in each.words]


def test_logs_of_a_controller_are_those_of_both_replicas():
    """kubectl chooses one pod of a Deployment otherwise, as likely the standby's."""
    wrong = [
        str(each)
        for each in of("kubectl")
        if "logs" in each.words
        and any(word.startswith(("deploy/", "deployment/")) for word in each.words)
        and not {"--all-pods", "--previous"} & set(each.words)
    ]
    assert not wrong


def test_a_wrong_command_is_seen():
    def first(text: str) -> Command:
        return next(commands(Block("here", 1, "bash", text)))

    assert "no such flags" in kubectl_refuses(first("kubectl get pods --color=red"))
    assert "no such kinds" in kubectl_refuses(first("kubectl -n kaito get workspaecs -o wide"))
    assert kubectl_refuses(first("kubectl kaito stauts"))
    assert kubectl_refuses(first("kubectl frobnicate"))
    assert programs.kaito_refuses(["estimate", "--presett", "phi-4"])
    assert programs.chart_refuses("workspace", ["--set", "nodeProvisoner=byo"], whole=True)
    assert not programs.module_exists("localcluster.nothing")
