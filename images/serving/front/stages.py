"""How far a server has come with its start: a line for the controller, seconds for Prometheus.

A server may be several processes: each notes in one file when it began what, and the one that
answers requests reads it once all is ready.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from apis import container, reports

ENV_FILE = "KAITO_STAGES_FILE"
START = "start"
"""When the first process began."""
_ORDER = (START, reports.LOAD, reports.COMPILE, reports.WARM, reports.READY)


def start(path: Path) -> dict[str, str]:
    """Begin a new file; what goes into the environment of the processes that come.

    Empty where nothing can be written there: the metrics are missing then.
    """
    try:
        path.write_text("")
    except OSError:
        return {}
    note(START, path)
    return {ENV_FILE: str(path)}


def begin(stage: str, message: str = "", environment: Mapping[str, str] = os.environ) -> None:
    """The server has come to that stage."""
    if path := environment.get(ENV_FILE, ""):
        note(stage, Path(path))
    print(reports.line(reports.Stage(stage=stage, message=message)), flush=True)


def note(stage: str, path: Path) -> None:
    """One write, which other processes' writes do not divide."""
    try:
        with path.open("a") as file:
            file.write(json.dumps({"stage": stage, "at": time.time()}) + "\n")
    except OSError:
        return


def seconds(
    environment: Mapping[str, str] = os.environ, weights: Path = Path(container.WEIGHTS_DIR)
) -> dict[str, float]:
    """How long each stage took that is over; `ready`: from the start of the process until now."""
    path = environment.get(ENV_FILE, "")
    found = lasted(_lines(Path(path))) if path else {}
    # Missing where nothing was downloaded, or an older image did it.
    with contextlib.suppress(OSError, ValueError):
        found[reports.DOWNLOAD] = float((weights / container.DOWNLOAD_SECONDS_FILE).read_text())
    return found


def lasted(lines: Iterable[str]) -> dict[str, float]:
    """A stage lasts until the next one begins that was reached, in whichever process first."""
    begun: dict[str, float] = {}
    for line in lines:
        try:
            said = json.loads(line)
            stage, at = str(said["stage"]), float(said["at"])
        except (ValueError, TypeError, KeyError):
            continue  # the file is open to everything in the container
        begun[stage] = min(at, begun.get(stage, at))
    reached = [stage for stage in _ORDER if stage in begun]
    found = {
        stage: max(0.0, begun[after] - begun[stage])
        for stage, after in itertools.pairwise(reached)
        if stage != START
    }
    if START in begun and reports.READY in begun:
        found[reports.READY] = max(0.0, begun[reports.READY] - begun[START])
    return found


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
