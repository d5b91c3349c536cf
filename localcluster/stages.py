"""How the demo tells its story: stages with their seconds, by the programs that a user runs."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from localcluster.binaries import Binaries


class DemoError(Exception):
    """A stage did not reach its end; the message says which, and where to look."""


class Stages:
    """Lines with the seconds since the start, so that a reader sees where the time goes."""

    def __init__(self) -> None:
        self._begun = time.monotonic()

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._begun

    def __call__(self, line: str) -> None:
        print(f"[{self.elapsed:6.1f} s] {line}", flush=True)

    def wait(self, title: str, seconds: float, look: Callable[[], str | None]) -> str:
        """Look until there is an answer; a line every ten seconds says that we still wait."""
        deadline, told = time.monotonic() + seconds, time.monotonic()
        while True:
            if (answer := look()) is not None:
                self(f"{title}: {answer}")
                return answer
            now = time.monotonic()
            if now > deadline:
                raise DemoError(f"{title}: not within {seconds:.0f} s")
            if now - told >= 10:
                told = now
                self(f"{title} ...")
            time.sleep(0.25)


class Tools:
    """helm and kubectl against the demo's cluster, as a user would run them."""

    def __init__(self, binaries: Binaries, kubeconfig: Path) -> None:
        self._helm, self._kubectl = binaries.path("helm"), binaries.path("kubectl")
        self._environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}

    def helm(self, *words: str | Path) -> str:
        return self._run([self._helm, *words])

    def kubectl(self, *words: str | Path, stdin: str | None = None) -> str:
        return self._run([self._kubectl, *words], stdin)

    def get(self, *words: str) -> dict[str, Any] | None:
        """An object, or None where it is absent."""
        out = self.kubectl("get", *words, "--ignore-not-found", "-o", "json")
        return json.loads(out) if out.strip() else None

    def show(self, *words: str) -> None:
        """Print a command and what it says."""
        print(f"\n$ kubectl {' '.join(words)}\n{self.kubectl(*words)}", flush=True)

    def _run(self, words: Sequence[str | Path], stdin: str | None = None) -> str:
        argv = [str(word) for word in words]
        result = subprocess.run(
            argv, input=stdin, capture_output=True, text=True, check=False, env=self._environment
        )
        if result.returncode:
            said = (result.stderr or result.stdout).strip()
            raise DemoError(f"{Path(argv[0]).name} {' '.join(argv[1:])}: {said}")
        return result.stdout
