"""Programs of the tuning image, each in a process of its own that has torch imported already.

Importing it takes longer than tuning a tiny model. Requests and answers are lines of JSON:
{"start": module, "arguments": […], "environment": {…}, "log": path} → process id
{"wait": process id} → exit code, negative for a signal
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from typing import Any

IMPORTED = ("tuning.run", "tuning.trainer", "tuning.check", "peft", "trl", "datasets", "tiny_model")


def main() -> None:
    for name in IMPORTED:
        importlib.import_module(name)
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        answer = _start(asked) if "start" in asked else _wait(asked["wait"])
        print(json.dumps(answer), flush=True)


def _start(asked: dict[str, Any]) -> int:
    if process := os.fork():
        return process
    code = 1
    try:
        log = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        for descriptor in (1, 2):
            os.dup2(log, descriptor)
        os.environ.clear()
        os.environ.update(asked["environment"])
        module = importlib.import_module(asked["start"])
        code = int(module.main(asked["arguments"], os.environ) or 0)
    except SystemExit as end:
        code = int(end.code or 0)
    except Exception:  # noqa: BLE001  # as the interpreter itself does
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _wait(process: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


if __name__ == "__main__":
    main()
