"""Users who create Workspaces, and whose mistakes must be refused, all the while.

Three kinds of them, since what one notices of a replica that is killed another does not:
kubectl asks once, on connections that the API server keeps; `kaito deploy`, controllers and GitOps
ask again; and somebody comes first after a while, when the API server has no connection any more.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from programs import eventually

from kube.client import Client
from kube.errors import InvalidError, KubeError
from kube.meta import Manifest
from kube.transport import NETWORK_ERRORS
from tests import builders

CLIENTS = 4
KNOCKERS = 2
_PAUSE_SECONDS = 0.05
_ENOUGH = 40
LOCAL = {"kaito.sh/use-local-weights": "true"}
REVIEW: Manifest = {
    "apiVersion": "admission.k8s.io/v1",
    "kind": "AdmissionReview",
    "request": {
        "uid": "u",
        "operation": "CREATE",
        "name": "w",
        "namespace": "default",
        "object": builders.a_workspace_manifest(preset="gemma-3-270m", annotations=LOCAL),
    },
}


@dataclass
class Tally:
    """What was asked, by when it was answered."""

    answered: list[float] = field(default_factory=list)
    failed: dict[float, str] = field(default_factory=dict)
    """What was neither admitted nor refused by a rule."""

    @property
    def asked(self) -> int:
        return len(self.answered) + len(self.failed)

    def fail(self, why: object) -> None:
        self.failed[time.monotonic()] = str(why)

    def within(self, begin: float, end: float) -> tuple[int, int]:
        """How many were answered then, and how many failed."""
        both = (self.answered, self.failed)
        answered, failed = (sum(begin <= at <= end for at in each) for each in both)
        return answered, failed


@dataclass
class Load:
    """What came of it."""

    once: Tally = field(default_factory=Tally)
    again: Tally = field(default_factory=Tally)
    anew: Tally = field(default_factory=Tally)
    created: list[str] = field(default_factory=list)

    @property
    def tallies(self) -> tuple[Tally, ...]:
        return self.once, self.again, self.anew

    async def ask(self, client: Client, tally: Tally, name: str, *, keep: bool = False) -> None:
        """By turns what is right and what is not. `keep`: some are really created."""
        for turn in itertools.count():
            wrong, stays = turn % 2 == 1, keep and turn % 10 == 0
            manifest = builders.a_workspace_manifest(
                name=f"load-{name}-{turn}",
                preset="gemma-3-27m" if wrong else "gemma-3-270m",
                annotations=LOCAL,
            )
            try:
                refused = await _is_refused(client, manifest, dry_run=not stays)
            except (KubeError, *NETWORK_ERRORS) as error:
                tally.fail(error)
            else:
                tally.answered.append(time.monotonic())
                assert refused == wrong, manifest["metadata"]["name"]
                if stays:
                    self.created.append(manifest["metadata"]["name"])
            await asyncio.sleep(_PAUSE_SECONDS)

    async def knock(self, port: int) -> None:
        """As an API server that has no connection yet: a new one for each review."""
        url = f"https://localhost:{port}/default/workspace.kaito.sh"
        connector = aiohttp.TCPConnector(ssl=False, force_close=True)
        async with aiohttp.ClientSession(connector=connector) as session:
            while True:
                try:
                    async with session.post(url, json=REVIEW) as answer:
                        assert (await answer.json())["response"]["allowed"]
                except (aiohttp.ClientError, TimeoutError) as error:
                    self.anew.fail(error)
                else:
                    self.anew.answered.append(time.monotonic())
                await asyncio.sleep(_PAUSE_SECONDS)


async def _is_refused(client: Client, manifest: Manifest, *, dry_run: bool) -> bool:
    """By a rule; whatever else is said is no verdict."""
    try:
        await client.create(manifest, dry_run=dry_run)
    except InvalidError:
        return True
    return False


@asynccontextmanager
async def loaded(
    impatient: Client, patient: Client, port: int, *, keep: bool = True
) -> AsyncIterator[Load]:
    """Within, all of them ask; each has been answered some time before and after. `keep`: some
    Workspaces are really created, and not tried only."""
    load = Load()
    users = [load.ask(impatient, load.once, f"once-{n}", keep=keep) for n in range(CLIENTS)]
    users += [load.ask(patient, load.again, f"again-{n}") for n in range(CLIENTS)]
    knockers = [load.knock(port) for _ in range(KNOCKERS)]
    asking = [asyncio.create_task(each) for each in (*users, *knockers)]
    try:
        await eventually(lambda: _answered(load, [_ENOUGH] * 3))
        yield load
        more = [len(each.answered) + _ENOUGH for each in load.tallies]
        await eventually(lambda: _answered(load, more))
    finally:
        for task in asking:
            task.cancel()
        ends = await asyncio.gather(*asking, return_exceptions=True)
    assert all(isinstance(each, asyncio.CancelledError) for each in ends), ends


async def _answered(load: Load, counts: list[int]) -> bool:
    return all(
        len(tally.answered) >= count for tally, count in zip(load.tallies, counts, strict=True)
    )
