"""What lies on disk: the adapters that the pod was given."""

from __future__ import annotations

import json
from pathlib import Path

from serving.vllm.arguments import Adapter, UsageError

_DEFAULT_RANK = 8
"""PEFT's, where adapter_config.json does not say."""


def adapters(directory: Path) -> list[Adapter]:
    """One adapter a subdirectory, named after it. No directory, no adapters."""
    if not directory.is_dir():
        return []
    return [_adapter(folder) for folder in sorted(directory.iterdir()) if folder.is_dir()]


def _adapter(folder: Path) -> Adapter:
    path = folder / "adapter_config.json"
    try:
        found = json.loads(path.read_text())
        return Adapter(folder.name, str(folder), int(found.get("r", _DEFAULT_RANK)))
    except FileNotFoundError:
        raise UsageError(f"the adapter {folder.name} has no {path.name}") from None
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise UsageError(f"the adapter {folder.name} has no usable {path.name}: {error}") from error
