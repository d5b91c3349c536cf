"""What the serving images add to their engines: each engine bare and as the image starts it, with
the same flags, both up at the same time and asked in turn, so that whatever else the machine does
meets both alike.

vLLM on CPUs with a Llama of random weights: its tokens cost next to nothing, so what stands before
the engine weighs most. llama.cpp with Gemma 3 270M. BENCH_ROUNDS rounds (60); a figure is the
median of the rounds' ratios, with the interval that 95 of 100 such runs would lie in (bootstrap).

python benchmarks/serving_overhead.py [vllm|llamacpp]...
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from _harness import free_port, machine, report

from localcluster import paths, venvs
from localcluster.models import Models

REPOSITORY = Path(__file__).parents[1]
TINY = REPOSITORY / "tests/engines/serving/tiny_llama.py"
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "60"))
CONNECTIONS = 4
REQUESTS = 8
"""A round and a server, over all connections."""
ALONE = 4
"""Requests a round and a server with nothing beside them, for the time to the first token."""
STARTED_SECONDS = 300
PROMPT = "Write down what the weather was like on the day that the lighthouse was built. "

BARE_LLAMACPP = """\
import signal, sys, xllamacpp
from serving.llamacpp import arguments, server
settings = arguments.parse(sys.argv[1:])
running = xllamacpp.Server(server.parameters(settings, settings.model, ()))
signal.pause()
"""
"""llama.cpp's own server with the image's parameters, and nothing else in the process."""

BEFORE_THE_ENGINE = """\
import asyncio, time
from serving.front.server import Front
scope = {"type": "http", "method": "POST", "path": "/v1/completions", "root_path": "",
         "headers": [(b"authorization", b"Bearer sk-of-the-test")]}
async def engine(scope, receive, send):
    await asyncio.sleep(0)
async def batch(app):
    begun = time.process_time()
    for _ in range(2000):
        await app(scope, None, None)
    return (time.process_time() - begun) / 2000
