"""`python -m serving.weights`: weights onto a volume, once, before an engine reads them there.

python -m serving.weights hub --repository=owner/model --revision=COMMIT
python -m serving.weights registry --reference=registry.example/name@sha256:…
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from apis import container
from hub.choice import Request
from hub.repository import ENDPOINT
from oci.errors import TransferError
from oci.progress import Moved
from oci.reference import insecure_hosts
from oci.web import Web
from serving.weights import artifact, hub, progress
from serving.weights.artifact import Told
from serving.weights.gauges import Gauges
from serving.weights.store import Store


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Exit code: 0 once all is there, 1 where it cannot be had; the kubelet then tries again."""
    found = parser().parse_args(list(arguments))
    signal.signal(signal.SIGTERM, _end)
    os.umask(0o022)  # the engine is another user, and reads
    store, gauges = Store(found.into), Gauges(found.into)

    def watch(moved: Moved) -> None:
        gauges.watch(moved)
        _tell(progress.line(moved))

    try:
        if found.source == "hub":
            revision = hub.load(
                Request(found.repository, found.revision, found.file, found.load_format),
                store,
                Web(),
                endpoint=(environment.get(container.ENV_ENDPOINT) or ENDPOINT).rstrip("/"),
                token=environment.get(container.ENV_TOKEN, ""),
                tell=_tell,
                watch=watch,
            )
        else:
            revision = artifact.load(
                found.reference,
                store,
                Web(),
                path=found.path,
                secrets=Path(container.WEIGHTS_CREDENTIALS_DIR),
                insecure=insecure_hosts(environment.get(container.ENV_INSECURE_REGISTRIES, "")),
                told=Told(_tell, watch),
            )
        gauges.done()
    except (TransferError, OSError) as error:
        print(f"serving.weights: {error}", file=sys.stderr, flush=True)
        return 1
    _tell(f"the weights are in {store.snapshots / revision}")
    return 0


def _tell(line: str) -> None:
    print(line, flush=True)


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    """At once: the kernel would spare an init that has no handler, and a download goes on from
    where it was left."""
    os._exit(128 + number)


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(prog="python -m serving.weights", allow_abbrev=False)
    sources = found.add_subparsers(dest="source", required=True)
    of_hub, of_registry = sources.add_parser("hub"), sources.add_parser("registry")
    of_hub.add_argument("--repository", required=True, help="owner/model")
    of_hub.add_argument("--revision", default="", help="a commit; empty: what main was at first")
    of_hub.add_argument("--file", default="", help="the one file of weights, as a GGUF")
    of_hub.add_argument("--load-format", default="", help="mistral: consolidated files")
    of_registry.add_argument("--reference", required=True, help="registry/name@sha256:…")
    of_registry.add_argument("--path", default="", help="a directory that must be in it")
    for each in (of_hub, of_registry):
        each.add_argument("--into", type=Path, default=Path(container.WEIGHTS_DIR))
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
