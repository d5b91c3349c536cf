"""Finish an environment for its image: what only builders and debuggers read goes, bytecode comes.

Removed are stubs, headers, tests, and the parts of ELF files that no loader maps (symbols for
debuggers: two thirds of some libraries). What a list names and is not there is an error: the
package has changed, and so must the list.

python3 slim.py SITE_PACKAGES [--keep-symbols] [--without PATTERN]... [--aws SERVICE]...
"""

from __future__ import annotations

import argparse
import shutil
import struct
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from runtime import compile_tree

UNREAD = (".c", ".cc", ".cpp", ".cu", ".cuh", ".h", ".hpp", ".pxd", ".pyi", ".pyx")
TESTS = ("test", "tests")
AWS = "botocore/data"
_PROGRAM = struct.Struct("<IIQQQQQQ")


def main(words: Sequence[str]) -> None:
    """LookupError where something to remove, or an AWS service to keep, is not there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("site_packages", type=Path)
    parser.add_argument("--keep-symbols", action="store_true", help="leave ELF files as they are")
    parser.add_argument("--without", action="append", default=[], metavar="PATTERN")
    parser.add_argument("--aws", action="append", default=[], metavar="SERVICE")
    arguments = parser.parse_args(words)
    site = arguments.site_packages
    for pattern in arguments.without:
        remove(named(site, pattern))
    if arguments.aws:
        remove(other_services(site / AWS, arguments.aws))
    remove(unread(site))
    if not arguments.keep_symbols:
        for path in site.rglob("*.so*"):
            if path.is_file() and not path.is_symlink():
                strip(path)
    compile_tree(site, quiet=2)  # Packages bring templates that are no Python yet.


def named(site: Path, pattern: str) -> list[Path]:
    """What a pattern leads to, at least one."""
    found = sorted(site.glob(pattern))
    if not found:
        raise LookupError(f"{site / pattern} is not there: its package has changed")
    return found


def remove(paths: Iterable[Path]) -> None:
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def other_services(data: Path, kept: Sequence[str]) -> list[Path]:
    """The models of AWS's other services; files beside them belong to all."""
    if absent := [name for name in kept if not (data / name).is_dir()]:
        raise LookupError(f"{data} has no service {', '.join(absent)}")
    return [path for path in sorted(data.iterdir()) if path.is_dir() and path.name not in kept]


def unread(site: Path) -> list[Path]:
    """Sources of compiled modules, stubs, and the tests of packages."""
    tests = [
        path
        for name in TESTS
        for path in site.glob(f"*/**/{name}")
        if path.is_dir() and (next(path.glob("**/test_*.py"), None) or not any(path.iterdir()))
    ]
    outer = [path for path in tests if not any(other in path.parents for other in tests)]
    files = [
        path
        for path in site.rglob("*")
        if path.suffix in UNREAD and path.is_file() and not any(o in path.parents for o in outer)
    ]
    return [*outer, *files]


def strip(path: Path) -> bool:
    """Cut an ELF file of 64 bits behind the last byte that a loader maps; False where it is none.

    What is behind are tables for linkers and debuggers, and the header says that there are none.
    """
    content = bytearray(path.read_bytes())
    if content[:6] != b"\x7fELF\x02\x01":
        return False
    (table,) = struct.unpack_from("<Q", content, 32)
    size, count = struct.unpack_from("<HH", content, 54)
    headers = [_PROGRAM.unpack_from(content, table + size * index) for index in range(count)]
    end = max(table + size * count, *(header[2] + header[5] for header in headers))
    struct.pack_into("<Q", content, 40, 0)
    struct.pack_into("<HHH", content, 58, 0, 0, 0)
    path.write_bytes(content[:end])
    return True


if __name__ == "__main__":
    main(sys.argv[1:])
