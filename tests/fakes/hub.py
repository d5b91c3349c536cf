"""Hugging Face on the loopback address: repositories that tests describe, and what was asked."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.downloads import Downloads

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_secret"

SMALL_LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 1024,
    "num_hidden_layers": 16,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "max_position_embeddings": 32768,
    "torch_dtype": "bfloat16",
}

_LARGE = 100
"""Bytes; files of more are large (LFS) ones."""

Answer = tuple[int, dict[str, str], bytes]


def config_json(config: Mapping[str, Any] = SMALL_LLAMA) -> bytes:
    return json.dumps(config).encode()


def llama_files() -> dict[str, bytes | int]:
    """Those of a small Llama, of which nobody downloads the weights."""
    return {"config.json": config_json(), "model.safetensors": 2 << 30}


@dataclass
class Repository:
    """One at one commit, which is `main` too."""

    files: dict[str, bytes | int] = field(default_factory=llama_files)
    """By path what they hold, or only their size."""
    commit: str = COMMIT
    token: str = ""
    """What opens it; empty: it is public."""
    gated: bool = False
    """Whether everybody is told of it who may not have its files yet."""


class Hub(Downloads):
    """While it is `down` each request gets a 503; while `told` is clear, nobody gets a listing."""

    def __init__(self, repositories: Mapping[str, Repository] | None = None) -> None:
        super().__init__()
        self.repositories = dict(repositories or {})
        self.down = False
        self.storage = ""
        """Another host that files are redirected to."""
        self.told = threading.Event()
        self.told.set()

    @contextmanager
    def running(self, address: str = "127.0.0.1") -> Iterator[Hub]:
        with super().running(address):
            try:
                yield self
            finally:
                self.told.set()

    def descriptions(self) -> int:
        """How often a repository was asked for."""
        return sum(count for path, count in self.asked.items() if path.startswith("/api/"))

    def listing(self, repository: Repository) -> list[dict[str, Any]]:
        return [sibling(*each) for each in repository.files.items()]

    def answer(
        self, path: str, query: Mapping[str, list[str]], headers: Mapping[str, str]
    ) -> Answer:
        if self.down:
            return 503, {}, b""
        listed = path.startswith("/api/models/")
        owner, _, rest = path.removeprefix("/api/models" if listed else "")[1:].partition("/")
        model, _, rest = rest.partition("/")
        found = self.repositories.get(f"{owner}/{model}")
        token = headers.get("Authorization", "").removeprefix("Bearer ")
        opened = found is not None and token == (found.token or token)
        if found is None or not (opened or found.gated):
            return _absent(token)
        if listed:
            self.told.wait()
            return self._described(f"{owner}/{model}", found, rest.removeprefix("revision/"))
        if not opened:
            return 401, {"X-Error-Code": "GatedRepo"}, b""
        return self._file(found, rest)

    def _described(self, name: str, found: Repository, revision: str) -> Answer:
        if revision not in ("main", found.commit):
            return 404, {"X-Error-Code": "RevisionNotFound"}, b""
        told = {
            "id": name,
            "sha": found.commit,
            "gated": "manual" if found.gated else False,
            "siblings": self.listing(found),
        }
        return 200, {}, json.dumps(told).encode()

    def _file(self, found: Repository, rest: str) -> Answer:
        content = found.files.get(rest.removeprefix(f"resolve/{found.commit}/"))
        if not isinstance(content, bytes):
            return 404, {"X-Error-Code": "EntryNotFound"}, b""
        if self.storage:
            where = f"{self.storage}/stored/{hashlib.sha256(content).hexdigest()}?signature=s"
            return 302, {"Location": where}, b""
        self.gate.wait()
        return 200, {}, content


class Storage(Downloads):
    """Where a hub keeps its files; refuses who shows it a token."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        super().__init__()
        self._files = {hashlib.sha256(each).hexdigest(): each for each in files.values()}

    def answer(
        self, path: str, query: Mapping[str, list[str]], headers: Mapping[str, str]
    ) -> Answer:
        if "Authorization" in headers:
            return 400, {}, b""
        return 200, {}, self._files[path.rpartition("/")[2]]


def sibling(name: str, content: bytes | int) -> dict[str, Any]:
    """A file as the hub lists it."""
    if isinstance(content, int):
        return {"rfilename": name, "size": content}
    git = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False)
    found: dict[str, Any] = {"rfilename": name, "size": len(content), "blobId": git.hexdigest()}
    if len(content) > _LARGE:
        found["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    return found


def _absent(token: str) -> Answer:
    """The real one does not tell those who give no token what is private."""
    status = 404 if token else 401
    return status, {"X-Error-Code": "RepoNotFound"}, b""
