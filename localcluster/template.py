"""The containerd root that nodes are cloned from: each image is unpacked once, not once a node."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from localcluster import nodeconfig
from localcluster.commands import run
from localcluster.processes import Daemon, StartError, wait_until

NAMESPACE = "k8s.io"
"""containerd's namespace of the kubelet's images."""


class Template:
    """A containerd root with images; `directory` must be on the file system of the nodes."""

    def __init__(self, directory: Path, run_directory: Path, logs: Path) -> None:
        self.directory = directory
        self._run = run_directory
        self._logs = logs

    def images(self) -> dict[str, str]:
        """Name of each image in it → key of the build that it came from."""
        try:
            known: dict[str, str] = json.loads(self._index.read_text())
        except FileNotFoundError:
            return {}
        return known

    def load(self, archives: Mapping[str, tuple[str, Path]]) -> list[str]:
        """Import name → (key, docker-archive) where the key is new; the answer is what was."""
        with self._locked(fcntl.LOCK_EX):
            known = self.images()
            wanted = {name: item for name, item in archives.items() if known.get(name) != item[0]}
            if not wanted:
                return []
            self.directory.mkdir(parents=True, exist_ok=True)
            daemon, address = self._containerd()
            try:
                for name, (key, archive) in wanted.items():
                    import_archive(["ctr", "--address", str(address)], archive)
                    known[name] = key
                    self._write_index(known)
            finally:
                daemon.stop()
        return list(wanted)

    @contextmanager
    def held(self) -> Iterator[Path]:
        """The directory, unchanged for as long as the caller copies from it."""
        with self._locked(fcntl.LOCK_SH):
            self.directory.mkdir(parents=True, exist_ok=True)
            yield self.directory

    @property
    def _index(self) -> Path:
        return self.directory.with_name(f"{self.directory.name}.json")

    def _write_index(self, known: Mapping[str, str]) -> None:
        temporary = self._index.with_suffix(".tmp")
        temporary.write_text(json.dumps(known, indent=2))
        temporary.rename(self._index)

    @contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        self.directory.parent.mkdir(parents=True, exist_ok=True)
        lock = self.directory.with_name(f"{self.directory.name}.lock")
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, how)
            yield
        finally:
            os.close(descriptor)

    def _containerd(self) -> tuple[Daemon, Path]:
        """A containerd for the import alone; its mounts are its own and vanish with it."""
        daemon = Daemon("template-containerd", self._run, self._logs)
        daemon.stop()  # of a run that was killed
        self._run.mkdir(parents=True, exist_ok=True)
        state = self._run / "template-containerd"
        address = state / "containerd.sock"
        address.unlink(missing_ok=True)
        configuration = self._run / "template-containerd.toml"
        configuration.write_text(nodeconfig.containerd_for_import(self.directory, state))
        command = ["containerd", "--config", str(configuration)]
        daemon.start(["unshare", "--mount", "--propagation", "private", *command])

        def up() -> bool:
            daemon.require_running()
            return address.exists()

        if not wait_until(up, 20):
            daemon.stop()
            raise StartError(f"containerd did not start; see {daemon.log}")
        return daemon, address


def import_archive(ctr: list[str], archive: Path) -> None:
    """Import a docker-archive by a `ctr` command that reaches some containerd."""
    run([*ctr, "--namespace", NAMESPACE, "images", "import", "--no-unpack=false", archive])