async def main():
    front = Front(engine, {"KAITO_RATE_LIMIT": "64"})
    costs = [(await batch(front) - await batch(engine)) for _ in range(50)]
    print(sorted(costs)[len(costs) // 2])
asyncio.run(main())
"""
"""Seconds of processor that the front takes a request, its engine answering at once."""


@dataclass
class Server:
    """One of the two, and what was measured of it: a figure a round."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path
    model: str = ""
    request: list[float] = field(default_factory=list)
    """Seconds a request, all connections at work."""
    first: list[float] = field(default_factory=list)
    """Seconds to the first token."""
    cpu: list[float] = field(default_factory=list)
    """Seconds of processor a request, of the server's processes."""


@dataclass(frozen=True, slots=True)
class Pair:
    """How the two are started, less port and host."""

    bare: Sequence[str]
    image: Sequence[str]
    environment: Mapping[str, str]


def environment(**more: str) -> dict[str, str]:
    kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
    ours = f"{REPOSITORY / 'images'}:{REPOSITORY}"
    offline = {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "VLLM_NO_USAGE_STATS": "1"}
    return {**kept, **offline, "PYTHONPATH": ours, "KAITO_DEVICE": "cpu", **more}


def vllm(scratch: Path) -> Pair:
    """Bare with the flags that the image passes, save the ones that put ours before the engine."""
    sys.path.insert(0, str(REPOSITORY / "images"))
    from serving.vllm import arguments

    lock = REPOSITORY / "images/serving/vllm/requirements-cpu.lock"
    python = str(venvs.python(paths.cache_directory(os.environ), lock))
    model = scratch / "model"
    subprocess.run([python, TINY, model], check=True, env=environment())
    words = [f"--model={model}", "--dtype=float32", "--max-model-len=512", "--max-num-seqs=64"]
    words.append(f"--kaito-adapters-dir={scratch / 'none'}")
    ours, rest = arguments.own(words)
    device = arguments.Machine(gpu=False, cpus=1, memory_gib=4)
    launch = arguments.launch(ours, rest, python=python, settings={}, adapters=[], machine=device)
    bare = [word for word in launch.argv if not word.startswith("--middleware")]
    env = environment(**{**launch.environment, "VLLM_CPU_KVCACHE_SPACE": "1"})
    return Pair(bare, [python, "-m", "serving.vllm", *words], env)


def llamacpp(scratch: Path) -> Pair:
    lock = REPOSITORY / "images/serving/llamacpp/requirements.lock"
    cache = paths.cache_directory(os.environ)
    python = str(venvs.python(cache, lock, trimmed=False))
    models = Models(cache)
    models.ensure()
    words = [f"--model={models.directory / 'gemma-3-270m/model.gguf'}", "--ctx-size=2048"]
    words += ["--threads=1", "--parallel=4", f"--kaito-adapters-dir={scratch / 'none'}"]
    bare = [python, "-c", BARE_LLAMACPP, *words]
    return Pair(bare, [python, "-m", "serving.llamacpp", *words], environment())


@contextmanager
def started(argv: Sequence[str], env: Mapping[str, str], log: Path) -> Iterator[Server]:
    port = free_port()
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*argv, f"--port={port}", "--host=127.0.0.1"],
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Server(f"http://127.0.0.1:{port}", process, log)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


async def ready(session: aiohttp.ClientSession, server: Server) -> None:
    end = time.monotonic() + STARTED_SECONDS
    while time.monotonic() < end and server.process.poll() is None:
        try:
            async with session.get(f"{server.url}/health") as health:
                if health.status == 200:
                    break
        except aiohttp.ClientConnectionError:
            pass
        await asyncio.sleep(0.2)
    else:
        raise RuntimeError(server.log.read_text(errors="replace")[-3000:])
    async with session.get(f"{server.url}/v1/models") as models:
        server.model = (await models.json())["data"][0]["id"]


async def ask(session: aiohttp.ClientSession, server: Server, tokens: int) -> float:
    """Seconds to the first line of the answer, which is read to its end."""
    body: dict[str, Any] = {"model": server.model, "prompt": PROMPT, "max_tokens": tokens}
    body |= {"stream": True, "temperature": 0, "ignore_eos": True, "cache_prompt": False}
    begun = time.perf_counter()
    async with session.post(f"{server.url}/v1/completions", json=body) as answer:
        answer.raise_for_status()
        await answer.content.readline()
        first = time.perf_counter() - begun
        await answer.read()
    return first


def cpu_seconds(session: int) -> float:
    """Of the living processes of a session."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # ended meanwhile
        if int(fields[3]) == session:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


async def play(session: aiohttp.ClientSession, server: Server) -> None:
    """One round of one server."""
    firsts = [await ask(session, server, 2) for _ in range(ALONE)]
    server.first.append(statistics.median(firsts))
    before, begun = cpu_seconds(server.process.pid), time.perf_counter()

    async def one_connection() -> None:
        for _ in range(REQUESTS // CONNECTIONS):
            await ask(session, server, 8)

    await asyncio.gather(*(one_connection() for _ in range(CONNECTIONS)))
    server.request.append((time.perf_counter() - begun) / REQUESTS)
    server.cpu.append((cpu_seconds(server.process.pid) - before) / REQUESTS)


async def measure(bare: Server, image: Server) -> None:
    # llama.cpp closes a connection after some requests, so all are closed after one.
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(connector=connector) as session:
        for server in (bare, image):
            await ready(session, server)
            await play(session, server)  # warm
            server.first.clear(), server.request.clear(), server.cpu.clear()
        for number in range(ROUNDS):
            for server in (bare, image) if number % 2 else (image, bare):
                await play(session, server)


def ratio(image: Sequence[float], bare: Sequence[float]) -> tuple[float, float, float]:
    """Median of the rounds' ratios, and the bounds of its 95 % interval."""
    ratios = [one / other for one, other in zip(image, bare, strict=True)]
    chance = random.Random(1)
    again = [statistics.median(chance.choices(ratios, k=len(ratios))) for _ in range(2000)]
    low, *_, high = statistics.quantiles(again, n=40)
    return statistics.median(ratios), low, high


def print_front() -> None:
    """What can be told on a machine with other work: the front alone, in one process."""
    lock = REPOSITORY / "images/serving/vllm/requirements-cpu.lock"
    python = str(venvs.python(paths.cache_directory(os.environ), lock))
    command = [python, "-c", BEFORE_THE_ENGINE]
    said = subprocess.run(command, check=True, capture_output=True, text=True, env=environment())
    report("vllm: CPU a request before the engine", f"{float(said.stdout) * 1e6:.1f} µs", "≤ 1 %")


def print_pair(engine: str, bare: Server, image: Server) -> None:
    for name, take in FIGURES.items():
        middle, low, high = ratio(take(image), take(bare))
        alone = statistics.median(take(bare)) * 1000
        report(
            f"{engine}: {name}, bare {alone:.2f} ms",
            f"{(middle - 1) * 100:+.2f} % ({(low - 1) * 100:+.2f} … {(high - 1) * 100:+.2f})",
            "≤ +1 %",
        )


FIGURES: Mapping[str, Callable[[Server], list[float]]] = {
    "time to first token": lambda server: server.first,
    "time a request at 4 connections": lambda server: server.request,
    "CPU a request": lambda server: server.cpu,
}
ENGINES: Mapping[str, Callable[[Path], Pair]] = {"vllm": vllm, "llamacpp": llamacpp}


def main() -> None:
    print(machine())
    for name in sys.argv[1:] or ENGINES:
        with tempfile.TemporaryDirectory(prefix="kaito-overhead-") as folder, ExitStack() as stack:
            scratch = Path(folder)
            pair = ENGINES[name](scratch)
            servers = [
                stack.enter_context(started(argv, pair.environment, scratch / f"{number}.log"))
                for number, argv in enumerate((pair.bare, pair.image))
            ]
            asyncio.run(measure(*servers))
            print_pair(name, *servers)
        if name == "vllm":
            print_front()


if __name__ == "__main__":
    main()
