"""The adapters that a serving container has on its disk, and which of them it serves.

The pod's init containers write `<name>`; what is uploaded later lies in `<name>@<digest>`, since
vLLM takes equal paths for equal weights. `.served.json` says which directories count. It is
written after each change, so that a container that starts again serves what it served before;
where there is none, the container is the first, and serves what the pod was given.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from apis import container
from serving.adapters.archive import CONFIG

_SERVED = ".served.json"
_INCOMING = ".incoming-"
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_APPLIED = "kaito_strength"
"""In adapter_config.json: what its alpha was multiplied with. Engines pass over it."""


class StoreError(Exception):
    """An adapter cannot be served; the message is for the user, in one line."""


class Store:
    """One directory, on a volume that outlives the container."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def served(self) -> dict[str, Path]:
        """Directories by adapter, in the order of their names."""
        written = self._read()
        if written is None:
            written = {path.name: path.name for path in self._folders() if "@" not in path.name}
        found = {name: self.folder / directory for name, directory in sorted(written.items())}
        return {name: path for name, path in found.items() if path.is_dir()}

    def sweep(self) -> None:
        """Take away what is not served: it was unloaded, or its upload broke off."""
        if self._read() is None:
            return
        kept = set(self.served().values())
        for path in (*self._folders(), *self.folder.glob(f"{_INCOMING}*")):
            if path not in kept:
                shutil.rmtree(path, ignore_errors=True)

    def incoming(self) -> Path:
        """A new, empty directory for an upload."""
        return Path(tempfile.mkdtemp(prefix=_INCOMING, dir=self.folder))

    def place(self, name: str, digest: str, incoming: Path) -> Path:
        """The uploaded adapter under its own path, complete or not at all."""
        target = self.folder / f"{name}@{digest}"
        if target.is_dir():
            shutil.rmtree(incoming)
        else:
            incoming.rename(target)
        return target

    def write(self, served: Mapping[str, Path]) -> None:
        """From now on these are served, also by the next container; the rest is taken away."""
        text = json.dumps({name: path.name for name, path in sorted(served.items())})
        draft = self.folder / f"{_SERVED}.new"
        draft.write_text(text)
        draft.replace(self.folder / _SERVED)
        self.sweep()

    def _read(self) -> dict[str, str] | None:
        try:
            found = json.loads((self.folder / _SERVED).read_text())
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def _folders(self) -> list[Path]:
        if not self.folder.is_dir():
            return []
        found = (path for path in self.folder.iterdir() if not path.name.startswith("."))
        return sorted(path for path in found if path.is_dir())


def valid_name(name: str) -> bool:
    """The API's rule for adapters' names, which also keeps them from being paths."""
    return _NAME.fullmatch(name) is not None and ".." not in name


def apply_strength(folder: Path) -> None:
    """Multiply the adapter's alpha with its strength, where it has one: engines add
    `alpha / rank` times the adapter to the model. The second time changes nothing."""
    try:
        strength = float((folder / container.ADAPTER_STRENGTH_FILE).read_text())
    except FileNotFoundError:
        return
    except ValueError as error:
        raise StoreError(f"the strength of {folder.name} is no number") from error
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text())
        if _APPLIED in config:
            return
        _scale(config, strength)
    except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise StoreError(f"the adapter {folder.name} has no usable {CONFIG}: {error}") from error
    config[_APPLIED] = strength
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps(config))
    os.replace(draft, path)


def _scale(config: dict[str, Any], factor: float) -> None:
    config["lora_alpha"] = float(config["lora_alpha"]) * factor
    pattern = config.get("alpha_pattern") or {}
    config["alpha_pattern"] = {key: float(value) * factor for key, value in pattern.items()}
