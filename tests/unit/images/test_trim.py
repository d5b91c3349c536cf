"""The hollow libraries, judged by this machine's own loader."""

from __future__ import annotations

import ctypes
import ctypes.util
import platform
import struct
from pathlib import Path

import pytest
import trim


def a_library() -> bytes:
    """A real one, with versions: the C library's mathematics."""
    names = ctypes.util.find_library("m")
    for folder in ("/lib/x86_64-linux-gnu", "/usr/lib64", "/lib64"):
        if names and (Path(folder) / names).is_file():
            return (Path(folder) / names).read_bytes()
    raise LookupError("no libm")


pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="the libraries are for x86-64 alone"
)


def test_a_hollow_library_is_found_with_every_symbol(tmp_path: Path) -> None:
    original = a_library()
    exported = trim.exports(original)
    assert b"cos" in exported
    path = tmp_path / "libhollow.so.7"
    path.write_bytes(trim.hollow(path.name, original))
    loaded = ctypes.CDLL(str(path))
    for name in exported:
        assert ctypes.cast(getattr(loaded, name.decode()), ctypes.c_void_p).value
    assert not hasattr(loaded, "never_exported")


def test_it_is_small(tmp_path: Path) -> None:
    original = a_library()
    assert len(trim.hollow("libm.so.6", original)) < len(original) / 3


def a_site(root: Path) -> Path:
    for name in (*trim.HOLLOW, *trim.KEEP):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(a_library())
    extra = root / "nvidia/cudnn/lib/libcudnn_adv.so.9"
    extra.write_bytes(b"big")
    (root / "torch/include").mkdir(parents=True)
    return root


def test_only_what_torch_names_stays(tmp_path: Path) -> None:
    site = a_site(tmp_path)
    trim.main(site)
    left = {str(path.relative_to(site)) for path in site.rglob("*") if path.is_file()}
    assert left == {*trim.HOLLOW, *trim.KEEP}
    assert not (site / "torch/include").exists()
    assert (site / trim.KEEP[0]).read_bytes() == a_library()


def test_another_torch_is_told_rather_than_broken(tmp_path: Path) -> None:
    site = a_site(tmp_path)
    (site / trim.HOLLOW[0]).unlink()
    with pytest.raises(LookupError, match=trim.HOLLOW[0]):
        trim.main(site)


def test_the_layout_is_an_elf_of_this_machine() -> None:
    head = struct.unpack_from("<16sHH", trim.hollow("libx.so", a_library()))
    assert head == (b"\x7fELF\x02\x01\x01".ljust(16, b"\0"), 3, 62)
