"""The audit of the locks: what always holds, and what is said where no advisories can be had."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
import time
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from localcluster import audit, locks
from localcluster.audit import Accepted, Finding, Memory, NotAuditedError

TODAY = date(2026, 11, 22)
FOUND = Finding("example", "1.0", ("GHSA-1", "CVE-1"), ("1.1",))
HASH = f"--hash=sha256:{'0' * 64}"


def _accepted(id_: str = "CVE-1", package: str = "example", until: str = "2026-12-01") -> Accepted:
    return Accepted(id_, package, "not called by us", date.fromisoformat(until))


def _answer(*dependencies: dict[str, Any]) -> str:
    return json.dumps({"dependencies": dependencies})


VULNERABLE = {
    "name": "example",
    "version": "1.0",
    "vulns": [{"id": "GHSA-1", "aliases": ["CVE-1"], "fix_versions": ["1.1"]}],
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A working tree that has nothing to object to."""
    (tmp_path / "images/a").mkdir(parents=True)
    (tmp_path / "images/a/requirements.in").write_text("example>=1,<2\n")
    (tmp_path / "images/a/requirements.lock").write_text(
        f"# by make lock, https://example.com\nexample==1.0 ; python_version > '3' \\\n    {HASH}\n"
    )
    (tmp_path / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling>=1,<2"]\n'
        '[project]\ndependencies = ["example>=1,<2"]\n'
        '[project.optional-dependencies]\ncloud = ["b==1"]\n'
        '[dependency-groups]\ndev = ["c>=1,<2"]\n'
    )
    return tmp_path


def test_this_working_tree() -> None:
    """All locks, every list of direct dependencies, all licences that are at hand."""
    assert [*locks.problems(audit.ROOT), *locks.licence_problems(audit.ROOT)] == []
    assert len(locks.found(audit.ROOT)) >= 12
    audit.accepted(audit.IGNORED.read_text())


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("images/a/requirements.lock", "example==1.0\n", "has no hash"),
        (
            "images/a/requirements.lock",
            f"example==1.0 \\\n    --hash=md5:0 {HASH[:20]}\n",
            "no hash",
        ),
        (
            "images/a/requirements.lock",
            f"--index-url https://mirror.example/\nexample==1.0 {HASH}\n",
            "no package with an exact version",
        ),
        ("images/a/requirements.lock", f"a==1 \\\n  {HASH}\n  # via https://x\n", ""),
        ("images/a/requirements.lock", f"a==1 @ https://x {HASH}\n", "a place to install from"),
        ("images/a/requirements.lock", f"example>=1.0 {HASH}\n", "no package with an exact"),
        ("images/a/requirements.in", "example\n", "example needs a floor and a ceiling"),
        ("images/a/requirements.in", "example>=1\n", "needs a floor and a ceiling"),
        ("images/a/requirements.in", "example<2  # reason\n", "needs a floor and a ceiling"),
    ],
)
def test_rules_that_need_no_network(tree: Path, file: str, text: str, said: str) -> None:
    assert list(locks.problems(tree)) == []
    (tree / file).write_text(text)
    try:
        told = "\n".join(locks.problems(tree))
    except ValueError as error:
        told = str(error)
    assert said in told
    assert bool(said) is bool(told)


def test_bounds_of_every_list_of_the_project(tree: Path) -> None:
    path = tree / "pyproject.toml"
    path.write_text(path.read_text().replace("<2", ""))
    assert sum("needs a floor and a ceiling" in each for each in locks.problems(tree)) == 3


def test_licences_by_metadata(monkeypatch: pytest.MonkeyPatch, tree: Path) -> None:
    monkeypatch.setattr(locks, "licence", lambda name: "GPL-3.0-only")
    assert list(locks.licence_problems(tree)) == [
        "example has the licence 'GPL-3.0-only', which is on no list"
    ]
    monkeypatch.setattr(locks, "licence", lambda name: "Apache-2.0")
    assert list(locks.licence_problems(tree)) == []


@pytest.mark.parametrize(
    ("told", "allowed"),
    [
        ("MIT-CMU", True),
        ("0BSD OR CC0-1.0", True),
        ("Permit all", False),  # the letters of mit
        ("Limited", False),
        ("GNU Lesser General Public License v3 or later (LGPLv3+)", True),
        ("LGPL-2.1-only", True),
        ("GNU Library or Lesser General Public License (LGPL)", True),
        ("GNU General Public License v3 (GPLv3)", False),
        ("GNU Affero General Public License v3", False),
        ("MIT AND AGPL-3.0-or-later", False),
        ("BSD License / GNU General Public License v2 (GPLv2)", False),
        ("BSD-3-Clause AND GPL-2.0-only", False),
        ("", False),
    ],
)
def test_a_licence_is_known_by_words(
    monkeypatch: pytest.MonkeyPatch, tree: Path, told: str, *, allowed: bool
) -> None:
    monkeypatch.setattr(locks, "licence", lambda name: told)
    assert (list(locks.licence_problems(tree)) == []) is allowed


def test_findings_are_told_with_their_remedy() -> None:
    assert audit.read(_answer(VULNERABLE)) == [FOUND]
    told = list(audit.judged([FOUND], [], TODAY))
    assert told == ["example 1.0: GHSA-1, CVE-1, mended in 1.1"]


def test_a_finding_is_lived_with_until_its_day() -> None:
    assert list(audit.judged([FOUND], [_accepted()], TODAY)) == []
    assert list(audit.judged([FOUND], [_accepted(until="2026-11-22")], TODAY)) == []
    (told,) = audit.judged([FOUND], [_accepted(until="2026-11-21")], TODAY)
    assert "accepted until 2026-11-21; decide anew" in told
    assert list(audit.judged([FOUND], [_accepted(package="other")], TODAY)) == [str(FOUND)]


