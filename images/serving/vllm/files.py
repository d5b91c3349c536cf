"""What lies on disk: the adapters that the pod was given."""

from __future__ import annotations

import json
from pathlib import Path

from serving.adapters.archive import CONFIG
from serving.adapters.store import Store, StoreError, apply_strength
from serving.vllm.arguments import Adapter, UsageError

_DEFAULT_RANK = 8
"""PEFT's, where adapter_config.json does not say."""


def adapters(directory: Path) -> list[Adapter]:
    """One adapter a subdirectory, named after it. No directory, no adapters."""
    store = Store(directory)
    store.sweep()
    return [_adapter(name, folder) for name, folder in store.served().items()]


def _adapter(name: str, folder: Path) -> Adapter:
    path = folder / CONFIG
    try:
        apply_strength(folder)
        found = json.loads(path.read_text())
        return Adapter(name, str(folder), int(found.get("r", _DEFAULT_RANK)))
    except FileNotFoundError:
        raise UsageError(f"the adapter {name} has no {path.name}") from None
    except StoreError as error:
        raise UsageError(str(error)) from error
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise UsageError(f"the adapter {name} has no usable {path.name}: {error}") from error
