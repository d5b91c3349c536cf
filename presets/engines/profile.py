"""What an engine is to those who plan and build for it: one value each, see `registry`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from apis import container
from presets.engines.options import Options
from presets.fits import Engine, Fit
from presets.model import Model

Adapters = Literal["none", "start", "running"]
"""When LoRA adapters can come: never, with the start, or also while the engine runs."""
Format = Literal["safetensors", "gguf", "mistral"]
"""What weights lie in; mistral: `consolidated*` files, with a config of their own."""


@dataclass(frozen=True, slots=True)
class Port:
    """One that the container opens."""

    name: str
    number: int


HTTP = Port("http", container.PORT)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineProfile:
    """Command line and environment are functions of model, plan and what the Workspace decides."""

    name: Engine
    image: str = ""
    """Somebody else's, in full; empty is `<registry>/kaito-serving-<name>` of the release."""
    command: tuple[str, ...] = ()
    """Empty is the image's own entry point."""
    argv: Callable[[Model, Fit, Options], list[str]]
    environment: Callable[[Model, Fit, Options], dict[str, str]]
    ports: tuple[Port, ...] = (HTTP,)
    health_path: str = container.HEALTH_PATH
    gpu: bool = True
    cpu: bool = False
    multi_node: bool = False
    adapters: Adapters = "none"
    strength: bool = False
    """Whether an adapter's strength can be honoured."""
    formats: frozenset[Format] = frozenset({"safetensors"})
    reads_config: bool = True
    """Whether the image reads inference_config.yaml; else the controller makes flags of it."""
    termination_seconds: int = 60
    """From SIGTERM to SIGKILL: for the requests in work, and for letting go of the GPUs."""
    cannot_serve: Callable[[Model], str] = lambda _: ""
    """Why it cannot serve the model, as what follows on its name; empty where it can."""
