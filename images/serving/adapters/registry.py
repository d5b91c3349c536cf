"""An adapter of a registry: what an image has under /data, or the files of an artifact."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

from oci import credentials, files, unpack
from oci.errors import TransferError
from oci.reference import Reference
from oci.registry import Registry
from oci.web import Web
from serving.adapters.archive import CONFIG

_DATA = "data"


def pull(
    source: str, folder: Path, web: Web, *, secrets: Path, insecure: Collection[str] = ()
) -> None:
    """The files of `registry/name:tag`, or of one by digest, into a folder that is not there yet.

    Credentials are tried in the order of the Secrets, and none at last. TransferError where the
    image cannot be had or has no adapter. Other files of the image do not stay.
    """
    registry = Registry(Reference.parse(source, insecure), credentials.load(secrets), web)
    root = folder.with_name(f"{folder.name}.root")
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    try:
        files.pull(registry, root, web, what="the layers of the adapter")
        found = next((each for each in (root / _DATA, root) if (each / CONFIG).is_file()), None)
        if found is None:
            names = ", ".join(sorted(each.name for each in root.iterdir())) or "nothing"
            raise TransferError(f"{source} has no /{_DATA}/{CONFIG}; its root has: {names}")
        unpack.confine(found)
        found.rename(folder)
    finally:
        shutil.rmtree(root, ignore_errors=True)
