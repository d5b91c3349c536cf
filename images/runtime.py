"""Gather the root file system of an image: Python, what it needs, and little else.

Debian with its package manager, Perl and pip has three times the files that a server opens. Run as
root in a build stage; what is written becomes the first layer of the final stage, byte for byte the
same in every image, so that a node keeps it once. Scanners find the Debian packages that files are
taken from in dpkg's status, and people their licences in /usr/share/doc.

python3 runtime.py DIRECTORY
"""

from __future__ import annotations

import compileall
import os
import re
import shutil
import ssl
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from py_compile import PycInvalidationMode

PROGRAMS = ("cat", "cp", "env", "ldconfig", "ls", "lscpu", "mkdir", "rm", "sh", "tar")
"""For start commands, for engines that ask about processors, and for kubectl exec and cp."""

LIBRARIES = (
    "libdl.so.2",
    "libgcc_s.so.1",
    "libgomp.so.1",
    "libnuma.so.1",
    "libpthread.so.0",
    "libresolv.so.2",
    "librt.so.1",
    "libstdc++.so.6",
    "libutil.so.1",
    "libz.so.1",
)
"""What wheels expect of a Linux (PEP 600), the threads of llama.cpp, and where memory is."""

FILES = (
    "/etc/debian_version",
    "/etc/host.conf",
    "/etc/ld.so.conf",
    "/etc/mime.types",
    "/etc/nsswitch.conf",
    "/etc/os-release",
    "/etc/protocols",
    "/etc/services",
    "/etc/ssl/openssl.cnf",
    "/usr/lib/ssl/openssl.cnf",
)
"""Taken where Debian has them."""

AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
UNUSED = ("ensurepip", "idlelib", "lib2to3", "pydoc_data", "test", "tkinter", "turtledemo")
"""Of the standard library."""
_NOT_TAKEN = re.compile(
    r"__pycache__|(site|dist)-packages|config-3|turtle\.py|(_dbm|_tkinter|nis|_test\w+|xx\w+)\.cpython"
)
_DPKG = Path("/var/lib/dpkg")
_DIRECTORIES = ("dev", "etc", "home", "proc", "run", "sys", "tmp", "usr/bin", "var/tmp")
_USERS = "root:x:0:0:root:/root:/bin/sh\n{}kaito:x:65532:65532:kaito:/tmp:/bin/sh\n"
_NOBODY = "nobody:x:65534:65534:nobody:/nonexistent:/bin/sh\n"


