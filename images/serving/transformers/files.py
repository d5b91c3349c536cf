"""The adapters that the pod was given."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from serving.adapters.archive import CONFIG
from serving.adapters.store import Store, StoreError, apply_strength
from serving.transformers.options import UsageError

if TYPE_CHECKING:  # torch is not there where this is judged without it
    from serving.transformers.adapters import Adapters


def load(weights: Adapters, directory: Path) -> dict[str, tuple[str, Path]]:
    """Handle and folder by name, one adapter a subdirectory. No directory, no adapters."""
    from serving.transformers.adapters import AdapterError

    store = Store(directory)
    store.sweep()
    found = {}
    for name, folder in store.served().items():
        if not (folder / CONFIG).is_file():
            raise UsageError(f"the adapter {name} has no {CONFIG}")
        try:
            apply_strength(folder)
            found[name] = weights.load(folder), folder
        except (StoreError, AdapterError) as error:
            raise UsageError(f"the adapter {name} cannot be loaded: {error}") from error
    return found
