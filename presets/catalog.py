"""The presets that ship with us: YAML by family, read once, when the first name is looked up."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib import resources
from typing import Any

import msgspec

from presets import architectures
from presets.model import DTYPE_BYTES, GIB, Model, kv_bytes, size_in_bytes

DISK_HEADROOM_GIB = 80
"""Beside the weights: images, logs, the engine's caches (upstream's number)."""


class CatalogError(ValueError):
    """A file of the catalogue is wrong; the message names file, model and field."""


class UnknownModelError(LookupError):
    """No preset has that name; the message suggests some that are near."""


class Catalog:
    """Models by name, alias or Hugging Face id; upper and lower case are one."""

    def __init__(self, models: Iterable[Model]) -> None:
        self._models = tuple(models)
        self._index: dict[str, Model] = {}
        for model in self._models:
            for key in {model.name, model.hf_id, *model.aliases}:
                known = self._index.setdefault(key.casefold(), model)
                if known is not model:
                    raise CatalogError(f"{key!r} names both {known.name} and {model.name}")

    def lookup(self, name: str) -> Model | None:
        return self._index.get(name.strip().casefold())

    def get(self, name: str) -> Model:
        """The model, or UnknownModelError with the names that come close."""
        if (model := self.lookup(name)) is not None:
            return model
        near = self.suggestions(name)
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        raise UnknownModelError(f"unknown preset {name!r}{hint}")

    def suggestions(self, name: str, limit: int = 3) -> list[str]:
        """Preset names like the given one, the nearest first."""
        wanted = name.strip().casefold()
        # A name without its organisation should find its like with it, and the reverse.
        close = difflib.get_close_matches(wanted, self._index, n=3 * limit, cutoff=0.6)
        close += [key for key in self._index if wanted and wanted in key]
        names = dict.fromkeys(self._index[key].name for key in close)
        return list(names)[:limit]

    def names(self) -> list[str]:
        return sorted(model.name for model in self._models)

    def __iter__(self) -> Iterator[Model]:
        return iter(self._models)

    def __len__(self) -> int:
        return len(self._models)


@cache
def load() -> Catalog:
    """The catalogue that ships with us; CatalogError where one of its files is wrong."""
    folder = resources.files("presets").joinpath("models")
    files = sorted(folder.iterdir(), key=lambda file: file.name)
    return Catalog(
        model
        for file in files
        if file.name.endswith(".yaml")
        for model in parse(file.read_bytes(), file.name)
    )


def lookup(name: str) -> Model | None:
    """The shipped model of that name, alias or Hugging Face id."""
    return load().lookup(name)


def parse(content: bytes, file: str) -> list[Model]:
    """One family's file: `defaults` for all its models, then `models`."""
    try:
        family = msgspec.yaml.decode(content, type=_Family)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise CatalogError(f"{file}: {error}") from error
    models = []
    for number, entry in enumerate(family.models):
        label = entry.get("name") or entry.get("hf_id") or f"models[{number}]"
        try:
            models.append(_model({**family.defaults, **entry}))
        except (msgspec.ValidationError, ValueError) as error:
            raise CatalogError(f"{file}: {label}: {error}") from error
    return models


class _Family(msgspec.Struct, forbid_unknown_fields=True):
    models: list[dict[str, Any]]
    defaults: dict[str, Any] = {}


def _model(entry: Mapping[str, Any]) -> Model:
    """An entry as written: `weights: 27.31Gi`, name from the Hugging Face id, sizes derived."""
    fields = dict(entry)
    if "weights" in fields:
        fields["weights_bytes"] = _size(fields.pop("weights"))
    if "hf_id" in fields:
        fields.setdefault("name", str(fields["hf_id"]).rsplit("/", 1)[-1].casefold())
    derive_kv = "kv_bytes_per_token" not in fields
    fields.setdefault("lora", architectures.supports_lora(str(fields.get("architecture", ""))))
    model = msgspec.convert({"kv_bytes_per_token": 0, **fields}, Model, strict=True)
    size_in_bytes(model.upstream.weights)
    if derive_kv:
        model = _with_kv_bytes(model)
    if not model.disk_gib:
        disk = int(model.upstream_weights_bytes / GIB + DISK_HEADROOM_GIB)
        model = msgspec.structs.replace(model, disk_gib=disk)
    return model


def _size(text: object) -> int:
    if not isinstance(text, str):
        raise ValueError("`weights` must be a text such as `27.31Gi`")
    try:
        return size_in_bytes(text)
    except ValueError as error:
        raise ValueError(f"`weights`: {error}") from error


def _with_kv_bytes(model: Model) -> Model:
    if model.kv_dtype not in DTYPE_BYTES:
        raise ValueError(f"`kv_dtype` is none of {', '.join(DTYPE_BYTES)}")
    found = kv_bytes(model, layers=model.kept_layers, value_bytes=DTYPE_BYTES[model.kv_dtype])
    if not found:
        raise ValueError("`kv_bytes_per_token` is missing, and layers, kv_heads or head_dim too")
    return msgspec.structs.replace(model, kv_bytes_per_token=found)
