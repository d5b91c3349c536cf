"""Wheels are fetched for the images' Python, not for the host's."""

from __future__ import annotations

from pathlib import Path

from localcluster.wheelhouse import download_argv


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
