"""Rows of a file, one after the other, and how each is called in an error.

pyarrow, csv and json are used as they are, not `datasets.load_dataset`: that one guesses one
schema for all files, fills what a message lacks with nulls, hides which row it stumbled over, and
loads code and files of others where a name looks like a repository's. Nothing here holds more than
a batch of rows, so a file may be larger than the memory.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from tuning.failures import DataError

FORMATS: Mapping[str, str] = {
    "csv": "csv",
    "tsv": "tsv",
    "json": "json",
    "jsonl": "jsonl",
    "ndjson": "jsonl",
    "parquet": "parquet",
    "arrow": "arrow",
}
"""By the end of the name."""

Row = tuple[str, Any]
"""Its place, as `line 3` or `row 3`, and its content."""

LONGEST = 64 << 20
"""Characters of one row of text; what is longer has no ends of lines, and would be read whole."""
_WHOLE = 16 * LONGEST
"""Of an object of JSON that has all rows, which nobody can read piece by piece."""
_BATCH = 1000
_CHUNK = 1 << 20
_GAP = re.compile(r"[\s,]*")
_LISTS = ("data", "rows", "train", "examples", "instances")
"""Where files of JSON that are one object have their rows."""


def rows(path: Path, name: str, format: str) -> Iterator[Row]:
    """Rows of JSON need not be maps: that is for the caller to judge. DataError where the file is
    not what its name says; it names the place."""
    import pyarrow

    place = "its beginning"
    try:
        for place, row in _READERS[format](path):
            yield place, row
    except DataError:
        raise
    except UnicodeDecodeError as error:
        raise DataError(f"{name} is no UTF-8 after {place}: store it as UTF-8") from error
    except (ValueError, csv.Error, pyarrow.ArrowException) as error:
        said = " ".join(str(error).split())[:200]
        raise DataError(f"{name} is no {format} after {place}: {said}") from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{name} cannot be read after {place}: {error}") from error


def _open(path: Path) -> IO[str]:
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _separated(delimiter: str) -> Callable[[Path], Iterator[Row]]:
    def read(path: Path) -> Iterator[Row]:
        csv.field_size_limit(LONGEST)
        with _open(path) as file:
            reader = csv.DictReader(_bounded(file), delimiter=delimiter, strict=True)
            for number, row in enumerate(reader, start=1):
                if None in row or None in row.values():
                    raise ValueError(
                        f"row {number} has {'more' if None in row else 'fewer'} fields than the"
                        " header; quote fields that hold the separator"
                    )
                yield f"row {number}", row

    return read


def _lines(path: Path) -> Iterator[Row]:
    with _open(path) as file:
        for number, line in enumerate(_bounded(file), start=1):
            if line.strip():
                yield f"line {number}", json.loads(line)


def _bounded(file: IO[str]) -> Iterator[str]:
    """Its lines. ValueError before one of them fills the memory."""
    while line := file.readline(LONGEST + 1):
        if len(line) > LONGEST:
            raise ValueError(f"the next line has more than {LONGEST} characters")
        yield line


def _json(path: Path) -> Iterator[Row]:
    """An array, an object that has one, or lines of objects, which many files with this end are."""
    with _open(path) as file:
        begin = file.read(_CHUNK).lstrip()
    if begin.startswith("["):
        yield from _array(path)
    elif _is_row(begin.partition("\n")[0]):
        yield from _lines(path)
    else:
        yield from _inside(path)


def _is_row(line: str) -> bool:
    """Whether the line is whole, and not the object that has all rows."""
    try:
        found = json.loads(line)
    except ValueError:
        return False
    return isinstance(found, dict) and _list_of(found) is None


def _list_of(found: Mapping[str, Any]) -> list[Any] | None:
    lists = [found[key] for key in _LISTS if isinstance(found.get(key), list)]
    return next((each for each in lists if each and isinstance(each[0], Mapping)), None)


def _inside(path: Path) -> Iterator[Row]:
    with _open(path) as file:
        text = file.read(_WHOLE + 1)
    if len(text) > _WHOLE:
        raise ValueError(f"an object of more than {_WHOLE} characters: store it as jsonl")
    found = json.loads(text)
    inside = _list_of(found) if isinstance(found, Mapping) else None
    if inside is None:
        raise ValueError(f"an object without a list of rows under {' or '.join(_LISTS)}")
    for number, row in enumerate(inside, start=1):
        yield f"row {number}", row


def _array(path: Path) -> Iterator[Row]:
    """Element by element."""
    decoder, number = json.JSONDecoder(), 0
    with _open(path) as file:
        buffer, ended = file.read(_CHUNK), False
        at = buffer.index("[") + 1
        while True:
            at = _between(buffer, at)
            if buffer.startswith("]", at):
                return
            try:
                row, at = decoder.raw_decode(buffer, at)
            except ValueError:
                if ended:
                    raise
                if len(buffer) - at > LONGEST:
                    raise ValueError(f"the next has more than {LONGEST} characters") from None
                # Twice as much each time, or a long element would be parsed over and over.
                more = file.read(max(_CHUNK, len(buffer) - at))
                buffer, at, ended = buffer[at:] + more, 0, not more
                continue
            number += 1
            yield f"row {number}", row


def _between(buffer: str, at: int) -> int:
    found = _GAP.match(buffer, at)
    return found.end() if found else at


def _parquet(path: Path) -> Iterator[Row]:
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        yield from _numbered(file.iter_batches(batch_size=_BATCH))


def _arrow(path: Path) -> Iterator[Row]:
    """Files of IPC, and streams of it, as the datasets library stores them."""
    import pyarrow

    with pyarrow.memory_map(str(path)) as source:
        magic = source.read(6)
        source.seek(0)
        if magic == b"ARROW1":
            file = pyarrow.ipc.open_file(source)
            yield from _numbered(
                file.get_batch(number) for number in range(file.num_record_batches)
            )
        else:
            yield from _numbered(pyarrow.ipc.open_stream(source))


def _numbered(batches: Any) -> Iterator[Row]:
    number = 0
    for batch in batches:
        for start in range(0, batch.num_rows, _BATCH):
            for row in batch.slice(start, _BATCH).to_pylist():
                number += 1
                yield f"row {number}", row


_READERS: Mapping[str, Callable[[Path], Iterator[Row]]] = {
    "csv": _separated(","),
    "tsv": _separated("\t"),
    "json": _json,
    "jsonl": _lines,
    "parquet": _parquet,
    "arrow": _arrow,
}
