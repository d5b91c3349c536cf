"""Processes that open a store, write to it, and can be killed: forked, so that each costs little.

Run as a program it takes a line of JSON for each process, and says what becomes of it, a line each:
`pid N`, what the process itself says, `dead`.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
BACKUP = {"saved": "saved text"}
"""What the snapshot at `backup` has."""


class Processes:
    """One at a time."""

    def __init__(self) -> None:
        path = os.pathsep.join((str(ROOT / "images"), str(ROOT)))
        self._program = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
        )
        self._pending = b""

    def start(self, **what: Any) -> int:
        assert self._program.stdin is not None
        self._program.stdin.write(json.dumps(what).encode() + b"\n")
        self._program.stdin.flush()
        (line,) = self.lines(1)
        return int(line.removeprefix("pid "))

    def lines(self, count: int) -> list[str]:
        return [next(self._lines()) for _ in range(count)]

    def read_for(self, seconds: float) -> list[str]:
        """What it says in that time."""
        found, end = [], time.monotonic() + seconds
        assert self._program.stdout is not None
        while (rest := end - time.monotonic()) > 0:
            if b"\n" in self._pending or select.select([self._program.stdout], [], [], rest)[0]:
                found.append(next(self._lines()))
        return found

    def until_dead(self) -> list[str]:
        found = []
        for line in self._lines():
            if line == "dead":
                return found
            found.append(line)
        raise AssertionError("the program ended")

    def close(self) -> None:
        assert self._program.stdin is not None
        assert self._program.stdout is not None
        self._program.stdin.close()
        self._program.stdout.close()
        assert self._program.wait(10) == 0

    def _lines(self) -> Iterator[str]:
        assert self._program.stdout is not None
        while True:
            while b"\n" not in self._pending:
                part = os.read(self._program.stdout.fileno(), 65536)
                if not part:
                    return
                self._pending += part
            line, _, self._pending = self._pending.partition(b"\n")
            yield line.decode()


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def after(model: dict[str, str], operation: list[Any]) -> dict[str, str]:
    """What the index holds when the operation is done."""
    kind, values = operation
    if kind == "put":
        return model | dict.fromkeys(values[:-1], values[-1])
    if kind == "delete":
        return {name: text for name, text in model.items() if name not in values}
    if kind == "load":
        return dict(BACKUP)
    return {} if kind == "drop" else model


def _say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def _write(what: dict[str, Any]) -> None:
    """Operations, each told before it begins and once it is acknowledged."""
    from tests.unit.rag.storage.samples import ONE, a_batch, a_document, open_store

    chance = random.Random(what["seed"])
    store = open_store(Path(what["directory"]), filesystem=what["filesystem"])
    assert store.wait_writable(10)
    step = 0
    while True:
        step += 1
        operation = _operation(chance, f"{what['seed']}.{step}")
        kind, values = operation
        _say("begin", json.dumps(operation))
        if kind == "put":
            documents = [a_document(each, values[-1]) for each in values[:-1]]
            store.create("docs", ONE.spec).apply(a_batch(*documents))
        elif kind == "delete":
            store.create("docs", ONE.spec).apply(a_batch(delete=values))
        elif kind == "load":
            store.load("docs", "backup", overwrite=True)
        elif kind == "drop":
            store.create("docs", ONE.spec)
            store.drop("docs")
        else:
            store.create("docs", ONE.spec)
            store.persist("docs", None)
        _say("done")


def _operation(chance: random.Random, mark: str) -> list[Any]:
    kind = chance.choices(("put", "delete", "load", "drop", "persist"), (80, 10, 4, 3, 3))[0]
    names = [f"d{chance.randrange(40)}" for _ in range(chance.randrange(1, 6))]
    if kind == "put":
        return [kind, [*names, f"text {mark}\n" + "more " * chance.randrange(2000)]]
    return [kind, names if kind == "delete" else []]


def _tick(what: dict[str, Any]) -> None:
    """A document now and then, told with the time at which it was acknowledged."""
    from tests.unit.rag.storage.samples import ONE, a_batch, a_document, open_store

    store = open_store(Path(what["directory"]), filesystem=what["filesystem"])
    assert store.writable
    index = store.create("docs", ONE.spec)
    for number in range(10**6):
        index.apply(a_batch(a_document(f"d{number}", f"text {number}")))
        _say(time.monotonic(), number)
        time.sleep(what["pause"])


def _fail(what: dict[str, Any]) -> None:
    """The disk refuses while `b` is put."""
    from rag.errors import StorageError

    from tests.unit.rag.storage.samples import ONE, a_batch, a_document, held, open_store

    switch = _faulty_files(what["call"])
    store = open_store(Path(what["directory"]), filesystem=what["filesystem"])
    index = store.create("docs", ONE.spec)
    index.apply(a_batch(a_document("a", "alpha")))
    switch["fails"] = True
    try:
        index.apply(a_batch(a_document("b", "beta")))
        _say("acknowledged")
    except StorageError as error:
        _say("refused", type(error).__name__, switch["failed"] > 0)
    switch["fails"] = False
    _say("shown", index.count()[0], sorted(held(store, "docs")))
    index.apply(a_batch(a_document("c", "gamma")))
    _say("shown", index.count()[0], sorted(held(store, "docs")))


_IO_METHODS = 19
_CLOSE, _READ, _WRITE, _TRUNCATE, _SYNC = range(1, 6)
"""Where in sqlite3_io_methods the calls are, in pointers; the first holds the version."""
_FAULTS = {"sync": (_SYNC, 10 | 4 << 8), "write": (_WRITE, 10 | 3 << 8), "full": (_WRITE, 13)}


class _Vfs(ctypes.Structure):
    _fields_ = (
        ("version", ctypes.c_int),
        ("file_size", ctypes.c_int),
        ("longest", ctypes.c_int),
        ("next", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("data", ctypes.c_void_p),
        ("open", ctypes.c_void_p),
        ("others", ctypes.c_void_p * 15),
    )


_kept: list[Any] = []
"""What SQLite points to must live as long as the process."""


def _faulty_files(call: str) -> dict[str, int]:
    """From now on SQLite's files fail in that call while `fails` is set: its own VFS, with one
    method of its files exchanged."""
    switch = {"fails": 0, "failed": 0}
    at, code = _FAULTS[call]
    library = ctypes.CDLL("libsqlite3.so.0")
    library.sqlite3_vfs_find.restype = ctypes.POINTER(_Vfs)
    real = library.sqlite3_vfs_find(None)
    vfs = _Vfs.from_buffer_copy(real.contents)
    arguments = (ctypes.c_void_p,) * (3 if at == _WRITE else 1)
    kind = ctypes.CFUNCTYPE(ctypes.c_int, *arguments, *_last_arguments(at))
    opener = ctypes.CFUNCTYPE(ctypes.c_int, *(ctypes.c_void_p,) * 3, ctypes.c_int, ctypes.c_void_p)
    really_open = opener(real.contents.open)

    def open_file(_: int, name: int, file: int, flags: int, out: int) -> int:
        result = really_open(ctypes.addressof(real.contents), name, file, flags, out)
        pointer = ctypes.cast(file, ctypes.POINTER(ctypes.c_void_p))
        if result or not pointer[0]:
            return int(result)
        methods = (ctypes.c_void_p * _IO_METHODS).from_buffer_copy(
            ctypes.string_at(pointer[0], 8 * _IO_METHODS)
        )
        really = kind(methods[at])

        def method(*values: int) -> int:
            if switch["fails"]:
                switch["failed"] += 1
                return code
            return int(really(*values))

        replaced = kind(method)
        methods[at] = ctypes.cast(replaced, ctypes.c_void_p).value
        _kept.extend((methods, replaced))
        pointer[0] = ctypes.addressof(methods)
        return 0

    replaced_open = opener(open_file)
    vfs.name, vfs.open = b"faulty", ctypes.cast(replaced_open, ctypes.c_void_p).value
    _kept.extend((library, real, vfs, replaced_open))
    assert library.sqlite3_vfs_register(ctypes.byref(vfs), 1) == 0
    return switch


def _last_arguments(at: int) -> tuple[Any, ...]:
    """xWrite(file, buffer, int, int64), xSync(file, int)."""
    return (ctypes.c_int64,) if at == _WRITE else (ctypes.c_int,)


def _main() -> None:
    import tests.unit.rag.storage.samples  # noqa: F401  # once, for all that are forked

    for line in sys.stdin:
        what = json.loads(line)
        pid = os.fork()
        if pid == 0:
            with contextlib.suppress(KeyboardInterrupt):
                {"write": _write, "tick": _tick, "fail": _fail}[what["run"]](what)
            os._exit(0)
        _say("pid", pid)
        os.waitpid(pid, 0)
        _say("dead")


if __name__ == "__main__":
    _main()
