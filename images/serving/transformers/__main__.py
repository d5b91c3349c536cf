"""`python -m serving.transformers`: serve a model with Hugging Face's transformers.

The port is open before anything is loaded: /health is 503 until the model answers, and /metrics is
there from the start.
"""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import sys
import tempfile
import traceback
from pathlib import Path
from types import FrameType
from typing import NoReturn

from apis import container, reports
from serving.config import ConfigError
from serving.transformers import arguments
from serving.transformers.arguments import Settings
from serving.transformers.options import UsageError

DEVICE = "KAITO_DEVICE"
"""Set by the image: cpu or gpu."""
_CLOSE_SECONDS = 2
"""For connections after the requests have ended, or the time for them is over."""


def main() -> int:
    """Exit code: 0 after a signal, 2 for a wrong command line or file, 66 for a model that cannot
    be loaded, 71 for one that has no room, 1 where the engine dies."""
    # A container's first process gets no signal that it does not handle.
    signal.signal(signal.SIGTERM, _leave)
    try:
        settings = arguments.parse(sys.argv[1:])
    except (ConfigError, UsageError) as error:
        _say(str(error))
        return 2
    for note in settings.notes:
        _say(note)
    return _Program(settings).run()


class _Program:
    def __init__(self, settings: Settings) -> None:
        # Imported here, so that a wrong flag is told at once.
        import uvicorn

        from serving.adapters.agent import Agent
        from serving.front.server import Front
        from serving.transformers import server
        from serving.transformers.early import Early
        from serving.transformers.engine import Engine

        os.environ.update(_stages())
        self._settings = settings
        self._code = 0
        self._engine = Engine(settings.served_name, settings.model)
        if settings.runtime_adapters:
            os.environ[container.ENV_ADAPTERS_DIR] = str(settings.adapters_dir)
        app = server.application(self._engine, runtime_adapters=settings.runtime_adapters)
        limit = settings.max_sequences if settings.rate_limit else None
        front = Front(Agent(app) if settings.runtime_adapters else app, server.environment(limit))
        self._server = uvicorn.Server(
            uvicorn.Config(
                Early(front, self._load),
                host=settings.host,
                port=settings.port,
                lifespan="on",
                access_log=False,
                log_level="warning",
                timeout_graceful_shutdown=_CLOSE_SECONDS,
            )
        )

    def run(self) -> int:
        try:
            self._server.run()
        except (KeyboardInterrupt, SystemExit) as error:
            if isinstance(error, SystemExit) and error.code:
                return int(error.code)  # uvicorn's own: it cannot listen
        # Not by returning: the engine's thread may be in the midst of a step.
        sys.stdout.flush()
        os._exit(self._code)

    async def _load(self) -> bool:
        try:
            await asyncio.to_thread(self._bring_up, asyncio.get_running_loop())
        except Exception as error:  # noqa: BLE001  # it is told, and ends the process
            self._give_up(error)
            return False
        return True

    def _bring_up(self, loop: asyncio.AbstractEventLoop) -> None:
        """On a thread of its own: imports and weights take seconds to minutes."""
        from serving.front import stages

        settings = self._settings
        stages.begin(reports.LOAD, f"loading {settings.model}")
        from serving.transformers import files, loader
        from serving.transformers.adapters import Adapters
        from serving.transformers.scheduler import Scheduler

        loaded = loader.load(settings, gpu=os.environ.get(DEVICE, "gpu") != "cpu")
        weights = Adapters(loaded.runner.model)
        adapters = files.load(weights, settings.adapters_dir)
        scheduler = Scheduler(
            loaded.runner,
            weights,
            at_once=settings.max_sequences,
            chunk=settings.prefill_chunk,
            capacity=loaded.capacity,
            died=functools.partial(self._died, loop),
        )
        for note in loaded.notes:
            _say(note)
        scheduler.start()
        loop.call_soon_threadsafe(self._engine.begin, loaded, weights, scheduler, adapters)
        _say(f"serving {settings.served_name} from {settings.model} on port {settings.port}")

    def _died(self, loop: asyncio.AbstractEventLoop, error: BaseException) -> None:
        """On the engine's thread."""
        traceback.print_exception(error)
        loop.call_soon_threadsafe(self._give_up, error)

    def _give_up(self, error: BaseException) -> None:
        from serving.transformers.loader import TooLargeError

        known = isinstance(error, UsageError | TooLargeError)
        _say(str(error) if known else f"{type(error).__name__}: {error}")
        self._code = 1
        if isinstance(error, TooLargeError | MemoryError):
            self._code = reports.EXIT_OUT_OF_MEMORY
        elif known:
            self._code = reports.EXIT_BAD_MODEL
        self._server.should_exit = True


def _stages() -> dict[str, str]:
    """What the start is measured by, from here on; nothing where no file can be made."""
    from serving.front import stages

    try:
        return stages.start(Path(tempfile.mkdtemp(prefix="kaito-")) / "stages")
    except OSError:
        return {}


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    """Nothing is in work yet, or no more."""
    os._exit(0)


def _say(words: str) -> None:
    print(f"serving.transformers: {words}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
