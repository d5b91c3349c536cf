"""What tests on the local cluster see it by: its machines API, its objects, and patience."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from localcluster.cluster import Cluster

T = TypeVar("T")

REPOSITORY = Path(__file__).parents[2]


class Machines:
    """A client of the machines API. The token is read anew: it changes with each `down`."""

    def __init__(self, cluster: Cluster) -> None:
        self._url = f"{cluster.machines_url}/v1"
        self._token = cluster.state.machines_token

    def call(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Status and decoded body, of a refusal too."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self._token.read_text().strip()}"}
        request = urllib.request.Request(  # noqa: S310
            f"{self._url}{path}", data, headers, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """The decoded body of an answer that is no refusal."""
        status, answer = self.call(method, path, body)
        assert status < 300, (status, answer)
        return answer

    def create(self, name: str, kind: str, **more: object) -> None:
        self.ask(
            "PUT", f"/machines/{name}", {"instanceType": kind, "uid": f"uid-of-{name}", **more}
        )

    def delete(self, name: str) -> None:
        self.call("DELETE", f"/machines/{name}")
        until(lambda: self.call("GET", f"/machines/{name}")[0] == 404, 30)


def until(look: Callable[[], T], seconds: float = 60.0) -> T:
    """The first answer that counts as true."""
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.1)
    return found


def get(kubectl: Callable[..., str], *words: str) -> dict[str, Any]:
    """The object or list as kubectl shows it; {} where there is none."""
    found = kubectl("get", *words, "--ignore-not-found", "-o", "json")
    return dict(json.loads(found)) if found.strip() else {}


def condition(manifest: dict[str, Any], kind: str) -> dict[str, Any]:
    """The condition of that type; {} where it was never set."""
    conditions = manifest.get("status", {}).get("conditions", [])
    return next((each for each in conditions if each["type"] == kind), {})


def serves(kubectl: Callable[..., str], workspace: str) -> bool:
    found = condition(get(kubectl, "workspace", workspace), "InferenceReady")
    return found.get("status") == "True"


def run_demo(*words: str) -> str:
    """Run the demo; its whole output."""
    result = subprocess.run(
        [sys.executable, "-m", "localcluster.demo", *words],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout
