"""`python -m serving.adapters COMMAND`: bring adapters where they are served from.

copy                    from a mounted volume into the pod's directory
fetch                   from Hugging Face into the pod's directory
pull                    from a registry into the pod's directory
sync --url=… [--remove] from the directory into a serving pod that runs, or out of it
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from apis import container
from oci.errors import TransferError
from oci.reference import insecure_hosts
from oci.web import Web
from serving.adapters import huggingface, registry
from serving.adapters.archive import CONFIG, ArchiveError
from serving.adapters.loader import RefusedError, Server

TERMINATION_LOG = Path("/dev/termination-log")
"""What is written here the kubelet puts into the pod's status."""


def main(words: Sequence[str], termination_log: Path = TERMINATION_LOG) -> int:
    parser = argparse.ArgumentParser(prog="python -m serving.adapters", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("copy", "fetch", "pull"):
        commands.add_parser(name)
    sync = commands.add_parser("sync")
    sync.add_argument("--url", required=True)
    sync.add_argument("--token-file", type=Path, default=Path(container.ADAPTERS_TOKEN_FILE))
    sync.add_argument("--remove", action="store_true")
    given = parser.parse_args(list(words))
    try:
        if given.command == "sync":
            _sync(Server(given.url, given.token_file.read_text().strip()), remove=given.remove)
        else:
            _bring(given.command)
    except (ArchiveError, TransferError, RefusedError, OSError) as error:
        message = " ".join(str(error).split())
        print(f"serving.adapters: {message}", file=sys.stderr, flush=True)
        _report(message, termination_log)
        return 1
    return 0


def _bring(command: str) -> None:
    """Into a directory that does not stay half full: init containers may be started again."""
    folder = Path(os.environ[container.ENV_ADAPTER_DIR])
    source = os.environ[container.ENV_ADAPTER_SOURCE]
    draft = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(draft, ignore_errors=True)
    if command == "copy":
        _copy(Path(source), draft)
    elif command == "pull":
        registry.pull(
            source,
            draft,
            Web(),
            secrets=Path(container.ADAPTERS_CREDENTIALS_DIR),
            insecure=insecure_hosts(os.environ.get(container.ENV_INSECURE_REGISTRIES, "")),
        )
    else:
        commit = huggingface.fetch(
            source,
            draft,
            Web(),
            endpoint=os.environ.get(container.ENV_ENDPOINT, ""),
            token=os.environ.get(container.ENV_TOKEN, ""),
        )
        print(f"{source} is of commit {commit}", flush=True)
    if strength := os.environ.get(container.ENV_ADAPTER_STRENGTH, ""):
        (draft / container.ADAPTER_STRENGTH_FILE).write_text(strength)
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)


def _copy(source: Path, draft: Path) -> None:
    if not (source / CONFIG).is_file():
        raise ArchiveError(f"there is no {CONFIG} in the root of the volume")
    ignored = shutil.ignore_patterns(".*", "lost+found")
    # Of the content alone: a volume's owners and modes need not be ours to keep.
    shutil.copytree(source, draft, ignore=ignored, copy_function=shutil.copyfile)


def _sync(server: Server, *, remove: bool) -> None:
    name = os.environ[container.ENV_ADAPTER]
    if remove:
        server.delete(name)
    else:
        server.put(name, Path(os.environ[container.ENV_ADAPTER_DIR]))


def _report(message: str, termination_log: Path) -> None:
    with contextlib.suppress(OSError):  # outside of a pod
        termination_log.write_text(message)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
