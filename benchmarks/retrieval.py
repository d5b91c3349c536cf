"""The retrieval service with MiniLM, on a labelled set of public text (`_passages`): how much of
the embedder's speed ingest reaches, how fast and how right it finds, what it keeps in memory, how
long a restart takes; and llama-index's plain defaults with the same passages and embedder.

The service is the image's program in the image's environment, asked over HTTP. BENCH_PASSAGES
(20000), BENCH_PLAIN (2000: its store is a Python list of lists), BENCH_SECONDS of load (30),
BENCH_BACKEND (onnx, or torch).

python benchmarks/retrieval.py
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
from _harness import free_port, machine, percentile, report
from _passages import Labelled, labelled

from localcluster import paths, venvs
from localcluster.models import Models

REPOSITORY = Path(__file__).parents[1]
PASSAGES = int(os.environ.get("BENCH_PASSAGES", "20000"))
PLAIN = int(os.environ.get("BENCH_PLAIN", "2000"))
SECONDS = float(os.environ.get("BENCH_SECONDS", "30"))
QUERIES = 2000
ROUNDS = 10
CLIENTS = 16
BACKEND: str = os.environ.get("BENCH_BACKEND", "onnx")
"""Of the service's embedder, and of the same alone: onnx or torch."""
RESTARTED = 100_000
UP_SECONDS = 300


