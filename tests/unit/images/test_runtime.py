"""The root file system of images, gathered from this machine's own files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import runtime
from runtime import Root


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path / "root")


def test_a_link_brings_what_it_leads_to(root: Root, tmp_path: Path) -> None:
    (tmp_path / "real.so.1.2").write_text("library")
    (tmp_path / "real.so.1").symlink_to("real.so.1.2")
    (tmp_path / "real.so").symlink_to(tmp_path / "real.so.1")
    root.take(str(tmp_path / "real.so"))
    copied = root.place(str(tmp_path / "real.so"))
    assert os.readlink(copied) == str(tmp_path / "real.so.1")
    assert root.place(str(tmp_path / "real.so.1.2")).read_text() == "library"


def test_a_directory_is_taken_by_its_real_name(root: Root, tmp_path: Path) -> None:
    (tmp_path / "usr").mkdir()
    (tmp_path / "usr/file").write_text("x")
    (tmp_path / "alias").symlink_to("usr")
    root.take(str(tmp_path / "alias/file"))
    root.take(str(tmp_path / "usr/file"))
    assert root.taken == {str(tmp_path / "usr/file")}


def test_what_is_not_there_is_told(root: Root) -> None:
    with pytest.raises(FileNotFoundError):
        root.take("/nowhere/at/all")
    with pytest.raises(LookupError, match="lscpu is not in this Debian"):
        runtime.found("lscpu", None)


def test_parts_of_the_library_that_no_server_opens_stay_behind(root: Root, tmp_path: Path) -> None:
    for name in ("json/decoder.py", "test/big.py", "x/test/y.py", "turtle.py", "dbm/__pycache__/x"):
        (tmp_path / "lib" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "lib" / name).touch()
    root.take_tree(str(tmp_path / "lib"), runtime.UNUSED)
    assert {path.removeprefix(f"{tmp_path}/lib/") for path in root.taken} == {
        "json/decoder.py",
        "x/test/y.py",
    }


def test_the_gathered_python_runs_with_what_was_gathered(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the gathered loader, which finds no other library."""
    if not shutil.which("ldd"):
        pytest.skip("no ldd")
    monkeypatch.setattr(runtime, "compile_tree", lambda *_, **__: True)  # takes seconds
    runtime.take_python(root)
    for path in runtime.needed(path for path in root.taken if runtime.is_program(path)):
        root.take(path)
    loader = next(path for path in root.taken if os.path.basename(path).startswith("ld-linux"))
    libraries = {str(root.place(path).parent) for path in root.taken if ".so" in path}
    command = [root.place(loader), "--library-path", ":".join(sorted(libraries))]
    python = root.place(os.path.realpath(sys.executable))
    code = "import ssl, sqlite3, asyncio, ctypes; print(ssl.__file__, sqlite3.__file__)"
    home = {"PYTHONHOME": str(root.place(sys.base_prefix))}
    said = subprocess.run(
        [*command, python, "-s", "-c", code],
        capture_output=True,
        text=True,
        env=home,
    )
    assert said.returncode == 0, said.stderr
    assert all(Path(word).is_relative_to(root.directory) for word in said.stdout.split())


def test_a_package_is_known_by_its_files(
    root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dpkg = tmp_path / "dpkg"
    (dpkg / "info").mkdir(parents=True)
    (dpkg / "info/libone:amd64.list").write_text(f"{tmp_path}\n{tmp_path}/one\n")
    (dpkg / "info/libtwo.list").write_text(f"{tmp_path}/two\n")
    (dpkg / "status").write_text(
        "Package: libtwo\nVersion: 2\n\nPackage: libone\nVersion: 1\nDescription: x\n y\n\n"
    )
    (tmp_path / "one").touch()
    monkeypatch.setattr(runtime, "_DPKG", dpkg)
    root.take(str(tmp_path / "one"))
    runtime.keep_packages(root)
    kept = root.place(str(dpkg / "status")).read_text()
    assert kept == "Package: libone\nVersion: 1\nDescription: x\n y\n"
