"""llama.cpp: the context that fits, the keys, and the end of its connections."""

from __future__ import annotations

import socket
import struct
import threading
from pathlib import Path

import pytest
from serving.llamacpp import connections, context, files, gguf
from serving.llamacpp.gguf import Shape

# Layers, heads and lengths of Gemma 3 270M.
GEMMA = {
    "gemma3.block_count": 18,
    "gemma3.context_length": 32768,
    "gemma3.embedding_length": 640,
    "gemma3.attention.head_count": 4,
    "gemma3.attention.head_count_kv": 1,
    "gemma3.attention.key_length": 256,
    "gemma3.attention.value_length": 256,
}


def text(words: str) -> bytes:
    return struct.pack("<Q", len(words)) + words.encode()


def head(architecture: str, numbers: dict[str, int | list[int]], rest: bytes = b"") -> bytes:
    """Of a GGUF file, version 3."""
    tags = struct.pack("<IIQ", 9, 8, 2) + text("chat") + text("en")
    pairs = [
        text("general.architecture") + struct.pack("<I", 8) + text(architecture),
        text("general.tags") + tags,
    ]
    for name, value in numbers.items():
        if isinstance(value, list):
            items = struct.pack(f"<IQ{len(value)}I", 4, len(value), *value)
            pairs.append(text(name) + struct.pack("<I", 9) + items)
        else:
            pairs.append(text(name) + struct.pack("<II", 4, value))
    return b"GGUF" + struct.pack("<IQQ", 3, 0, len(pairs) + bool(rest)) + b"".join(pairs) + rest


def shape(tmp_path: Path, content: bytes) -> Shape | None:
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    return gguf.shape(path)


def test_the_head_tells_what_a_token_takes(tmp_path: Path) -> None:
    words = text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 262144)
    assert shape(tmp_path, head("gemma3", GEMMA, words)) == Shape(32768, 18 * 1 * 512 * 2)


def test_heads_may_differ_by_layer_and_lengths_follow_from_the_width(tmp_path: Path) -> None:
    found = shape(
        tmp_path,
        head(
            "llama",
            {
                "llama.block_count": 3,
                "llama.context_length": 4096,
                "llama.embedding_length": 1024,
                "llama.attention.head_count": 8,
                "llama.attention.head_count_kv": [2, 0, 4],
            },
        ),
    )
    assert found == Shape(4096, 6 * (128 + 128) * 2)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"GGUF\x03\0\0\0", id="cut off"),
        pytest.param(head("gemma3", {}), id="says nothing"),
        pytest.param(head("gemma3", GEMMA)[:120], id="cut off in the midst"),
    ],
)
def test_a_file_that_does_not_say_enough_is_no_error(tmp_path: Path, content: bytes) -> None:
    assert shape(tmp_path, content) is None


def fitting(wanted: int, memory_gib: float, found: Shape | None = None) -> int:
    # 64 KiB a token: 16384 tokens a GiB.
    of = found or Shape(context_length=65536, kv_bytes_per_token=65536)
    return context.fitting(wanted, of, memory_gib=memory_gib, weights_gib=1.0, kept_gib=0.25)


@pytest.mark.parametrize(
    ("wanted", "memory_gib", "tokens"),
    [
        pytest.param(0, 8.0, 0, id="the model's own length fits"),
        pytest.param(0, 2.85, 16384, id="one GiB is left"),
        pytest.param(0, 2.849, 16128, id="rounded down"),
        pytest.param(8192, 2.85, 8192, id="what is asked for fits"),
        pytest.param(32768, 2.85, 16384, id="what is asked for does not"),
        pytest.param(0, 1.0, context.LEAST, id="nothing is left"),
        pytest.param(4096, 0.0, 4096, id="nobody knows the memory"),
    ],
)
def test_the_context_is_the_longest_that_fits(wanted: int, memory_gib: float, tokens: int) -> None:
    assert fitting(wanted, memory_gib) == tokens


def test_without_its_shape_a_model_is_left_alone() -> None:
    assert context.fitting(0, None, memory_gib=1, weights_gib=1, kept_gib=0) == 0


def test_a_shorter_context_is_told() -> None:
    of = Shape(context_length=65536, kv_bytes_per_token=65536)
    said = context.words(16384, 0, of, 2.85)
    assert "16384 tokens in place of 65536" in said
    assert "2.9 GiB at 64 KiB" in said
    assert context.words(0, 0, of, 8.0) == ""


def test_the_size_is_that_of_all_parts(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / f"big-0000{number}-of-00002.gguf").write_bytes(bytes(1 << 20))
    (tmp_path / "other.gguf").write_bytes(bytes(1 << 20))
    assert files.size_gib(tmp_path / "big-00001-of-00002.gguf") == 2 / 1024
    assert files.size_gib(tmp_path / "other.gguf") == 1 / 1024


class Server:
    """Takes connections in a thread that waits in accept(), as cpp-httplib's does."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listener.getsockname()[1])
        self.taken: list[socket.socket] = []
        self.number = self.listener.fileno()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                self.taken.append(self.listener.accept()[0])
            except OSError:
                return


def test_nobody_new_comes_in_and_those_who_are_may_end() -> None:
    server = Server()
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        while not server.taken:
            pass
        ended: list[bool] = []
        draining = threading.Thread(
            target=lambda: ended.append(connections.drain(server.port, 10.0))
        )
        draining.start()
        refused = False
        while not refused:
            try:
                socket.create_connection(("127.0.0.1", server.port), timeout=1).close()
            except ConnectionRefusedError:
                refused = True
            except ConnectionResetError:
                pass  # the door closed between its hand and ours
        assert server.listener.fileno() == server.number, "the server's own descriptor stays"
        server.taken[0].sendall(b"the last words")
        assert client.recv(100) == b"the last words"
        assert not ended
        for each in server.taken:
            each.close()
    draining.join(10.0)
    assert ended == [True]
    server.listener.close()


def test_the_end_waits_no_longer_than_it_may() -> None:
    server = Server()
    with socket.create_connection(("127.0.0.1", server.port)):
        while not server.taken:
            pass
        assert connections.drain(server.port, 0.1) is False
    for each in server.taken:
        each.close()
    server.listener.close()