class Root:
    """The file system that is gathered."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.taken: set[str] = set()
        """Paths with all directories resolved; a link's last part is not."""
        for name in _DIRECTORIES:
            self.place(f"/{name}").mkdir(parents=True)
        for name in ("tmp", "var/tmp"):
            self.place(f"/{name}").chmod(0o1777)
        for link in ("/bin", "/lib", "/lib64", "/sbin"):
            if os.path.islink(link):
                self.place(os.path.realpath(link)).mkdir(parents=True, exist_ok=True)
                self.place(link).symlink_to(os.readlink(link))

    def place(self, path: str) -> Path:
        return self.directory / path.lstrip("/")

    def take(self, path: str) -> None:
        """A file, or a link with what it leads to; FileNotFoundError where it is not there."""
        folder, name = os.path.split(path)
        path = os.path.join(os.path.realpath(folder), name)
        if path in self.taken:
            return
        self.taken.add(path)
        target = self.place(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        if os.path.islink(path):
            target.symlink_to(os.readlink(path))
            self.take(os.path.join(os.path.dirname(path), os.readlink(path)))
        else:
            shutil.copy2(path, target)

    def take_tree(self, top: str, unused: Iterable[str] = ()) -> None:
        """A directory, without the parts named."""
        for folder, names, files in os.walk(top):
            leave = set(unused) if folder == top else set()
            names[:] = sorted(n for n in names if n not in leave and not _NOT_TAKEN.search(n))
            for name in sorted(files):
                if not _NOT_TAKEN.search(name):
                    self.take(os.path.join(folder, name))

    def write(self, path: str, content: str) -> None:
        self.place(path).write_text(content)


def main(directory: Path) -> None:
    """LookupError where the Debian lacks something: install it in the build stage."""
    root = Root(directory)
    take_python(root)
    for name in PROGRAMS:
        root.take(found(name, shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")))
    known = subprocess.run(["ldconfig", "-p"], check=True, capture_output=True, text=True).stdout
    for name in LIBRARIES:
        match = re.search(rf"^\t{re.escape(name)} .*x86-64.* => (.+)$", known, re.MULTILINE)
        match = match or re.search(rf"^\t{re.escape(name)} .* => (.+)$", known, re.MULTILINE)
        root.take(found(name, match and match[1]))
    take_settings(root)
    for path in needed(path for path in root.taken if is_program(path)):
        root.take(path)
    keep_packages(root)
    subprocess.run(["ldconfig", "-r", directory], check=True)
    shutil.rmtree(root.place("/var/cache"), ignore_errors=True)


def found(name: str, path: str | None) -> str:
    if not path:
        raise LookupError(f"{name} is not in this Debian")
    return path


def take_python(root: Root) -> None:
    """The interpreter by all its names, and its library with bytecode that is never checked: a
    layer's files have no times to check it by."""
    binary = os.path.realpath(sys.executable)
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    for name in ("python", "python3", version):
        if os.path.exists(path := os.path.join(os.path.dirname(binary), name)):
            root.take(path)
    library = sysconfig.get_path("stdlib")
    root.take_tree(library, UNUSED)
    if not compile_tree(root.place(library), stripped=root.directory):
        raise SyntaxError(f"{library} does not compile")


def compile_tree(tree: Path, stripped: Path | None = None, quiet: int = 1) -> bool:
    """False where files are no Python of this version; `quiet` 2 keeps silent about them."""
    where = {"stripdir": stripped, "prependdir": "/"} if stripped else {}
    mode = PycInvalidationMode.UNCHECKED_HASH
    made = compileall.compile_dir(tree, quiet=quiet, workers=1, invalidation_mode=mode, **where)
    return bool(made)


def take_settings(root: Root) -> None:
    """Names, authorities, and the user that images run as."""
    root.take(AUTHORITIES)
    for path in FILES:
        if os.path.exists(path):
            root.take(path)
    for folder in ("/etc/ld.so.conf.d", "/usr/lib/locale/C.utf8"):
        root.take_tree(folder)
    bundle = root.place(ssl.get_default_verify_paths().openssl_cafile)
    if not os.path.lexists(bundle):
        bundle.parent.mkdir(parents=True, exist_ok=True)
        bundle.symlink_to(AUTHORITIES)
    root.write("/etc/passwd", _USERS.format(_NOBODY))
    root.write("/etc/group", "root:x:0:\nnogroup:x:65534:\nkaito:x:65532:\n")


def is_program(path: str) -> bool:
    """Also a library; links are followed."""
    with open(path, "rb") as file:
        return file.read(4) == b"\x7fELF"


def needed(programs: Iterable[str]) -> set[str]:
    """The libraries that the loader would open for them, and the loader."""
    command = ["ldd", *sorted(programs)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if missing := re.search(r"^\t(\S+) => not found$", lines, re.MULTILINE):
        raise LookupError(f"{missing[1]} is not in this Debian")
    return set(re.findall(r"^\t(?:\S+ => )?(/\S+) \(0x", lines, re.MULTILINE))


def keep_packages(root: Root) -> None:
    """What dpkg knows of the packages that files come from, and their licences."""
    owners = {"ca-certificates"}  # The bundle is made of its files.
    for listing in _DPKG.joinpath("info").glob("*.list"):
        paths = map(os.path.split, listing.read_text().splitlines())
        if any(os.path.join(os.path.realpath(folder), n) in root.taken for folder, n in paths):
            owners.add(listing.stem.partition(":")[0])
    stanzas = _DPKG.joinpath("status").read_text().strip().split("\n\n")
    names = (re.search(r"^Package: (\S+)$", each, re.MULTILINE) for each in stanzas)
    kept = [each for each, name in zip(stanzas, names, strict=True) if name and name[1] in owners]
    root.place(str(_DPKG)).mkdir(parents=True)
    root.write(str(_DPKG / "status"), "\n\n".join(sorted(kept)) + "\n")
    for owner in sorted(owners):
        folder = f"/usr/share/doc/{owner}"
        if os.path.exists(path := f"{folder}/copyright"):
            root.take(path)
        if os.path.islink(folder):
            root.place(folder).symlink_to(os.readlink(folder))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
