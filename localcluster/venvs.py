"""The Python environment of an image on the host, for tests of what runs in it.

From the same lock and the same wheels as the image; an image of 2 GB need not be built, loaded
and run in a pod to see whether a model is tuned.
"""

from __future__ import annotations

import hashlib
import sys
import venv
from pathlib import Path

from localcluster.binaries import locked
from localcluster.commands import run
from localcluster.progress import Say, stage, to_stderr
from localcluster.wheelhouse import Wheelhouse, forget_others

TRIM = Path(__file__).parents[1] / "images/trim.py"


def python(cache: Path, lock: Path, *, trimmed: bool = True, say: Say = to_stderr) -> Path:
    """The interpreter of an environment with what the lock names; made once and kept.

    `trimmed`: without the CUDA libraries, as the CPU images are.
    """
    content = lock.read_bytes() + (TRIM.read_bytes() if trimmed else b"")
    key = hashlib.sha256(sys.version.encode() + content).hexdigest()[:16]
    name = f"{lock.parent.name}-{lock.stem}"
    place = cache / "venvs" / f"{name}-{key}"
    interpreter = place / "bin/python"
    with locked(cache / "venvs" / f".{name}.lock"):
        if not (place / ".complete").exists():
            forget_others(place, name)
            wheels = Wheelhouse(cache / "wheels", say).prepare([lock])
            with stage(say, f"make the environment of {name}"):
                venv.create(place, with_pip=True)
                source = ["--no-index", "--find-links", str(wheels), "--requirement", str(lock)]
                rules = ["--quiet", "--no-deps", "--require-hashes", "--disable-pip-version-check"]
                run([str(interpreter), "-m", "pip", "install", *rules, *source])
                if trimmed:
                    run(
                        [
                            str(interpreter),
                            str(TRIM),
                            next(place.glob("lib/python3.*/site-packages")),
                        ]
                    )
                (place / ".complete").touch()
    return interpreter
