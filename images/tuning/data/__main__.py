"""`python -m tuning.data`: the data onto its volume, before the trainer reads it there.

The environment says where it comes from: DATA_URLS, KAITO_DATA_IMAGE or KAITO_DATA_REPOSITORY.
What is there already is not fetched again, and what was left half is gone on with.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from apis import container, reports
from oci.errors import TransferError, UnreachableError
from oci.progress import Moved
from oci.reference import insecure_hosts
from oci.web import Web
from tuning import config as configs
from tuning import settings
from tuning.data import bundles, urls
from tuning.failures import Failure, told
from tuning.settings import Settings

_MIB = 1 << 20
_COMPLETE = ".kaito-complete"


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """0 once all is there; 65 where it cannot be had, 69 where a server does not answer, 78 where
    the config cannot be read."""
    signal.signal(signal.SIGTERM, _end)
    os.umask(0o022)  # another user trains, and reads
    found = settings.read(arguments, environment, "tuning.data")
    with told(found.termination_log):
        try:
            _fetch(found, environment)
        except UnreachableError as error:
            raise Failure(reports.EXIT_UNREACHABLE, f"the data cannot be had: {error}") from error
        except TransferError as error:
            raise Failure(reports.EXIT_BAD_DATA, f"the data cannot be had: {error}") from error
        except OSError as error:
            raise Failure(reports.EXIT_UNREACHABLE, f"{found.data_dir}: {error}") from error
    return 0


def _fetch(found: Settings, environment: Mapping[str, str]) -> None:
    folder, web = found.data_dir, Web()
    folder.mkdir(parents=True, exist_ok=True)
    source = _source(environment)
    if _done(folder) == source:
        _tell("the data is already here")
        return
    if wanted := environment.get(container.ENV_DATA_URLS, "").split():
        urls.fetch(wanted, folder, web, _watch, _tell)
    elif wanted_image := environment.get(container.ENV_DATA_IMAGE, ""):
        bundles.image(
            wanted_image,
            folder,
            web,
            _watch,
            secrets=Path(container.DATA_CREDENTIALS_DIR),
            insecure=insecure_hosts(environment.get(container.ENV_INSECURE_REGISTRIES, "")),
        )
    elif repository := environment.get(container.ENV_DATA_REPOSITORY, ""):
        bundles.data_set(
            repository,
            folder,
            web,
            _watch,
            _tell,
            options=configs.load(found.config_file, found.method).dataset,
            endpoint=environment.get(container.ENV_ENDPOINT, ""),
            token=environment.get(container.ENV_TOKEN, ""),
        )
    (folder / _COMPLETE).write_text(source)
    _tell(f"the data is in {folder}")


def _source(environment: Mapping[str, str]) -> str:
    """A digest of what was asked for: URLs hold secrets. TransferError where it is nothing, or two
    things."""
    names = (container.ENV_DATA_URLS, container.ENV_DATA_IMAGE, container.ENV_DATA_REPOSITORY)
    given = [f"{name}={environment[name]}" for name in names if environment.get(name, "").strip()]
    if len(given) != 1:
        raise TransferError(f"exactly one of {', '.join(names)} must be set, not {len(given)}")
    return hashlib.sha256(given[0].encode()).hexdigest()


def _done(folder: Path) -> str:
    try:
        return (folder / _COMPLETE).read_text()
    except FileNotFoundError:
        return ""


def _watch(moved: Moved) -> None:
    known = {"total": round(moved.total / _MIB, 1)} if moved.total else {}
    of = f" of {known['total']:g}" if known else ""
    eta = moved.eta_seconds
    _tell(
        reports.line(
            reports.Stage(
                stage=reports.DOWNLOAD,
                message=f"data: {moved.done / _MIB:.1f}{of} MiB, {moved.rate / _MIB:.0f} MiB/s",
                done=round(moved.done / _MIB, 1),
                unit="MiB",
                eta_seconds=round(eta, 1) if eta is not None and known else None,
                **known,
            )
        )
    )


def _tell(line: str) -> None:
    print(line, flush=True)


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    """At once: the kernel would spare an init that has no handler, and a download goes on from
    where it was left."""
    os._exit(128 + number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
