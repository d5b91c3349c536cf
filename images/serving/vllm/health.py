"""Probes of a model on several nodes. Only the leader serves, so only the leader is asked.

A worker ends by itself when its leader has gone: `ray start --block` does.
"""

from __future__ import annotations

import argparse
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence

from apis import container

_TIMEOUT_SECONDS = 5.0
_READY = 200


def main() -> int:
    return verdict(sys.argv[1:], os.environ, _status)


def verdict(
    arguments: Sequence[str], environment: Mapping[str, str], status: Callable[[str], int]
) -> int:
    """The probe's exit code. `status` answers with the HTTP status of a URL, 0 for no answer.

    vLLM's /health is 503 once its engine, or an actor of it on another node, has died.
    """
    port = _parse(arguments).vllm_port
    if environment.get(container.ENV_POD_INDEX, "0") != "0":
        return 0
    found = status(f"http://127.0.0.1:{port}{container.HEALTH_PATH}")
    return 0 if found == _READY else 1


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    """KAITO's flags; where the leader is does not matter, as only it asks, and asks itself."""
    parser = argparse.ArgumentParser(prog="multi-node-health-check.py", allow_abbrev=False)
    questions = parser.add_subparsers(required=True)
    for name in ("liveness", "readiness"):
        question = questions.add_parser(name)
        question.add_argument("--leader-address", default="")
        question.add_argument("--ray-port", type=int, default=6379)
        question.add_argument("--vllm-port", type=int, default=container.PORT)
    return parser.parse_args(list(arguments))


def _status(url: str) -> int:
    try:
        # Always our own server on the loopback address.
        with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0
