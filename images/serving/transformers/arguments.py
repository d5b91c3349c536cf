"""The command line: the flags of KAITO's text-generation server, and what serving needs beside.

Each flag in both spellings, `--served_model_name` and `--served-model-name`. The options of the
config file come last, so that the file wins.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from apis import container, engineoptions
from serving import config
from serving.transformers import options
from serving.transformers.options import UsageError

SECTION = "transformers"
"""Of the config file."""
PIPELINES = ("text-generation", "conversational")
"""KAITO's words; both are the same server."""

_WITHOUT_EFFECT = ("combination_type", "state_dict", "proxies", "output_loading_info")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the server is started with."""

    model: str
    """A directory, or a repository of Hugging Face where `remote` allows it."""
    served_name: str
    revision: str
    remote: bool
    force_download: bool
    cache_dir: str
    dtype: str
    """`auto`, or a name of torch's; empty is auto on GPUs and float32 on CPUs."""
    device_map: str
    trust_remote_code: bool
    chat_template: str
    """A path or a template; empty is the model's own."""
    max_model_len: int | None
    """Tokens of prompt and answer; None: as many as the model knows and memory holds."""
    max_sequences: int
    """Answers in work at once; more wait."""
    prefill_chunk: int
    """Tokens of a prompt that are read in one step, between which the others go on."""
    host: str
    port: int
    adapters_dir: Path
    runtime_adapters: bool
    rate_limit: bool
    loader: Mapping[str, Any] = field(default_factory=dict)
    """See `options`."""
    notes: tuple[str, ...] = ()
    """For the log: what was given and does nothing."""


def parse(arguments: Sequence[str]) -> Settings:
    """Settings of the command line and of the config file it names, whose options win.

    UsageError and config.ConfigError where they do not hold together.
    """
    found, rest = _parse(arguments)
    if found.kaito_config_file:
        section = config.section(config.load(found.kaito_config_file), SECTION)
        try:
            found, rest = _parse([*arguments, *config.flags(section)])
        except UsageError as error:
            raise UsageError(f"with `{SECTION}` of the config file: {error}") from None
    return _settings(found, options.parse(rest))


def _parse(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    return _parser().parse_known_args([_spelled(word) for word in arguments])


def _spelled(word: str) -> str:
    """The name of a flag with dashes; `--no-name` of ours as `--name=false`."""
    if not word.startswith("--"):
        return word
    name, equals, value = word.partition("=")
    name = name.replace("_", "-")
    if name.startswith("--no-") and name.removeprefix("--no-") in _SWITCHES and not equals:
        return f"--{name.removeprefix('--no-')}=false"
    return f"{name}{equals}{value}"


_SWITCHES = (
    "force-download",
    "output-loading-info",
    "allow-remote-files",
    "trust-remote-code",
    "kaito-runtime-adapters",
    "kaito-disable-rate-limit",
)


def _settings(found: argparse.Namespace, loader: Mapping[str, Any]) -> Settings:
    notes = [
        f"--{name} is KAITO's and does nothing here: each adapter is served by its name"
        if name == "combination_type"
        else f"--{name} does nothing here"
        for name in _WITHOUT_EFFECT
        if getattr(found, name)
    ]
    return Settings(
        model=found.pretrained_model_name_or_path,
        served_name=found.served_model_name or found.pretrained_model_name_or_path,
        revision=found.revision,
        remote=found.allow_remote_files,
        force_download=found.force_download,
        cache_dir=found.cache_dir,
        dtype=found.torch_dtype,
        device_map=found.device_map,
        trust_remote_code=found.trust_remote_code,
        chat_template=found.chat_template,
        max_model_len=found.max_model_len,
        max_sequences=found.max_num_seqs,
        prefill_chunk=found.prefill_chunk,
        host=found.host,
        port=found.port,
        adapters_dir=found.kaito_adapters_dir,
        runtime_adapters=found.kaito_runtime_adapters,
        rate_limit=not found.kaito_disable_rate_limit,
        loader=loader,
        notes=tuple(notes),
    )


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m serving.transformers", allow_abbrev=False)
    add = parser.add_argument
    add("--pipeline", choices=PIPELINES, default=PIPELINES[0], help="both are this server")
    add("--pretrained-model-name-or-path", default=container.WEIGHTS_DIR)
    add("--served-model-name", default="", help="the model's name in requests")
    add("--revision", default="main")
    add("--cache-dir", default="")
    add("--torch-dtype", "--dtype", default="", help="auto, float32, bfloat16, float16")
    add("--device-map", default="auto")
    add("--chat-template", default="", help="Jinja or a file of it, instead of the model's own")
    add("--combination-type", default="")
    add("--state-dict", default="")
    add("--proxies", default="")
    for name in _SWITCHES:
        add(f"--{name}", type=_switch, nargs="?", const=True, default=False)
    add("--max-model-len", type=_tokens, default=None, help="tokens of prompt and answer, or auto")
    add("--max-num-seqs", type=_count, default=32, help="answers in work at once")
    add("--prefill-chunk", type=_count, default=512, help="tokens of a prompt read in one step")
    add("--host", default="0.0.0.0", help="address to listen on")
    add("--port", type=_count, default=container.PORT)
    add("--kaito-adapters-dir", type=Path, default=Path(container.ADAPTERS_DIR))
    add("--kaito-config-file", type=Path, default=None)
    return parser


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def _switch(text: str) -> bool:
    try:
        return options.switch(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _tokens(text: str) -> int | None:
    try:
        return engineoptions.tokens(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of tokens") from None


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no positive whole number")
    return int(text)