@pytest.mark.parametrize("lacks", ["id", "package", "reason", "expires"])
def test_nothing_is_lived_with_for_no_reason(lacks: str) -> None:
    entry = {"id": "CVE-1", "package": "a", "reason": "b", "expires": "2026-12-01"}
    lines = [f"{key}: {value}" for key, value in entry.items() if key != lacks]
    with pytest.raises(ValueError, match=lacks):
        audit.accepted("- " + "\n  ".join(lines))


def test_packages_that_the_service_does_not_know_are_not_audited() -> None:
    """A mirror without advisories would else answer that all is well."""
    with pytest.raises(NotAuditedError, match="nothing of 1 packages"):
        audit.read(_answer({"name": "a", "skip_reason": "Dependency not found"}))


def _ended(stdout: str, code: int, stderr: str = "") -> Any:
    return lambda *_, **__: subprocess.CompletedProcess([], code, stdout, stderr)


def test_pip_audit_without_an_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(subprocess, "run", _ended("", 1, "ERROR: no route to host"))
    with pytest.raises(NotAuditedError, match="ended with 1: ERROR: no route"):
        audit.audit(tmp_path / "a.lock")
    monkeypatch.setattr(subprocess, "run", _ended(_answer(VULNERABLE), 1, "Found 1"))
    assert audit.audit(tmp_path / "a.lock") == [FOUND]


def test_the_probe_is_one_request(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotAuditedError, match="does not answer"):
        audit.probe(locks.Locked("a", "1", 1), "http://127.0.0.1:1")


def test_the_probe_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that answers a byte now and then is never too late with the next one."""
    monkeypatch.setattr(audit, "_PROBE_SECONDS", 0.5)
    over = threading.Event()

    def trickle(listener: socket.socket) -> None:
        client, _ = listener.accept()
        with client:
            while not over.wait(0.1):
                client.sendall(b"H")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=trickle, args=(listener,))
        thread.start()
        begun = time.monotonic()
        with pytest.raises(NotAuditedError, match="does not answer"):
            audit.probe(locks.Locked("a", "1", 1), f"http://127.0.0.1:{listener.getsockname()[1]}")
        took = time.monotonic() - begun
        over.set()
        thread.join()
    assert took < 3


def test_a_day_is_remembered_and_the_next_is_not(tree: Path, tmp_path: Path) -> None:
    lock = tree / "images/a/requirements.lock"
    memory = Memory(tmp_path / "cache", TODAY)
    assert memory.recall(lock) is None
    memory.keep(lock, [FOUND])
    assert memory.recall(lock) == [FOUND]
    assert Memory(tmp_path / "cache", date(2026, 11, 23)).recall(lock) is None
    lock.write_text(lock.read_text() + "\n")
    assert memory.recall(lock) is None


@pytest.fixture
def here(tree: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(audit, "ROOT", tree)
    (tree / "audit-ignore.yaml").write_text("[]")
    monkeypatch.setattr(audit, "IGNORED", tree / "audit-ignore.yaml")
    monkeypatch.setattr(audit, "probe", lambda _: None)
    return tree


def test_where_nobody_answers_it_is_said_and_fails_only_if_required(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def mute(_: locks.Locked) -> None:
        raise NotAuditedError("the service does not answer")

    monkeypatch.setattr(audit, "probe", mute)
    assert audit.main([], here / "cache") == 0
    assert "NOT AUDITED for known vulnerabilities: the service" in capsys.readouterr().err
    assert audit.main(["--required"], here / "cache") == 1


def test_who_does_not_answer_is_asked_once_an_hour(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []

    def mute(package: locks.Locked) -> None:
        asked.append(package.name)
        raise NotAuditedError("the service does not answer")

    monkeypatch.setattr(audit, "probe", mute)
    for _ in range(2):
        assert audit.main([], here / "cache") == 0
        assert "NOT AUDITED for known vulnerabilities: the service" in capsys.readouterr().err
    assert len(asked) == 1
    (kept,) = (here / "cache/audit").iterdir()
    long_ago = time.time() - 3700
    os.utime(kept, (long_ago, long_ago))
    assert audit.main([], here / "cache") == 0
    assert len(asked) == 2
    assert audit.main(["--required"], here / "cache") == 1
    assert len(asked) == 3, "where an audit is required it is asked in any case"


def test_a_lock_that_could_not_be_audited_is_left_for_the_hour(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []

    def unknown(lock: Path) -> list[Finding]:
        asked.append(lock)
        raise NotAuditedError("the service knows nothing of 3 packages")

    monkeypatch.setattr(audit, "audit", unknown)
    for _ in range(2):
        assert audit.main([], here / "cache") == 0
    assert len(asked) == 1


def test_findings_fail_where_the_service_answers(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Path] = []

    def answered(lock: Path) -> list[Finding]:
        asked.append(lock)
        return [FOUND]

    monkeypatch.setattr(audit, "audit", answered)
    assert audit.main([], here / "cache") == 1
    assert "audit: example 1.0: GHSA-1" in capsys.readouterr().err
    assert audit.main([], here / "cache") == 1
    assert len(asked) == 1, "asked once a day"
    (here / "audit-ignore.yaml").write_text(
        "- {id: CVE-1, package: example, reason: not called, expires: 9999-01-01}"
    )
    assert audit.main(["--required"], here / "cache") == 0
