"""Tokenizers that count exactly: the server's own, and one from a file."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tokenizers import Tokenizer as Loaded

from rag.chat.llm import Llm, RefusedError
from rag.chat.tokens import CountError
from rag.errors import LlmError

_TIMEOUT: Final = 3.0
_AT_ONCE: Final = 8


class ServerTokenizer:
    """`/tokenize`, in vLLM's form, which our transformers has too, or in llama.cpp's."""

    def __init__(self, llm: Llm) -> None:
        self._llm = llm
        self._llama = False
        """What it was when it last counted."""

    async def count(self, texts: Sequence[str], model: str | None) -> list[int]:
        gate = asyncio.Semaphore(_AT_ONCE)

        async def one(text: str) -> int:
            async with gate:
                return await self._one(text, model)

        tasks = [asyncio.ensure_future(one(each)) for each in texts]
        try:
            return list(await asyncio.gather(*tasks))
        except (LlmError, RefusedError) as error:
            self._llama = False
            raise CountError(f"the server's /tokenize: {error}") from error
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _one(self, text: str, model: str | None) -> int:
        named = {"model": model} if model else {}
        if not self._llama:
            found = await self._ask({**named, "prompt": text, "add_special_tokens": False})
            if isinstance(found.get("count"), int):
                return int(found["count"])
        # llama.cpp looks for a `content`, and tells the tokens of none where there is none.
        found = await self._ask({**named, "content": text, "add_special": False})
        tokens = found.get("tokens")
        if not isinstance(tokens, list) or not tokens:
            self._llama = False
            raise CountError("the server's /tokenize answers in a form that is not known")
        self._llama = True
        return len(tokens)

    async def _ask(self, body: dict[str, Any]) -> dict[str, Any]:
        url = self._llm.endpoint.tokenize
        found = await self._llm.post(url, body, timeout=_TIMEOUT)
        return found if isinstance(found, dict) else {}


class FileTokenizer:
    """A tokenizer.json, read when it is first needed, of whatever model is asked."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._loaded: Loaded | None = None
        self._loading = threading.Lock()

    async def count(self, texts: Sequence[str], model: str | None) -> list[int]:
        del model
        return await asyncio.to_thread(self._count, list(texts))

    def _count(self, texts: list[str]) -> list[int]:
        tokenizer = self._load()
        return [len(each) for each in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

    def _load(self) -> Loaded:
        with self._loading:
            if self._loaded is None:
                try:
                    loaded = Loaded.from_file(str(self._path))
                except Exception as error:  # the library raises Exception itself
                    raise CountError(f"{self._path} is no tokenizer: {error}") from error
                loaded.no_truncation()
                loaded.no_padding()
                self._loaded = loaded
            return self._loaded
