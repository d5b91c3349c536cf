"""`tuning.data.read` in the image's environment: a line of JSON in, one out."""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path
from typing import Any

from tuning.config import DatasetOptions
from tuning.data.read import read
from tuning.failures import DataError


def main() -> None:
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)


def answer(asked: dict[str, Any]) -> dict[str, Any]:
    try:
        found = read(
            Path(asked["folder"]),
            DatasetOptions(**asked["options"]),
            asked["template"],
            Path(asked["scratch"]),
        )
    except DataError as error:
        return {"refused": str(error)}
    return {
        "kind": found.kind,
        "train": found.train.to_list() if len(found.train) < 1000 else len(found.train),
        "held_out": found.held_out.to_list(),
        "digest": found.digest,
        "files": found.files,
        "notes": found.notes,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
    }


if __name__ == "__main__":
    main()
