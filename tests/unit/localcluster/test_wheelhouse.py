"""Wheels are fetched for the images' Python, not for the host's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from localcluster import wheelhouse
from localcluster.wheelhouse import Wheelhouse, download_argv


def test_only_wheels_with_the_locks_hashes_count() -> None:
    argv = download_argv(Path("requirements.lock"), Path("wheels"))
    assert {"--require-hashes", "--no-deps"} <= set(argv)
    assert argv[argv.index("--only-binary") + 1] == ":all:"


def test_the_images_python_and_c_library_are_asked_for() -> None:
    argv = download_argv(Path("requirements.lock"), Path("wheels"))
    assert argv[argv.index("--python-version") + 1] == "3.11"
    platforms = [argv[i + 1] for i, word in enumerate(argv) if word == "--platform"]
    assert any(name.startswith("manylinux_2_36_") for name in platforms)
    assert not any(name.startswith("manylinux_2_37_") for name in platforms)


def test_wheels_of_an_earlier_lock_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched = []

    def fetch(argv: Sequence[str]) -> str:
        fetched.append(argv)
        Path(argv[-1]).joinpath("a.whl").touch()
        return ""

    monkeypatch.setattr(wheelhouse, "run", fetch)
    lock, other = (tmp_path / "rag" / name for name in ("requirements.lock", "more.lock"))
    lock.parent.mkdir()
    lock.write_text("a==1")
    other.write_text("b==1")
    house = Wheelhouse(tmp_path / "wheels", lambda _: None)
    kept = house.prepare([other])
    first = house.prepare([lock])
    assert house.prepare([lock]) == first
    assert len(fetched) == 2
    lock.write_text("a==2")
    second = house.prepare([lock])
    assert {each for each in second.parent.iterdir() if each.is_dir()} == {kept, second}
    assert (second / "a.whl").exists()
