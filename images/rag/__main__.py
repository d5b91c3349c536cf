"""`python -m rag`: reads the environment, listens at once, loads, serves, and ends in order."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from typing import NoReturn

import uvloop

from rag import process, settings, wiring
from rag.app import create_app
from rag.errors import EmbedderError, ModelError, RagError, StorageError
from rag.health import Entrance, Health
from rag.metrics import Metrics
from rag.parts import Parts
from rag.server import Server, ServerSettings, listen
from rag.wiring import Start

FAILED = 1
BAD_SETTINGS = 2
_THREADS = 32
"""More than cores: most of them wait, for a disk or for another process's lock."""
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
_LOG = logging.getLogger("rag")


def main() -> int:
    try:
        wanted = settings.read(os.environ)
    except settings.SettingsError as error:
        print(error, file=sys.stderr, flush=True)
        return BAD_SETTINGS
    _log(wanted.server)
    return uvloop.run(_serve(wanted))


async def _serve(wanted: settings.Settings) -> int:
    server = wanted.server
    process.begin()
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_THREADS, "rag"))
    metrics = Metrics()
    entrance = Entrance(Health("starting"), metrics)
    try:
        listening = listen(server)
    except OSError as error:
        _LOG.error("cannot listen on %s:%d: %s", server.host, server.port, error.strerror)
        return FAILED
    _LOG.info("listening on %s:%d", *listening.getsockname()[:2])
    running = Server(entrance, server)
    again = asyncio.Event()

    def start_again() -> None:
        again.set()
        running.end()

    start = Start(entrance.health, metrics, start_again)
    try:
        async with AsyncExitStack() as closing:
            loading = asyncio.create_task(_load(wanted, entrance, running, start, closing))
            await running.serve(sockets=[listening])
            if not loading.done():
                _leave(0)  # nothing was acknowledged yet
            code = FAILED if again.is_set() else loading.result()
    except Exception:  # noqa: BLE001  # whatever it is, the process ends
        _LOG.exception("did not end in order")
        code = FAILED
    else:
        _LOG.info("stopped")
    _leave(code)


def _leave(code: int) -> NoReturn:
    """Without waiting for threads, which cannot be stopped, and may restore indexes or cut texts
    that nobody wants any more. What was acknowledged is on disk, and the store is closed."""
    logging.shutdown()
    os._exit(code)


async def _load(
    wanted: settings.Settings,
    entrance: Entrance,
    server: Server,
    start: Start,
    closing: AsyncExitStack,
) -> int:
    """The exit code; the server ends where it is none that is good."""
    try:
        parts = await _patiently(wanted, start, closing)
    except RagError as error:
        _LOG.error("cannot start: %s", error.detail)
    except Exception:  # noqa: BLE001  # whatever it is, it is told and the process ends
        _LOG.exception("cannot start")
    else:
        entrance.app = create_app(parts)
        process.settle()
        if not entrance.stopping:
            entrance.health.problem = None
        _LOG.info("ready")
        return 0
    server.end()
    return FAILED


async def _patiently(wanted: settings.Settings, start: Start, closing: AsyncExitStack) -> Parts:
    """Services that embed or store for us may start later than we do."""
    pause = _FIRST_PAUSE
    while True:
        try:
            async with AsyncExitStack() as so_far:
                parts = await wiring.assemble(wanted, start, so_far)
                closing.push_async_exit(so_far.pop_all())
                return parts
        except (EmbedderError, StorageError) as error:
            if not _may_pass(error, wanted):
                raise
            problem = f"what is needed does not answer: {error.detail.removesuffix('.')}"
            start.health.problem = problem
            _LOG.warning("%s; trying again in %g s", problem, pause)
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def _may_pass(error: RagError, wanted: settings.Settings) -> bool:
    """What is elsewhere may come; a model or files that are here will not be better."""
    if isinstance(error, ModelError):  # a reranker's too, whatever embeds
        return False
    if isinstance(error, EmbedderError):
        return wanted.embedding.source == "remote"
    return wanted.qdrant is not None


def _log(server: ServerSettings) -> None:
    logging.basicConfig(
        level=server.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    for each in ("httpx", "httpcore"):  # they write URLs, and those may hold keys
        logging.getLogger(each).setLevel(logging.WARNING)


if __name__ == "__main__":
    sys.exit(main())
