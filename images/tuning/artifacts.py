"""The registry that the result goes to; checkpoints go there as well, since the pod's disk goes
with the pod."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from apis import container, reports
from oci import credentials, download, unpack
from oci.errors import NotFoundError, TransferError, UnreachableError
from oci.image import Image
from oci.layers import tar_layer
from oci.reference import Reference, insecure_hosts
from oci.registry import Registry
from oci.web import Web
from tuning.failures import Failure, PushError

DATA = "data"
"""The directory in the image that adapters are taken from."""


class Repository:
    """`output` is the reference that the user asks for."""

    def __init__(self, output: str, secrets: Path, environment: Mapping[str, str]) -> None:
        """PushError where the reference or a Secret cannot be read."""
        try:
            insecure = insecure_hosts(environment.get(container.ENV_INSECURE_REGISTRIES, ""))
            self.reference = Reference.parse(output, insecure)
            self._credentials = credentials.load(secrets)
        except TransferError as error:
            raise PushError(f"tuning.output.image: {error}") from error
        self._registry = Registry(self.reference, self._credentials)

    @property
    def checkpoint_tag(self) -> str:
        return f"{self.reference.tag or 'latest'}-checkpoint"

    def check(self) -> None:
        """PushError where it will not take the result."""
        try:
            self._registry.check_push()
        except TransferError as error:
            raise _refused(f"tuning.output.image: {error}", error) from error

    def push_result(self, folder: Path, files: list[str], annotations: Mapping[str, str]) -> str:
        """host/name@digest. The same files and annotations are the same digest. A layer for the
        weights and one for the rest, which is what changes when only a text does."""
        weights = [name for name in files if name.endswith(".safetensors")]
        parts = [weights, [name for name in files if name not in weights]]
        layers = [
            tar_layer({f"{DATA}/{name}": folder / name for name in part}) for part in parts if part
        ]
        image = Image(
            layers,
            config={"config": {"Labels": dict(annotations)}},
            annotations=annotations,
        )
        try:
            digest = self._registry.push(image, self.reference.tag or "latest")
        except TransferError as error:
            said = f"the result is kept in {folder}, but {self.reference} does not take it: {error}"
            raise _refused(said, error) from error
        return str(self.reference.at(digest))

    def push_checkpoint(self, path: Path) -> None:
        """TransferError where it cannot be sent: the training goes on all the same."""
        files = {
            f"{path.name}/{each.relative_to(path)}": each
            for each in sorted(path.rglob("*"))
            if each.is_file()
        }
        image = Image(
            [tar_layer(files)],
            config={},
            annotations={"sh.kaito.tuning.checkpoint": path.name},
        )
        self._registry.push(image, self.checkpoint_tag)

    def pull_checkpoint(self, root: Path, say: Callable[[str], None]) -> None:
        """Into `root`, if there is one that is not there yet. What cannot be had is told: the
        training then begins anew."""
        try:
            registry = Registry(self.reference.tagged(self.checkpoint_tag), self._credentials)
            manifest = json.loads(registry.pull_manifest())
            name = manifest.get("annotations", {}).get("sh.kaito.tuning.checkpoint", "")
            if not name or "/" in name or (root / name).exists():
                return
            say(f"fetch {name} from {self.reference.tagged(self.checkpoint_tag)}")
            root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=root, prefix=".pulled-") as scratch:
                blobs = [registry.pull_blob(layer, name) for layer in registry.layers()]
                download.fetch(blobs, Path(scratch), Web())
                files = Path(scratch) / "files"
                for blob in blobs:
                    unpack.unpack(Path(scratch) / blob.key, files)
                (files / name).rename(root / name)
        except NotFoundError:
            return
        except (TransferError, OSError, ValueError) as error:
            say(f"no checkpoint could be fetched: {error}")


def _refused(line: str, error: TransferError) -> Exception:
    """What does not answer now is asked again by the Job's next pod; what refuses is not."""
    if isinstance(error, UnreachableError):
        return Failure(reports.EXIT_UNREACHABLE, line)
    return PushError(line)


class Uploads:
    """Checkpoints on their way, in a thread: the newest that waits, and no more than one."""

    def __init__(self, repository: Repository, say: Callable[[str], None]) -> None:
        self._repository, self._say = repository, say
        self._changed = threading.Condition()
        self._waiting: Path | None = None
        self._busy = self._ended = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def offer(self, path: Path) -> None:
        """The directory may be deleted afterwards: its files are linked, not copied."""
        copy = Path(tempfile.mkdtemp(dir=path.parent, prefix=".upload-")) / path.name
        shutil.copytree(path, copy, copy_function=os.link)
        with self._changed:
            before, self._waiting = self._waiting, copy
            self._changed.notify_all()
        if before is not None:
            shutil.rmtree(before.parent)

    def finish(self, seconds: float) -> bool:
        """Whether all that was offered is there, after at most so long."""
        with self._changed:
            done = self._changed.wait_for(lambda: not self._busy and not self._waiting, seconds)
            self._ended = True
            self._changed.notify_all()
        return done

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting is not None or self._ended)
                path, self._waiting = self._waiting, None
                if path is None:
                    return
                self._busy = True
            try:
                self._repository.push_checkpoint(path)
            except (TransferError, OSError) as error:
                self._say(f"{path.name} could not be pushed: {error}")
            finally:
                with contextlib.suppress(OSError):
                    shutil.rmtree(path.parent)
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()
