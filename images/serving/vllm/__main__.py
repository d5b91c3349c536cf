"""`python -m serving.vllm`: read KAITO's flags and files, then become vLLM's own server."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from serving import config, machine
from serving.config import ConfigError
from serving.front import stages
from serving.vllm import arguments, files, records
from serving.vllm.arguments import Launch, Machine, UsageError

DEVICE = "KAITO_DEVICE"
"""Set by the image: cpu or gpu."""
ROLE = "KAITO_INFERENCE_ROLE"
"""prefill or decode, where the two are pods of their own."""


def main() -> int:
    """Exit code 2 for a wrong command line or file; else this process is vLLM's from here on."""
    try:
        wanted = _launch()
    except (ConfigError, UsageError, argparse.ArgumentTypeError) as error:
        print(f"serving.vllm: {error}", file=sys.stderr, flush=True)
        return 2
    for note in wanted.notes:
        print(f"serving.vllm: {note}", file=sys.stderr, flush=True)
    # What the pod sets wins over what the image thinks.
    environment = _stages() | wanted.environment | os.environ
    os.execve(wanted.argv[0], wanted.argv, environment)  # noqa: S606


def _stages() -> dict[str, str]:
    """What makes vLLM's processes tell how far they are; nothing where no file can be made."""
    try:
        directory = Path(tempfile.mkdtemp(prefix="kaito-"))
    except OSError:
        return {}
    return stages.start(directory / "stages") | records.environment(directory, os.environ)


def _launch() -> Launch:
    ours, rest = arguments.own(sys.argv[1:])
    role = bool(os.environ.get(ROLE))
    return arguments.launch(
        ours,
        rest,
        python=sys.executable,
        settings=config.load(ours.config_file, disaggregated=role) if ours.config_file else {},
        adapters=files.adapters(ours.adapters_dir),
        machine=Machine(
            gpu=os.environ.get(DEVICE, "gpu") != "cpu",
            cpus=machine.cpus(),
            memory_gib=machine.memory_gib(),
            exists=lambda path: Path(path).exists(),
        ),
    )


if __name__ == "__main__":
    sys.exit(main())
