"""Descriptions and commits of models, asked of Hugging Face in the background: no reconcile waits.

One request at a time for each repository, revision and token, however many Workspaces want it;
the answer is kept for a while, good or bad, and wakes those that wait. Tokens are read from their
Secrets when they are needed and not kept: a cache entry knows only a digest.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol

from apis.container import TOKEN_SECRET_KEY
from apis.kaito.v1beta1.workspace import Workspace
from kube.client import Client
from kube.clock import Clock
from kube.errors import KubeError
from kube.meta import Key
from kube.objects import SECRETS
from kube.transport import NETWORK_ERRORS, backoff
from presets.catalog import Catalog
from presets.fetch import AccessDeniedError, UnavailableError, UnknownRepositoryError
from presets.files import UnsupportedModelError
from presets.model import Model
from workspace_controller.workspace import models, pins
from workspace_controller.workspace.models import (
    Answer,
    Commit,
    Pending,
    Question,
    Refused,
)

logger = logging.getLogger(__name__)

GOOD_SECONDS = 3600.0
"""How long an answer serves further Workspaces; each keeps its own for good."""
BAD_SECONDS = (30.0, 600.0)
"""How long a refusal does, at first and at most: Secrets appear, licences are accepted."""
SILENCE_SECONDS = (5.0, 300.0)
"""Pauses, at first and at most, while nobody answers."""
_SAFETY_SECONDS = 60.0
_REMEMBERED = 1024
_AT_ONCE = 16
"""Requests; after a restart a whole cluster may have something to ask."""


class Fetcher(Protocol):
    """Where descriptions come from; `presets.fetch.Hub` is one."""

    endpoint: str

    def model(self, name: str, *, token: str = "") -> Coroutine[Any, Any, Model]: ...

    def commit(self, repository: str, *, token: str = "") -> Coroutine[Any, Any, str]: ...

    async def close(self) -> None: ...


_Key = tuple[bool, str, str]
"""Whether the commit alone is wanted, a name in lower case, and the digest of a token."""


@dataclass(slots=True)
class _Entry:
    """What is known of a question; `failures` in a row make the pauses longer."""

    answer: Answer
    until: float = 0.0
    failures: int = 0
    task: asyncio.Task[None] | None = None
    waiting: set[Key] = field(default_factory=set)


class ModelSource:
    """Answers at once with what is known, and sees to it that more is known later.

    `wake` is called with the key of each Workspace that waited for an answer. While `offline`
    nobody is asked.
    """

    name = "models"

    def __init__(
        self,
        client: Client,
        catalog: Catalog,
        clock: Clock,
        hub: Fetcher,
        *,
        offline: bool = False,
    ) -> None:
        self.wake: Callable[[Key], None] = lambda _: None
        self._client = client
        self._catalog = catalog
        self._clock = clock
        self._hub = hub
        self._offline = offline
        self._entries: dict[Question, _Entry] = {}
        self._fetches: dict[_Key, asyncio.Task[Model | Commit]] = {}
        self._fetched: dict[_Key, tuple[Model | Commit, float]] = {}
        self._stopped = asyncio.Event()
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def run(self) -> None:
        """Until `stop`: what is under way then is given up, and nothing was promised."""
        try:
            await self._stopped.wait()
        finally:
            await self.close()

    def stop(self) -> None:
        self._stopped.set()

    def ask(self, workspace: Workspace) -> Answer | None:
        """What is known of its preset; None where that is no question for Hugging Face."""
        question = models.question(workspace, self._catalog)
        if question is not None and self._offline:
            return Refused(question.name_path, _offline(question), BAD_SECONDS[-1])
        return None if question is None else self._answer_to(question, workspace)

    def ask_commit(self, workspace: Workspace) -> Answer | None:
        """The commit for a preset that has none; None where it needs none, or nobody is asked."""
        question = pins.question(workspace, self._catalog)
        if question is None or self._offline:
            return None
        return self._answer_to(question, workspace)

    def _answer_to(self, question: Question, workspace: Workspace) -> Answer:
        entry = self._entries.get(question)
        if entry is None:
            self._forget_oldest()
            entry = self._entries[question] = _Entry(self._asking(question))
        due = entry.task is None and entry.until <= self._clock.monotonic()
        if due and not self._stopped.is_set():  # nobody would end what is begun after the end
            if isinstance(entry.answer, Model | Commit) or question.commit_alone:
                entry.answer = self._asking(question)
            entry.task = asyncio.create_task(self._find_out(question, entry))
        if entry.task is not None:
            entry.waiting.add(workspace.metadata.key)
        return entry.answer

    async def close(self) -> None:
        """Ends what is under way; asked again, it starts anew."""
        tasks = [entry.task for entry in self._entries.values() if entry.task is not None]
        for task in [*tasks, *self._fetches.values()]:
            task.cancel()
        await asyncio.gather(*tasks, *self._fetches.values(), return_exceptions=True)
        await self._hub.close()

    def _asking(self, question: Question) -> Pending:
        host = self._hub.endpoint.partition("://")[2]
        return Pending(f"asking {host} {_wanted(question)}", _SAFETY_SECONDS)

    def _forget_oldest(self) -> None:
        idle = [each for each, entry in self._entries.items() if entry.task is None]
        for each in idle[: max(0, len(self._entries) - _REMEMBERED)]:
            del self._entries[each]
        now = self._clock.monotonic()
        self._fetched = {key: kept for key, kept in self._fetched.items() if kept[1] > now}

    async def _find_out(self, question: Question, entry: _Entry) -> None:
        """One answer, whatever it is, and those woken that wait for it."""
        pause = SILENCE_SECONDS[-1]
        try:
            entry.answer = await self._answer(question)
            entry.failures, pause = 0, GOOD_SECONDS
        except _RefusedError as error:
            pause = backoff(entry.failures, *BAD_SECONDS)
            entry.failures += 1
            entry.answer = Refused(error.path, str(error), pause)
        except (*NETWORK_ERRORS, UnavailableError, KubeError) as error:
            pause = backoff(entry.failures, *SILENCE_SECONDS)
            entry.failures += 1
            entry.answer = Pending(_silence(question, self._hub.endpoint, error), pause)
            logger.warning("%s", entry.answer.message)
        finally:
            entry.until = self._clock.monotonic() + pause
            entry.task = None
            waiting, entry.waiting = entry.waiting, set()
            for key in waiting:
                self.wake(key)

    async def _answer(self, question: Question) -> Model | Commit:
        token, lack = await self._token(question)
        try:
            return await self._fetch(question, token)
        except AccessDeniedError as error:
            raise _denied(question, error, lack=lack) from error
        except (UnknownRepositoryError, UnsupportedModelError) as error:
            raise _RefusedError(question.name_path, str(error)) from error

    async def _token(self, question: Question) -> tuple[str, str]:
        """The token in the Secret, or why there is none: a public model needs none."""
        if not question.secret:
            return "", ""
        named = f'Secret "{question.secret}" in namespace "{question.namespace}"'
        found = await self._client.get(SECRETS, question.secret, question.namespace)
        if found is None:
            return "", f"there is no {named}; create it with the key {TOKEN_SECRET_KEY}"
        try:
            raw = base64.b64decode(found.data.get(TOKEN_SECRET_KEY, ""), validate=True)
            token = raw.decode("ascii").strip()
        except (binascii.Error, UnicodeDecodeError):
            token = ""
        if not token:
            return "", f"{named} has no token under the key {TOKEN_SECRET_KEY}"
        return token, ""

    async def _fetch(self, question: Question, token: str) -> Model | Commit:
        """From what was fetched lately with that token, or is being fetched now, or new."""
        digest = hashlib.sha256(token.encode()).hexdigest() if token else ""
        key = (question.commit_alone, question.name.casefold(), digest)
        known = self._fetched.get(key)
        if known is not None and known[1] > self._clock.monotonic():
            return known[0]
        task = self._fetches.get(key)
        if task is None:
            task = self._fetches[key] = asyncio.create_task(self._from_hub(question, token))
            task.add_done_callback(lambda _: self._fetches.pop(key, None))
        found = await asyncio.shield(task)
        self._fetched[key] = (found, self._clock.monotonic() + GOOD_SECONDS)
        return found

    async def _from_hub(self, question: Question, token: str) -> Model | Commit:
        async with self._slots:
            if question.commit_alone:
                return Commit(await self._hub.commit(question.name, token=token))
            return await self._hub.model(question.name, token=token)


class _RefusedError(Exception):
    """Only the user can mend it: the field that is wrong, and the words for it."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(message)
        self.path = path


