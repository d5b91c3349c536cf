"""Which release this is: what `--version` says, and what provenance names as the builder."""

from __future__ import annotations

import importlib.metadata

DISTRIBUTION = "kaito-py"


def distribution() -> str:
    """The distribution's version; `unreleased` where it runs from a checkout alone."""
    try:
        return importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return "unreleased"
