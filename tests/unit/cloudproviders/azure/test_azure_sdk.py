"""The vendor's SDK against the emulated ARM: tokens, patience, silence, and no secrets told."""

from __future__ import annotations

import traceback
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from cloudproviders.azure import settings
from cloudproviders.azure.errors import BusyError, RefusedError
from cloudproviders.azure.sdk import AgentPoolsClient
from cloudproviders.azure.settings import AzureSettings
from cloudproviders.errors import CloudUnavailableError
from kube.clock import Clock
from tests.fakes.arm.__main__ import settings as emulated
from tests.fakes.arm.aks import Aks
from tests.fakes.arm.server import ArmServer
from tests.fakes.arm.tokens import SECRET, TestCredential
from tests.fakes.arm.wire import Refusal
from tests.fakes.clock import FakeClock

BODY = {"properties": {"vmSize": "Standard_D4s_v5", "count": 1, "nodeInitializationTaints": ["a"]}}


class Arm:
    def __init__(self) -> None:
        self.aks = Aks(page_size=2)
        self.server = ArmServer(self.aks)
        self._clients: list[AgentPoolsClient] = []

    @property
    def given(self) -> AzureSettings:
        return settings.parse(emulated(self.server))

    def client(
        self, given: AzureSettings | None = None, clock: Clock | None = None, *, real: bool = False
    ) -> AgentPoolsClient:
        credential = None if real else TestCredential(self.server.tokens)
        made = AgentPoolsClient(given or self.given, clock or Clock(), credential)
        self._clients.append(made)
        return made

    async def close(self) -> None:
        for each in self._clients:
            await each.close()
        await self.server.stop()


@pytest.fixture
async def arm() -> AsyncIterator[Arm]:
    found = Arm()
    await found.server.start()
    yield found
    await found.close()


async def test_pools_come_and_go(arm: Arm) -> None:
    client = arm.client()

    made = await client.put("ws1", BODY)
    assert (made.name, made.state, made.size) == ("ws1", "Creating", "Standard_D4s_v5")
    assert made.etag
    await arm.server.operations.settle()
    (listed,) = await client.list()
    assert listed.state == "Succeeded"
    (machine,) = await client.machines("ws1")
    assert machine.startswith("azure:///subscriptions/")
    await client.delete("ws1", listed.etag)
    await arm.server.operations.settle()
    assert await client.list() == []


async def test_what_only_previews_know_goes_over_the_wire(arm: Arm) -> None:
    await arm.client().put("ws1", BODY)

    assert arm.aks.pools["ws1"].properties["nodeInitializationTaints"] == ["a"]


async def test_lists_of_many_pages(arm: Arm) -> None:
    client = arm.client()
    for number in range(5):
        await client.put(f"ws{number}", BODY)

    assert len(await client.list()) == 5
    assert arm.server.counts["GET agentPools"] == 3


async def test_a_pool_of_that_name_is_not_overwritten(arm: Arm) -> None:
    client = arm.client()
    await client.put("ws1", BODY)

    with pytest.raises(RefusedError) as told:
        await client.put("ws1", BODY)

    assert told.value.refusal.status == 412


async def test_only_the_pool_that_was_seen_is_deleted(arm: Arm) -> None:
    client = arm.client()
    await client.put("ws1", BODY)

    with pytest.raises(RefusedError) as told:
        await client.delete("ws1", "another")

    assert told.value.refusal.status == 412


async def test_an_end_of_what_is_not_there_is_fine(arm: Arm) -> None:
    await arm.client().delete("ws1")


@pytest.mark.parametrize("flat", [True, False], ids=["as AKS writes it", "as ARM writes it"])
async def test_refusals_of_either_shape(arm: Arm, flat: bool) -> None:
    details = [{"code": "Inner", "message": "why"}]
    arm.server.fault(refusal=Refusal(400, "Outer", "no", details=details, flat=flat))

    with pytest.raises(RefusedError) as told:
        await arm.client().list()

    assert told.value.refusal.codes == {"Outer", "Inner"}


async def test_a_call_is_made_once(arm: Arm) -> None:
    arm.server.fault(times=9, refusal=Refusal(503, "ServiceUnavailable", "no"))

    with pytest.raises(RefusedError):
        await arm.client().list()

    assert len(arm.server.calls) == 1


async def test_while_arm_asks_for_patience_nobody_calls(arm: Arm) -> None:
    clock = FakeClock()
    client = arm.client(clock=clock)
    arm.server.throttle(20.0)

    for wait in (20.0, 20.0):
        with pytest.raises(BusyError) as told:
            await client.list()
        assert told.value.wait == wait

    assert len(arm.server.calls) == 1
    clock.advance(20.0)
    assert await client.list() == []


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [("7", 7.0, 7.0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0, 0.0), ("soon", 10.0, 10.0)],
)
async def test_how_long_the_patience_is(arm: Arm, text: str, least: float, most: float) -> None:
    refusal = Refusal(429, "TooManyRequests", "slow down")
    arm.server.fault(refusal=refusal, headers={"Retry-After": text})

    with pytest.raises(BusyError) as told:
        await arm.client().list()

    assert told.value.wait is not None
    assert least <= told.value.wait <= most


@pytest.mark.parametrize("when", ["before", "after"])
async def test_lost_answers_are_transient(arm: Arm, when: str) -> None:
    arm.server.lose("PUT agentPool", when, times=2)  # aiohttp asks once more by itself

    with pytest.raises(CloudUnavailableError, match="create agent pool ws1"):
        await arm.client().put("ws1", BODY)

    assert ("ws1" in arm.aks.pools) == (when == "after")


async def test_silence_has_an_end(arm: Arm) -> None:
    arm.server.fault(delay=5.0)

    with pytest.raises(CloudUnavailableError, match="no answer"):
        await arm.client(replace(arm.given, call_seconds=0.2)).list()


async def test_strangers_are_not_believed(arm: Arm) -> None:
    with pytest.raises(CloudUnavailableError, match="Certificate"):
        await arm.client(replace(arm.given, ca_file=None)).list()


async def test_a_service_principal(arm: Arm) -> None:
    assert await arm.client(real=True).list() == []


async def test_a_workload_identity(arm: Arm, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("assertion")
    given = settings.parse(
        {
            **emulated(arm.server),
            "AZURE_AUTH": "workload-identity",
            "AZURE_FEDERATED_TOKEN_FILE": str(token),
        }
    )

    assert await arm.client(given, real=True).list() == []


async def test_expired_tokens_are_replaced(arm: Arm) -> None:
    client = arm.client()
    await client.list()
    arm.server.tokens.expire_all()

    with pytest.raises(RefusedError) as told:
        await client.list()

    assert told.value.refusal.status == 401
    assert await client.list() == []


async def test_no_token_is_transient_and_tells_no_secret(arm: Arm) -> None:
    secret = "not-what-it-was"
    given = settings.parse({**emulated(arm.server), "AZURE_CLIENT_SECRET": secret})

    with pytest.raises(CloudUnavailableError, match="AADSTS7000215") as told:
        await arm.client(given, real=True).list()

    text = "".join(traceback.format_exception(told.value))
    assert secret not in text
    assert SECRET not in text


async def test_no_token_service_is_transient(arm: Arm) -> None:
    arm.server.tokens.away = True

    with pytest.raises(CloudUnavailableError, match="gives no token"):
        await arm.client(real=True).list()
