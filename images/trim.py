"""Make the CPU image small: PyPI's torch brings 2.7 GB of CUDA libraries that a CPU never calls.

Run once, at build time, on a site-packages directory. Torch's own libraries name NVIDIA's, so the
loader must find them with their symbols. Each big one is replaced by a hollow library of the same
name, version and symbols; what is not even named goes.

python trim.py SITE_PACKAGES
"""

from __future__ import annotations

import shutil
import struct
import sys
from pathlib import Path

HOLLOW = (
    "nvidia/cu13/lib/libcublas.so.13",
    "nvidia/cu13/lib/libcublasLt.so.13",
    "nvidia/cu13/lib/libcufft.so.12",
    "nvidia/cu13/lib/libcurand.so.10",
    "nvidia/cu13/lib/libcusparse.so.12",
    "nvidia/cu13/lib/libnvrtc.so.13",
    "nvidia/cudnn/lib/libcudnn.so.9",
    "nvidia/cusparselt/lib/libcusparseLt.so.0",
    "nvidia/nccl/lib/libnccl.so.2",
)
"""Needed by name. The small ones (cudart, cupti, cufile, nvshmem) stay: they also give data."""

KEEP = (
    "nvidia/cu13/lib/libcudart.so.13",
    "nvidia/cu13/lib/libcufile.so.0",
    "nvidia/cu13/lib/libcupti.so.13",
    "nvidia/nvshmem/lib/libnvshmem_host.so.3",
)

GONE = (
    "torch/lib/libtorch_cuda_linalg.so",
    "torch/include",
    "torch/share",
    "torch/test",
)
"""Not for serving."""


def main(site_packages: Path) -> None:
    """LookupError where a library is not where torch of the locked version has it."""
    for name in (*HOLLOW, *KEEP):
        if not (site_packages / name).is_file():
            raise LookupError(f"{name} is not there: torch has changed, and so must this list")
    for path in (site_packages / "nvidia").rglob("*"):
        if path.is_file() and str(path.relative_to(site_packages)) not in (*HOLLOW, *KEEP):
            path.unlink()
    for name in HOLLOW:
        path = site_packages / name
        path.write_bytes(hollow(path.name, path.read_bytes()))
    for name in GONE:
        path = site_packages / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def hollow(name: str, original: bytes) -> bytes:
    """A library for x86-64 that exports the same symbols, and does nothing: each is one
    instruction that ends the process.

    Its layout: headers, tables and the instruction (read, execute), then what the loader writes.
    """
    exported = exports(original)
    names = bytearray(b"\0" + name.encode() + b"\0")
    symbols = bytearray(_SYMBOL.size)
    for each in exported:
        # Global function in a section that exists; the value is put in below.
        symbols += _SYMBOL.pack(len(names), 0x12, 0, 1, 0, 0)
        names += each + b"\0"
    parts = {
        _STRTAB: bytes(names),
        _HASH: _hash_table(exported),
        _VERSYM: bytes(2) + struct.pack("<H", 2) * len(exported),
        _VERDEF: _version(1, 1, name, last=False) + _version(0, 2, name, last=True),
        _SYMTAB: symbols,
    }
    places, at = {}, _HEADER.size + _PROGRAM.size * 4
    for tag, content in parts.items():
        places[tag] = at = -(-at // 8) * 8
        at += len(content)
    code = at
    for offset in range(_SYMBOL.size, len(symbols), _SYMBOL.size):
        struct.pack_into("<Q", symbols, offset + 8, code)
    size = -(-(code + len(_END)) // 8) * 8
    entries = [(_SONAME, 1), (_STRSZ, len(names)), (_SYMENT, _SYMBOL.size), (_VERDEFNUM, 2)]
    dynamic = b"".join(struct.pack("<QQ", *entry) for entry in [*entries, *places.items(), (0, 0)])
    library = bytearray(size)
    library[: _HEADER.size] = _HEADER.pack(
        b"\x7fELF\x02\x01\x01", 3, 62, 1, 0, _HEADER.size, 0, 0, 64, _PROGRAM.size, 4, 64, 0, 0
    )
    memory = (size + _PAGE, size + _PAGE, len(dynamic), len(dynamic))
    for index, program in enumerate(
        (
            (1, 5, 0, 0, 0, size, size, _PAGE),  # load: read, execute
            (1, 6, size, *memory, _PAGE),  # load: read, write
            (2, 6, size, *memory, 8),  # dynamic
            (0x6474E551, 6, 0, 0, 0, 0, 0, 16),  # the stack is not executable
        )
    ):
        _PROGRAM.pack_into(library, _HEADER.size + index * _PROGRAM.size, *program)
    for tag, content in parts.items():
        library[places[tag] : places[tag] + len(content)] = content
    library[code : code + len(_END)] = _END
    return bytes(library) + dynamic


def exports(library: bytes) -> list[bytes]:
    """Names of the symbols that a library defines for others."""
    section_at = struct.unpack_from("<Q", library, 40)[0]
    count = struct.unpack_from("<H", library, 60)[0]
    sections = [_SECTION.unpack_from(library, section_at + i * _SECTION.size) for i in range(count)]
    (table,) = (section for section in sections if section[1] == 11)  # SHT_DYNSYM
    names_at = sections[table[6]][4]
    found = set()
    for offset in range(table[4], table[4] + table[5], _SYMBOL.size):
        name, info, _, section, _, _ = _SYMBOL.unpack_from(library, offset)
        if name and section not in (0, 0xFFF1) and info >> 4 in (1, 2):  # defined, global or weak
            end = library.index(b"\0", names_at + name)
            found.add(library[names_at + name : end])
    return sorted(found)


_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_PROGRAM = struct.Struct("<IIQQQQQQ")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_HASH, _STRTAB, _SYMTAB, _STRSZ, _SYMENT, _SONAME = 4, 5, 6, 10, 11, 14
_VERSYM, _VERDEF, _VERDEFNUM = 0x6FFFFFF0, 0x6FFFFFFC, 0x6FFFFFFD
_PAGE = 0x1000
_END = b"\x0f\x0b"
"""ud2: an illegal instruction."""


def _hash_table(names: list[bytes]) -> bytes:
    """DT_HASH: buckets of chains of symbol numbers; number 0 is no symbol and ends a chain."""
    buckets, chain = [0] * max(1, len(names)), [0] * (len(names) + 1)
    for number, name in enumerate(names, 1):
        bucket = _hash(name) % len(buckets)
        chain[number], buckets[bucket] = buckets[bucket], number
    words = [len(buckets), len(chain), *buckets, *chain]
    return struct.pack(f"<{len(words)}I", *words)


def _version(flags: int, index: int, name: str, *, last: bool) -> bytes:
    """An Elf64_Verdef with its one Elf64_Verdaux; `flags` 1 marks the library's own name."""
    following = 0 if last else 28
    definition = struct.pack("<HHHHIII", 1, flags, index, 1, _hash(name.encode()), 20, following)
    return definition + struct.pack("<II", 1, 0)


def _hash(name: bytes) -> int:
    """The System V ABI's hash of a symbol name."""
    value = 0
    for byte in name:
        value = (value << 4) + byte
        high = value & 0xF0000000
        value = (value ^ (high >> 24)) & ~high & 0xFFFFFFFF
    return value


if __name__ == "__main__":
    main(Path(sys.argv[1]))
