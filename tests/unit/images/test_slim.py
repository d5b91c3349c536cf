"""What goes from an environment before it is an image's, judged by this machine's own loader."""

from __future__ import annotations

import ctypes
import importlib.util
import shutil
import struct
from pathlib import Path

import msgspec
import pytest
import slim


@pytest.fixture
def site(tmp_path: Path) -> Path:
    for name in (
        "one/__init__.py",
        "one/__init__.pyi",
        "one/fast.pyx",
        "one/template.py",
        "one/tests/test_one.py",
        "one/tests/deep/tests/test_deep.py",
        "one/test/fixtures.py",
        "tests/test_top.py",
        "botocore/data/endpoints.json",
        "botocore/data/ec2/2016/service.json",
        "botocore/data/s3/2006/service.json",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("VALUE = {{ it }}\n:" if "template" in name else "VALUE = 1\n")
    return tmp_path


def left(site: Path) -> set[str]:
    files = (path for path in site.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {str(path.relative_to(site)) for path in files}


def test_what_nobody_reads_goes(site: Path) -> None:
    slim.main([str(site), "--aws", "ec2"])
    assert left(site) == {
        "one/__init__.py",
        "one/template.py",  # does not compile, and need not
        "one/test/fixtures.py",  # has no test in it, and may be imported
        "tests/test_top.py",  # is a package of this name
        "botocore/data/endpoints.json",
        "botocore/data/ec2/2016/service.json",
    }


def test_what_is_named_goes(site: Path) -> None:
    slim.main([str(site), "--without", "botocore/data/*2", "--without", "one"])
    assert left(site) == {
        "tests/test_top.py",
        "botocore/data/endpoints.json",
        "botocore/data/s3/2006/service.json",
    }


def test_bytecode_is_not_checked_against_times(site: Path) -> None:
    slim.main([str(site)])
    bytecode = Path(importlib.util.cache_from_source(str(site / "one/__init__.py"))).read_bytes()
    (flags,) = struct.unpack_from("<I", bytecode, 4)
    assert flags == 0b01, "by hash, unchecked (PEP 552)"


def test_the_same_input_makes_the_same_bytes(site: Path, tmp_path: Path) -> None:
    other = tmp_path / "other/site"
    shutil.copytree(site, other, ignore=shutil.ignore_patterns("other"))
    path = Path(importlib.util.cache_from_source("one/__init__.py"))
    slim.main([str(other)])
    first = (other / path).read_bytes()
    shutil.rmtree((other / path).parent)
    slim.main([str(other)])
    assert (other / path).read_bytes() == first


@pytest.mark.parametrize(
    ("words", "named"),
    [
        pytest.param(["--without", "gone/long/ago"], "gone/long/ago", id="nothing to remove"),
        pytest.param(["--aws", "ec2", "--aws", "ec3"], "no service ec3", id="no such service"),
    ],
)
def test_a_list_that_is_out_of_date_is_told(site: Path, words: list[str], named: str) -> None:
    with pytest.raises(LookupError, match=named):
        slim.main([str(site), *words])


def a_library(folder: Path) -> Path:
    """A real one: an extension of this Python's."""
    source = Path(msgspec._core.__file__)
    return Path(shutil.copy(source, folder / source.name))


def test_a_stripped_library_still_loads(tmp_path: Path) -> None:
    path = a_library(tmp_path)
    path.write_bytes(path.read_bytes() + b"for debuggers" * 1000)
    before, mode = path.stat().st_size, path.stat().st_mode
    assert slim.strip(path)
    assert path.stat().st_size < before - 13_000
    assert path.stat().st_mode == mode
    again = path.read_bytes()
    assert slim.strip(path)
    assert path.read_bytes() == again
    # Last, for whoever writes over a library that is loaded ends with this process.
    assert ctypes.PyDLL(str(path))


def test_other_files_are_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "script.so.txt"
    path.write_text("GROUP ( libc.so.6 )")
    assert not slim.strip(path)
    assert path.read_text() == "GROUP ( libc.so.6 )"
