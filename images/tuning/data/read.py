"""The data as it is trained with: found, checked row by row, split, and known by a digest.

Rows are written once, in one form, to files of Arrow, which are then mapped and not loaded: data
may be larger than the memory. Processes of one pod share them.
"""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tuning.config import DatasetOptions
from tuning.data import files, forms, split
from tuning.data.files import File
from tuning.data.formats import rows
from tuning.data.forms import Form
from tuning.data.messages import BadRowError
from tuning.data.shard import Shard, Written
from tuning.failures import DataError

_META = "read.json"


@dataclass(frozen=True, slots=True)
class Data:
    """`train` and `held_out` are `datasets.Dataset`s: sequences of rows that lie on disk."""

    kind: str
    """messages, prompt-completion or text; the columns are called so."""
    train: Any
    held_out: Any
    digest: str
    """sha256 of the rows in their one form: the same whatever files of the same rows are called,
    whether they are zipped, and in which order they come."""
    files: tuple[str, ...]
    notes: tuple[str, ...] = ()
    """What was left out, a sentence each."""


def read(
    folder: Path,
    options: DatasetOptions,
    tokenizer_has_template: bool,
    scratch: Path | None = None,
) -> Data:
    """DataError names the file, the row and what is missing. `scratch` takes as much as the data
    is large; by default it is a directory for temporary files."""
    found = files.find(folder, options)
    place = (scratch or Path(tempfile.gettempdir())) / _key(found, options, tokenizer_has_template)
    with _alone(place):
        shards = _shards(found, options, tokenizer_has_template, place)
    # By content, so that a file's name does not decide over the result.
    shards = sorted(shards, key=lambda each: (each.held_out, each.digest))
    train, held_out = _split(shards, options, place)
    names = tuple(each.name for each in (*found.train, *found.held_out))
    lines = sorted(f"{each.held_out}:{each.kind}:{each.digest}\n" for each in shards)
    digest = hashlib.sha256("".join(lines).encode()).hexdigest()
    return Data(shards[0].kind, train, held_out, digest, names, tuple(_notes(shards, found)))


def _shards(
    found: files.Files, options: DatasetOptions, has_template: bool, place: Path
) -> list[Written]:
    """As an earlier process has left them, or made now."""
    meta = place / _META
    if meta.exists():
        return [Written(**each) for each in json.loads(meta.read_text())]
    shards: list[Written] = []
    for file, held_out in [
        *((file, False) for file in found.train),
        *((file, True) for file in found.held_out),
    ]:
        shard = _written(file, held_out, options, has_template, place)
        shards.append(shard)
        kinds = list(dict.fromkeys(each.shown for each in shards if each.rows))
        if len(kinds) > 1:
            raise DataError(
                f"{file.name} holds {kinds[1]}, and the files before it {kinds[0]}:"
                " give data of one kind, or name a part of it by"
                " training_config.DatasetConfig.dataset_path"
            )
    partial = meta.with_suffix(".partial")
    partial.write_text(json.dumps([asdict(each) for each in shards]))
    os.replace(partial, meta)
    return shards


def _written(
    file: File, held_out: bool, options: DatasetOptions, has_template: bool, place: Path
) -> Written:
    lines = rows(file.path, file.name, file.format)
    first = next(lines, None)
    if first is None:
        raise DataError(f"{file.name} has no rows")
    form = _form(file, first[1], options, has_template)
    with Shard(place, form.kind) as shard:
        for where, row in itertools.chain([first], lines):
            try:
                shard.add(_converted(row, form), f"{file.name}, {where}")
            except BadRowError as error:
                raise DataError(f"{file.name}, {where}: {error}") from error
            except DataError as error:
                raise DataError(f"{file.name} {error}") from error
    return shard.finished(held_out=held_out)


def _form(file: File, row: Any, options: DatasetOptions, has_template: bool) -> Form:
    columns = frozenset(map(str, row)) if isinstance(row, Mapping) else frozenset()
    try:
        return forms.form(columns, options, has_template)
    except DataError as error:
        raise DataError(f"{file.name} {error}") from error


def _converted(row: Any, form: Form) -> dict[str, Any] | None:
    if not isinstance(row, Mapping):
        raise BadRowError("it must be a map of columns")
    for column in form.columns:
        if column not in row:
            raise BadRowError(f"{column} is missing")
    return form.convert(row)


def _split(shards: list[Written], options: DatasetOptions, place: Path) -> tuple[Any, Any]:
    """The order is the seed's, if the user does not forbid it: the same data gives the same."""
    import numpy
    from datasets import Dataset, concatenate_datasets

    def mapped(held_out: bool) -> Any:
        parts = [each for each in shards if each.held_out is held_out and each.rows]
        if not parts:
            return Dataset.from_list([])
        return concatenate_datasets([Dataset.from_file(str(place / each.file)) for each in parts])

    train, ready = mapped(False), mapped(True)
    if not len(train):
        raise DataError("the data has no rows to train with: all are empty")
    generator = numpy.random.default_rng(options.seed)
    order = generator.permutation(len(train)) if options.shuffle else numpy.arange(len(train))
    kept = 0 if len(ready) else split.held_out(len(train), options.train_share)
    first = len(train) - kept
    rest = train.select(order[:first], keep_in_memory=True)
    if len(ready):
        return rest, ready
    apart = train.select(order[first:], keep_in_memory=True) if kept else Dataset.from_list([])
    return rest, apart


def _notes(shards: list[Written], found: files.Files) -> Iterator[str]:
    if empty := sum(each.empty for each in shards):
        first = next(each.first_empty for each in shards if each.empty)
        yield f"{empty} empty row(s) are left out; the first is {first}"
    if found.held_out:
        yield f"held out by name: {', '.join(each.name for each in found.held_out)}"
    if found.left:
        yield f"left alone beside a validation set: {', '.join(found.left)}"


def _key(found: files.Files, options: DatasetOptions, has_template: bool) -> str:
    """Names what was read, and how."""
    seen = [
        (
            str(each.path.resolve()),
            each.format,
            (stat := each.path.stat()).st_size,
            stat.st_mtime_ns,
        )
        for each in (*found.train, *found.held_out)
    ]
    said = json.dumps([seen, asdict(options), has_template])
    return f"kaito-data-{hashlib.sha256(said.encode()).hexdigest()[:24]}"


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """One process reads, the others of the pod wait and take what it has made."""
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (place / ".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
