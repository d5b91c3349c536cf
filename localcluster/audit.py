"""`python -m localcluster.audit`: are there known vulnerabilities in what is locked?

The rules that need no network are always looked at (`localcluster.locks`). Advisories come from a
service, through pip-audit, which cannot be reached from everywhere: then it is said clearly that
nothing was audited, and with `--required` that is a failure. What a day has answered about a lock
is kept for the day; who did not answer is asked again after an hour, or with `--required`.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import yaml

from localcluster import locks, paths

ROOT = Path(__file__).parents[1]
IGNORED = ROOT / "audit-ignore.yaml"
SERVICE = "https://pypi.org/pypi"
"""Whom pip-audit asks: PyPI's JSON interface, which has the advisories of OSV."""
_PROBE_SECONDS = 5.0
"""All in all: names that nobody resolves and answers that drip have no limit of their own."""
_SILENT_SECONDS = 3600
_AUDIT_SECONDS = 600


class NotAuditedError(Exception):
    """The service did not answer, or not about everything; the message says which."""


@dataclass(frozen=True, slots=True)
class Finding:
    """An advisory that holds for a locked version."""

    package: str
    version: str
    ids: tuple[str, ...]
    """Its own, and those that other bodies gave it."""
    fixed: tuple[str, ...] = ()

    def __str__(self) -> str:
        remedy = f"mended in {', '.join(self.fixed)}" if self.fixed else "not mended yet"
        return f"{self.package} {self.version}: {', '.join(self.ids)}, {remedy}"


@dataclass(frozen=True, slots=True)
class Accepted:
    """An advisory that we live with until `expires`, and why."""

    id: str
    package: str
    reason: str
    expires: date


def accepted(text: str) -> list[Accepted]:
    """Of an ignore file; ValueError where one of them lacks its reason or its last day."""
    found = []
    for entry in yaml.safe_load(text) or []:
        missing = [key for key in ("id", "package", "reason", "expires") if not entry.get(key)]
        if missing or not isinstance(entry.get("expires"), date):
            raise ValueError(
                f"{IGNORED.name}: {entry.get('id', 'an entry')} needs"
                f" {', '.join(missing) or 'a day as YYYY-MM-DD in expires'}"
            )
        found.append(Accepted(**{key: entry[key] for key in Accepted.__dataclass_fields__}))
    return found


def judged(
    findings: Sequence[Finding], lived_with: Sequence[Accepted], today: date
) -> Iterator[str]:
    """What must be mended: findings that nobody has accepted, and acceptances that have run out."""
    for each in lived_with:
        if each.expires < today:
            yield f"{IGNORED.name}: {each.id} was accepted until {each.expires}; decide anew"
    known = {(each.package, each.id) for each in lived_with}
    for finding in findings:
        if not any((finding.package, id_) in known for id_ in finding.ids):
            yield str(finding)


def read(answer: str) -> list[Finding]:
    """pip-audit's JSON; NotAuditedError where it was not told about every package."""
    told: Mapping[str, Any] = json.loads(answer)
    if skipped := [each["name"] for each in told["dependencies"] if "skip_reason" in each]:
        some = ", ".join(skipped[:3]) + ("…" if len(skipped) > 3 else "")
        raise NotAuditedError(f"the service knows nothing of {len(skipped)} packages ({some})")
    return [
        Finding(
            package=each["name"],
            version=each["version"],
            ids=(found["id"], *found.get("aliases", ())),
            fixed=tuple(found.get("fix_versions", ())),
        )
        for each in told["dependencies"]
        for found in each["vulns"]
    ]


