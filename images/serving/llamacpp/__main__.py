"""`python -m serving.llamacpp`: serve a GGUF model with llama.cpp.

Two processes. The first is the container's init: the kernel spares an init from signals that it
does not handle, and the server cannot handle any while it loads. So the first forwards signals and
passes the server's exit code on; the second loads and serves, and a signal ends it at once until
the model is loaded.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from apis import container, reports
from serving import machine
from serving.config import ConfigError
from serving.front import keys, stages
from serving.llamacpp import arguments, connections, context, files, gguf
from serving.llamacpp.arguments import Settings, UsageError
from serving.llamacpp.files import Adapter

_STOP = (signal.SIGTERM, signal.SIGINT)


def main() -> int:
    """Exit code: 0 after a signal, 2 for a wrong command line or file, else the server's own."""
    try:
        settings = arguments.parse(sys.argv[1:])
        files.model_file(settings.model)
    except (ConfigError, UsageError) as error:
        return _refuse(error)
    # Held back until each process has its handlers: a signal is late then, but never lost.
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP)
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP)
        _serve(settings)
    return _supervise(child)


def _serve(settings: Settings) -> NoReturn:
    # Imported here: the init has no use for the 34 MB of it.
    from serving.llamacpp import server

    try:
        model = files.model_file(settings.model)
        adapters = files.adapters(settings.adapters_dir, os.environ, model)
        api_keys = _keys()
        if not settings.threads:
            settings = settings.with_threads(machine.cpus())
        settings = _with_room(settings, model, adapters)
        stages.begin(reports.LOAD, f"loading {model.name}")
        _running, address = server.start(settings, model, adapters, api_keys)
    except UsageError as error:
        os._exit(_refuse(error))
    print(f"serving {settings.alias or model.stem} from {model} on {address}", flush=True)
    stages.begin(reports.READY)
    _await_signal()
    drained = connections.drain(settings.port, settings.drain_seconds)
    print("stopped" if drained else "stopped with requests in work", flush=True)
    # Not by returning: that would collect the server, which waits for its requests for ever.
    os._exit(0)


def _keys() -> keys.Keys | None:
    """None where nobody is asked for one."""
    directory = Path(os.environ.get(container.ENV_API_KEYS_DIR, container.API_KEYS_DIR))
    if not directory.is_dir():
        return None
    if not keys.texts(directory):
        raise UsageError(f"{directory} holds no API key: put one into the Secret, or mount none")
    return keys.Keys(directory)


def _with_room(settings: Settings, model: Path, adapters: Sequence[Adapter]) -> Settings:
    """With the context that fits the container's memory; of a GPU's llama.cpp knows by itself."""
    if settings.gpu_layers > 0:
        return settings
    shape, memory = gguf.shape(model), machine.memory_gib()
    tokens = context.fitting(
        settings.context_size,
        shape,
        memory_gib=memory,
        weights_gib=sum(map(files.size_gib, (model, *(each.path for each in adapters)))),
        kept_gib=max(0, settings.cache_ram_mib) / 1024,
    )
    if words := context.words(tokens, settings.context_size, shape, memory):
        print(f"serving.llamacpp: {words}", flush=True)
    return settings.with_context(tokens)


def _await_signal() -> None:
    """Through a pipe: the kernel may hand the signal to any of llama.cpp's threads."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in _STOP:
        signal.signal(number, lambda _number, _frame: None)
    os.read(reader, 1)


def _supervise(child: int) -> int:
    stopping = False

    def forward(number: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True
        os.kill(child, number)

    for number in _STOP:
        signal.signal(number, forward)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP)
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            # Ended by the signal itself, while it loaded: as asked.
            return 0 if stopping and code < 0 else code if code >= 0 else 128 - code


def _refuse(error: Exception) -> int:
    print(f"serving.llamacpp: {error}", file=sys.stderr, flush=True)
    return 2


if __name__ == "__main__":
    sys.exit(main())
