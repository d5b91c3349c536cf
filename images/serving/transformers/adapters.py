"""LoRA adapters beside the model: loaded by PEFT, one of them at work in a step."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from peft import PeftConfig, PeftModel


class AdapterError(Exception):
    """The adapter cannot be served; the message is for the user, in one line."""


class Adapters:
    """By handles, which are made here: PEFT's names may hold no dot, and the same adapter may be
    there twice while it is replaced. On the engine's thread alone."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._peft: Any = None
        self._handles = (f"adapter{number}" for number in itertools.count(1))
        self._active = ""

    def load(self, folder: Path) -> str:
        """The handle. AdapterError leaves the model as it was."""
        handle = next(self._handles)
        config = _config(folder)
        _attempt(lambda: self._add(handle, config))
        try:
            missing, unexpected = _attempt(lambda: self._fill(handle, folder))
            if missing or unexpected:
                one = next(iter([*unexpected, *missing]))
                raise AdapterError(f"it is not of this model: its weights and {one} do not match")
        except AdapterError:
            self.delete(handle)
            raise
        self._select(self._active)
        return handle

    def activate(self, handle: str) -> None:
        """The next steps are with this adapter; empty: with none."""
        if handle != self._active:
            self._select(handle)

    def delete(self, handle: str) -> None:
        self._peft.delete_adapter(handle)
        # PEFT makes another one active in its place.
        self._select("" if handle == self._active else self._active)

    def _add(self, handle: str, config: Any) -> None:
        if self._peft is None:
            # Changes the model in place: its layers get a place for adapters.
            self._peft = PeftModel(self._model, config, handle, autocast_adapter_dtype=False)
        else:
            self._peft.add_adapter(handle, config, autocast_adapter_dtype=False)

    def _fill(self, handle: str, folder: Path) -> tuple[list[str], list[str]]:
        found = self._peft.load_adapter(
            str(folder),
            handle,
            autocast_adapter_dtype=False,
            torch_device=str(self._model.device),
        )
        return found.missing_keys, found.unexpected_keys

    def _select(self, handle: str) -> None:
        self._active = handle
        if self._peft is None:
            return
        if handle:
            self._peft.base_model.enable_adapter_layers()
            self._peft.set_adapter(handle, inference_mode=True)
        else:
            self._peft.base_model.disable_adapter_layers()


def _config(folder: Path) -> Any:
    try:
        with warnings.catch_warnings():
            # It tells of keys that it does not know; the strength that was applied is one.
            warnings.simplefilter("ignore", UserWarning)
            config = PeftConfig.from_pretrained(str(folder))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise AdapterError(_line(error)) from error
    if config.is_prompt_learning:
        raise AdapterError(f"it is of the kind {config.peft_type.value}, which is no LoRA adapter")
    config.inference_mode = True
    return config


def _attempt(action: Callable[[], Any]) -> Any:
    """PEFT and torch refuse what does not match by these."""
    try:
        return action()
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, AttributeError) as error:
        raise AdapterError(_line(error)) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:500] or type(error).__name__