def audit(lock: Path) -> list[Finding]:
    """Asked now; NotAuditedError."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(sys.executable, "-m", "pip_audit", "--require-hashes", "--disable-pip"),
            *("--progress-spinner", "off", "--format", "json", "--requirement", str(lock)),
        ]
        ended = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            cwd=folder,
            timeout=_AUDIT_SECONDS,
        )
    try:
        return read(ended.stdout)
    except ValueError as error:
        last = (ended.stderr.strip() or "no answer").splitlines()[-1]
        raise NotAuditedError(f"pip-audit ended with {ended.returncode}: {last}") from error


def probe(package: locks.Locked, service: str = SERVICE) -> None:
    """One request of the kind of which an audit makes hundreds; NotAuditedError. A mirror may have
    the pages of projects and none of versions, which are what has the advisories."""
    url = f"{service}/{package.name}/{package.version}/json"
    told: SimpleQueue[Exception | bool] = SimpleQueue()

    def ask() -> None:
        try:
            with urllib.request.urlopen(url, timeout=_PROBE_SECONDS) as answer:  # noqa: S310 - https
                told.put("vulnerabilities" in json.load(answer))
        except (OSError, ValueError, TypeError, http.client.HTTPException) as error:
            told.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        found = told.get(timeout=_PROBE_SECONDS)
    except Empty as error:
        raise NotAuditedError(f"{service} does not answer in {_PROBE_SECONDS:g} s") from error
    if isinstance(found, Exception):
        raise NotAuditedError(f"{service} does not answer ({found})") from found
    if not found:
        raise NotAuditedError(f"{service} answers, but not with advisories")


class Memory:
    """What was answered about a lock today, and for an hour, that nothing was."""

    def __init__(self, folder: Path, today: date) -> None:
        self._folder = folder / "audit"
        self._silence = self._folder / "silence"
        self._today = today

    def silence(self) -> list[str]:
        """Why nothing was answered within the last hour; empty where nobody has asked."""
        try:
            age = time.time() - self._silence.stat().st_mtime
            return self._silence.read_text().splitlines() if age < _SILENT_SECONDS else []
        except FileNotFoundError:
            return []

    def keep_silence(self, why: Sequence[str]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._silence.write_text("\n".join(" ".join(each.split()) for each in why))

    def recall(self, lock: Path) -> list[Finding] | None:
        path = self._path(lock)
        return read(path.read_text()) if path.is_file() else None

    def keep(self, lock: Path, findings: Sequence[Finding]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        for old in self._folder.glob("*.json"):
            if not old.name.startswith(f"{self._today}-"):
                old.unlink(missing_ok=True)
        told = [
            {
                "name": each.package,
                "version": each.version,
                "vulns": [{"id": each.ids[0], "aliases": each.ids[1:], "fix_versions": each.fixed}],
            }
            for each in findings
        ]
        self._path(lock).write_text(json.dumps({"dependencies": told}))

    def _path(self, lock: Path) -> Path:
        return self._folder / f"{self._today}-{hashlib.sha256(lock.read_bytes()).hexdigest()}.json"


def _online(
    root: Path, memory: Memory, *, required: bool = False
) -> tuple[list[Finding], list[str]]:
    """Of all locks, each advisory once; and why what was not audited was not."""
    every = locks.found(root)
    unknown = [lock for lock in every if memory.recall(lock) is None]
    silent = memory.silence() if unknown and not required else []
    if unknown and not silent:
        silent = _asked(root, unknown, memory)
        if silent:
            memory.keep_silence(silent)
    findings = (found for lock in every for found in memory.recall(lock) or ())
    return list(dict.fromkeys(findings)), silent


def _asked(root: Path, unknown: Sequence[Path], memory: Memory) -> list[str]:
    """What is answered goes to the memory; this is why something was not."""
    try:
        probe(locks.packages(unknown[0])[0])
    except NotAuditedError as error:
        return [str(error)]
    silent = []
    for lock in unknown:
        try:
            memory.keep(lock, audit(lock))
        except (NotAuditedError, subprocess.TimeoutExpired) as error:
            silent.append(f"{lock.relative_to(root)}: {error}")
    return silent


def main(arguments: Sequence[str], cache: Path) -> int:
    """1 where something must be mended, or was to be audited and was not."""
    parser = argparse.ArgumentParser(prog="python -m localcluster.audit", description=__doc__)
    parser.add_argument("--required", action="store_true", help="fail where the service is mute")
    required = parser.parse_args(arguments).required
    today = datetime.now(UTC).date()
    wrong = [*locks.problems(ROOT), *locks.licence_problems(ROOT)]
    findings, silent = _online(ROOT, Memory(cache, today), required=required)
    wrong += judged(findings, accepted(IGNORED.read_text()), today)
    for each in wrong:
        print(f"audit: {each}", file=sys.stderr)
    for each in silent:
        print(f"audit: NOT AUDITED for known vulnerabilities: {each}", file=sys.stderr)
    return 1 if wrong or (required and silent) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], paths.cache_directory(os.environ)))
