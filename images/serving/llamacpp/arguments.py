"""The command line: llama-server's own flags, and KAITO's for the two directories it mounts."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

from apis import container
from serving import config

SECTION = "llamacpp"
"""Of the config file."""


_DRAIN_SECONDS = float(container.DRAIN_SECONDS)

SPLIT_MODES = ("none", "layer", "row")


class UsageError(Exception):
    """The server cannot start as asked; the message is for the user, in one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the server is started with. 0 leaves a number to llama.cpp, save where said."""

    model: Path
    alias: str
    """The `id` in /v1/models; empty is the file's name."""
    host: str
    port: int
    context_size: int
    """Tokens that all requests in work share; 0 is the length the model was trained with."""
    parallel: int
    """Requests in work at once; more wait."""
    threads: int
    """0: as many as the container may use."""
    gpu_layers: int
    """Layers on the GPU, where the wheel has a GPU backend; -1 as many as fit."""
    split_mode: str
    """How several GPUs share the layers: `none`, `layer` or `row`."""
    batch_size: int
    ubatch_size: int
    cache_ram_mib: int
    """Host memory that keeps the state of finished prompts; -1 without limit."""
    embeddings: bool
    chat_template_file: Path | None
    adapters_dir: Path
    drain_seconds: float
    """How long requests in work may go on after SIGTERM."""

    def with_threads(self, threads: int) -> Settings:
        return replace(self, threads=threads)

    def with_context(self, tokens: int) -> Settings:
        return replace(self, context_size=tokens)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def parse(arguments: Sequence[str]) -> Settings:
    """Settings of the command line and of the config file it names, whose options win.

    UsageError and config.ConfigError where they do not hold together.
    """
    parser = _parser()
    first = parser.parse_args(list(arguments))
    if first.kaito_config_file:
        options = config.section(config.load(first.kaito_config_file), SECTION)
        try:
            first = parser.parse_args([*arguments, *config.flags(options)])
        except UsageError as error:
            raise UsageError(f"in `{SECTION}` of the config file: {error}") from None
    return _settings(first)


def _settings(found: argparse.Namespace) -> Settings:
    return Settings(
        model=found.model,
        alias=found.alias,
        host=found.host,
        port=found.port,
        context_size=found.ctx_size,
        parallel=found.parallel,
        threads=found.threads,
        gpu_layers=found.n_gpu_layers,
        split_mode=found.split_mode,
        batch_size=found.batch_size,
        ubatch_size=found.ubatch_size,
        cache_ram_mib=found.cache_ram,
        embeddings=found.embeddings,
        chat_template_file=found.chat_template_file,
        adapters_dir=found.kaito_adapters_dir,
        drain_seconds=found.drain_seconds,
    )


def _parser() -> _Parser:
    parser = _Parser(prog="python -m serving.llamacpp", allow_abbrev=False)
    add = parser.add_argument
    add(
        *("-m", "--model"),
        type=Path,
        default=Path(container.WEIGHTS_DIR),
        help="a .gguf file, or a directory with one",
    )
    add("-a", "--alias", "--served-model-name", default="", help="the model's name in requests")
    add("--host", default="0.0.0.0", help="address to listen on")
    add("--port", type=_count(1), default=container.PORT)
    add("-c", "--ctx-size", type=_count(0), default=0, help="tokens; 0: the model's own length")
    add("-np", "--parallel", type=_count(1), default=4, help="requests in work at once")
    add("-t", "--threads", type=_count(0), default=0, help="0: what the container may use")
    add("-ngl", "--n-gpu-layers", type=int, default=-1, help="-1: as many as fit")
    add("-sm", "--split-mode", choices=SPLIT_MODES, default="layer", help="over several GPUs")
    add("-b", "--batch-size", type=_count(1), default=2048)
    add("-ub", "--ubatch-size", type=_count(1), default=512)
    add("--cache-ram", type=_count(-1), default=256, help="MiB for finished prompts")
    add("--embeddings", action=argparse.BooleanOptionalAction, default=False)
    add("--chat-template-file", type=Path, default=None, help="Jinja, instead of the model's own")
    add(
        "--drain-seconds",
        type=float,
        default=_DRAIN_SECONDS,
        help="for requests in work after SIGTERM",
    )
    add("--kaito-adapters-dir", type=Path, default=Path(container.ADAPTERS_DIR))
    add("--kaito-config-file", type=Path, default=None)
    return parser


class _count:  # noqa: N801  # argparse prints the converter's name
    """An integer of at least so much."""

    def __init__(self, least: int) -> None:
        self._least = least

    def __call__(self, text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None
        if number < self._least:
            raise argparse.ArgumentTypeError(f"{number} is less than {self._least}")
        return number