def _denied(question: Question, error: AccessDeniedError, *, lack: str) -> _RefusedError:
    """W-C21's words where they are true; a private repository hides that it exists."""
    if lack:
        return _RefusedError(question.secret_path, lack)
    name = question.name
    if question.secret:
        terms = ": accept its licence at Hugging Face, or give another token" if error.gated else ""
        return _RefusedError(
            question.secret_path,
            f'the token in Secret "{question.secret}" does not open "{name}"{terms}',
        )
    if error.gated:
        return _RefusedError(
            question.secret_path,
            f'must be set: preset "{name}" is gated; name a Secret with the key {TOKEN_SECRET_KEY}',
        )
    return _RefusedError(
        question.name_path,
        f'Hugging Face has no public model "{name}"; if it is private, name a Secret with the key'
        f" {TOKEN_SECRET_KEY} in {question.secret_path}",
    )


def _silence(question: Question, endpoint: str, error: Exception) -> str:
    told = str(error) or type(error).__name__
    return f"cannot learn {_wanted(question)} from {endpoint}: {told}"


def _wanted(question: Question) -> str:
    if question.commit_alone:
        return f'which commit "{question.name}" is at'
    return f'what "{question.name}" is like'


def _offline(question: Question) -> str:
    return (
        f'"{question.name}" is not in the catalogue, and this installation asks nobody'
        f" (HF_HUB_OFFLINE): describe it by the annotation {models.RESOLVED_ANNOTATION}, as"
        " kaito estimate -o annotation prints it"
    )