class Alone:
    """`_rag_alone.py`, asked and answering by lines."""

    def __init__(self, python: Path, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [python, REPOSITORY / "benchmarks/_rag_alone.py"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def ask(self, name: str, **arguments: Any) -> dict[str, Any]:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps({name: arguments}) + "\n")
        self._process.stdin.flush()
        return dict(json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        self._process.communicate()


@dataclass
class Service:
    """`python -m rag` on a port and a directory."""

    process: subprocess.Popen[bytes]
    url: str
    ready_seconds: float

    @property
    def rss_mib(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024


@contextmanager
def service(python: Path, environment: dict[str, str], directory: Path) -> Iterator[Service]:
    """Until it says that it is healthy."""
    port = free_port()
    told = {
        **environment,
        "DEFAULT_VECTOR_DB_PERSIST_DIR": str(directory),
        "RAG_PORT": str(port),
    }
    begun = time.perf_counter()
    log = directory.with_suffix(".log").open("ab")
    process = subprocess.Popen([python, "-m", "rag"], env=told, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        asyncio.run(_healthy(url))
        yield Service(process, url, time.perf_counter() - begun)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


async def _healthy(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        deadline = time.monotonic() + UP_SECONDS
        while time.monotonic() < deadline:
            try:
                async with session.get(f"{url}/health") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)
    raise TimeoutError(url)


async def put(url: str, index: str, numbered: Sequence[tuple[int, str]]) -> float:
    """Seconds for one request with all of them."""
    documents = [{"text": text, "metadata": {"n": at}} for at, text in numbered]
    timeout = aiohttp.ClientTimeout(total=3600)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        begun = time.perf_counter()
        body = {"index_name": index, "documents": documents}
        async with session.post(f"{url}/index", json=body) as answer:
            answer.raise_for_status()
            said = await answer.json()
        assert len(said) == len(documents)
        return time.perf_counter() - begun


def ingest(alone: Alone, running: Service, model: Path, found: Labelled, scratch: Path) -> None:
    """The embedder alone and ingest in turn, on the same passages."""
    size = PASSAGES // ROUNDS
    ratios, through, bare = [], 0.0, 0.0
    for at in range(ROUNDS):
        part = found.passages[at * size : (at + 1) * size]
        texts = list(part)
        took = alone.ask("embed", model=str(model), texts=texts, save=str(scratch / f"{at}.npy"))[
            "seconds"
        ]
        numbered = [(at * size + n, text) for n, text in enumerate(part)]
        whole = asyncio.run(put(running.url, "bench", numbered))
        ratios.append(took / whole)
        bare, through = bare + took, through + whole
    report("embedder alone, passages a second", f"{PASSAGES / bare:.1f}", "-")
    report("ingest over HTTP, passages a second", f"{PASSAGES / through:.1f}", "-")
    report(
        "ingest, share of the embedder's speed (median of rounds)",
        f"{statistics.median(ratios):.1%}",
        "95 %",
    )


@dataclass
class Load:
    search: list[float] = field(default_factory=list)
    embed: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    health: list[float] = field(default_factory=list)


async def load(url: str, queries: Sequence[str], clients: int) -> Load:
    """So many clients without pauses for SECONDS, /health asked every 50 ms beside them."""
    seen = Load()
    until = time.monotonic() + SECONDS

    async def client(session: aiohttp.ClientSession, at: int) -> None:
        while time.monotonic() < until:
            at = (at + 101) % len(queries)
            begun = time.perf_counter()
            body = {"index_name": "bench", "query": queries[at], "max_node_count": 10}
            async with session.post(f"{url}/retrieve", json=body) as answer:
                answer.raise_for_status()
                await answer.read()
                timing = _timing(answer.headers["Server-Timing"])
            seen.whole.append(1000 * (time.perf_counter() - begun))
            seen.search.append(timing["search"])
            seen.embed.append(timing["embed"])

    async def probe(session: aiohttp.ClientSession) -> None:
        while time.monotonic() < until:
            begun = time.perf_counter()
            async with session.get(f"{url}/health") as answer:
                assert answer.status == 200
            seen.health.append(1000 * (time.perf_counter() - begun))
            await asyncio.sleep(0.05)

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(probe(session), *(client(session, 37 * at) for at in range(clients)))
    return seen


def _timing(header: str) -> dict[str, float]:
    """Milliseconds by name."""
    parts = (each.strip().partition(";dur=") for each in header.split(","))
    return {name: float(value) for name, _, value in parts}


def latency(running: Service, found: Labelled) -> None:
    for clients in (1, CLIENTS):
        seen = asyncio.run(load(running.url, found.queries, clients))
        one = clients == 1
        at = f"{clients} client{'' if one else 's'}"
        targets = ("-", "-", "-") if one else ("15 ms", "50 ms", "50 ms")
        report(f"search, p50, {at}", f"{percentile(seen.search, 0.5):.2f} ms", targets[0])
        report(f"search, p99, {at}", f"{percentile(seen.search, 0.99):.2f} ms", targets[1])
        report(f"the query's embedding, p50, {at}", f"{percentile(seen.embed, 0.5):.1f} ms", "-")
        report(f"/retrieve, p50, {at}", f"{percentile(seen.whole, 0.5):.1f} ms", "-")
        report(f"/retrieve, requests a second, {at}", f"{len(seen.whole) / SECONDS:.0f}", "-")
        report(
            f"/health meanwhile, p99, {at}", f"{percentile(seen.health, 0.99):.1f} ms", targets[2]
        )


async def ranks(url: str, queries: Sequence[str], mode: str) -> list[list[int]]:
    """The passages' numbers, best first."""
    limit = asyncio.Semaphore(8)
    async with aiohttp.ClientSession() as session:

        async def one(query: str) -> list[int]:
            body = {"index_name": "bench", "query": query, "max_node_count": 10, "mode": mode}
            async with limit, session.post(f"{url}/retrieve", json=body) as answer:
                answer.raise_for_status()
                return [each["metadata"]["n"] for each in (await answer.json())["results"]]

        return list(await asyncio.gather(*map(one, queries)))


def ndcg(found: Sequence[Sequence[int]]) -> float:
    """At 10, with one right passage a query: the n-th of the n-th query."""
    gains = (
        1 / math.log2(2 + list(each).index(at)) if at in each[:10] else 0.0
        for at, each in enumerate(found)
    )
    return statistics.fmean(gains)


def quality(alone: Alone, running: Service, model: Path, found: Labelled, scratch: Path) -> None:
    by_mode = {
        mode: asyncio.run(ranks(running.url, found.queries, mode))
        for mode in ("dense", "sparse", "hybrid")
    }
    scores = {mode: ndcg(each) for mode, each in by_mode.items()}
    report("nDCG@10, dense", f"{scores['dense']:.3f}", "-")
    report("nDCG@10, BM25", f"{scores['sparse']:.3f}", "-")
    better = max(scores["dense"], scores["sparse"])
    report("nDCG@10, hybrid", f"{scores['hybrid']:.3f}", f"{better:.3f}")
    asked = scratch / "queries.npy"
    alone.ask("embed", model=str(model), texts=list(found.queries), save=str(asked))
    passages = np.concatenate([np.load(scratch / f"{at}.npy") for at in range(ROUNDS)])
    exact = np.argsort(-(np.load(asked) @ passages.T), axis=1)[:, :10]
    shares = [
        len(set(map(int, wanted)) & set(got)) / 10
        for wanted, got in zip(exact, by_mode["dense"], strict=True)
    ]
    report("recall@10 of exact search", f"{statistics.fmean(shares):.4f}", "0.99")


def plain(alone: Alone, model: Path, found: Labelled) -> None:
    few = found.queries[:200]
    said = alone.ask("plain", model=str(model), documents=found.passages[:PLAIN], queries=few)
    scale = f"llama-index's defaults, {PLAIN} passages"
    report(f"{scale}: passages a second", f"{PLAIN / said['ingest_seconds']:.1f}", "-")
    seconds = [1000 * each for each in said["seconds"]]
    report(f"{scale}: retrieval with embedding, p50", f"{percentile(seconds, 0.5):.1f} ms", "-")
    report(f"{scale}: nDCG@10", f"{ndcg(said['ranks']):.3f}", "-")


async def same_as_plain(running: Service, found: Labelled) -> None:
    """Ours, with as few passages, one after another, as llama-index is asked."""
    await put(running.url, "few", list(enumerate(found.passages[:PLAIN])))
    seconds, ranks = [], []
    async with aiohttp.ClientSession() as session:
        for query in found.queries[:200]:
            body = {"index_name": "few", "query": query, "max_node_count": 10}
            begun = time.perf_counter()
            async with session.post(f"{running.url}/retrieve", json=body) as answer:
                said = await answer.json()
            seconds.append(1000 * (time.perf_counter() - begun))
            ranks.append([each["metadata"]["n"] for each in said["results"]])
    report(f"ours, {PLAIN} passages: /retrieve, p50", f"{percentile(seconds, 0.5):.1f} ms", "-")
    report(f"ours, {PLAIN} passages: nDCG@10", f"{ndcg(ranks):.3f}", "-")


def main() -> None:
    cache = paths.cache_directory(os.environ)
    python = venvs.python(cache, REPOSITORY / "images/rag/requirements-cpu.lock")
    model = Models(cache).embedder()
    found = labelled(cache, PASSAGES, min(QUERIES, PLAIN))
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ["HOME"],
        "PYTHONPATH": f"{REPOSITORY / 'images'}:{REPOSITORY}",
        "HF_HUB_OFFLINE": "1",
        "OMP_WAIT_POLICY": "PASSIVE",  # as in the image
        "RAG_STOP_DELAY_SECONDS": "0",
        "LOCAL_EMBEDDING_MODEL_ID": str(model),
        "RAG_EMBEDDING_BACKEND": BACKEND,
    }
    scale = f"{PASSAGES} passages, {len(found.queries)} queries, MiniLM by {BACKEND}"
    print(f"{machine()}; {scale}", flush=True)
    with tempfile.TemporaryDirectory(prefix="kaito-bench-") as directory:
        scratch = Path(directory)
        alone = Alone(python, environment)
        with service(python, environment, scratch / "index") as running:
            empty, before = running.ready_seconds, running.rss_mib
            ingest(alone, running, model, found, scratch)
            grown = (running.rss_mib - before) * 2**20 / PASSAGES
            report("memory a chunk, all of the process's growth", f"{grown:.0f} B", "-")
            latency(running, found)
            quality(alone, running, model, found, scratch)
            asyncio.run(same_as_plain(running, found))
        plain(alone, model, found)
        restart(alone, python, environment, scratch, found, empty, model)
        alone.close()


def restart(
    alone: Alone,
    python: Path,
    environment: dict[str, str],
    scratch: Path,
    found: Labelled,
    empty: float,
    model: Path,
) -> None:
    probe = scratch / "probe.npy"
    alone.ask("embed", model=str(model), texts=[_probe()], save=str(probe))
    vector = np.load(probe)[0]
    np.save(probe, vector)
    large = scratch / "large"
    alone.ask(
        "build",
        directory=str(large),
        texts=found.passages[:5000],
        chunks=RESTARTED,
        fingerprint=str(probe),
    )
    with service(python, environment, large) as running:
        report(
            f"restart with {RESTARTED} chunks, start to /health",
            f"{running.ready_seconds:.1f} s",
            "10 s",
        )
        report("the same with no chunks", f"{empty:.1f} s", "-")
        report(f"resident with {RESTARTED} chunks", f"{running.rss_mib:.0f} MiB", "-")


def _probe() -> str:
    sys.path.insert(0, str(REPOSITORY / "images"))
    from rag.documents import PROBE

    return PROBE


if __name__ == "__main__":
    main()
