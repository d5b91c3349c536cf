"""The local provider against the machines API itself; only the kubelets are missing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp.test_utils import TestServer

import cloudproviders
from cloudproviders.errors import (
    CloudUnavailableError,
    CreateError,
    InsufficientCapacityError,
    NodeClaimNotFoundError,
)
from cloudproviders.local.provider import LocalProvider
from cloudproviders.local.sdk import MachinesClient
from localcluster.instancetypes import Faults, InstanceType, InstanceTypes
from localcluster.machined import ensure_token, make_app
from localcluster.machines import Machine, MachineStore
from localcluster.machineservice import MachineService
from localcluster.processes import ProcessId
from tests.fakes import objects

pytestmark = pytest.mark.integration


class _Node:
    """A node that is always on."""

    process = ProcessId(1, 1)

    def start(self) -> None: ...
    def remove(self) -> None: ...
    def set_gpu_health(self, healthy: bool) -> None: ...


def _node_of(_machine: Machine, _kind: InstanceType) -> _Node:
    return _Node()


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[MachineService]:
    service = MachineService(
        MachineStore(tmp_path / "machines"), InstanceTypes(tmp_path / "types.json"), _node_of
    )
    yield service
    await service.close()


@pytest.fixture
async def url(service: MachineService, tmp_path: Path) -> AsyncIterator[str]:
    async with TestServer(make_app(service, ensure_token(tmp_path / "token"))) as server:
        yield str(server.make_url(""))


@pytest.fixture
async def local(url: str, tmp_path: Path) -> AsyncIterator[LocalProvider]:
    token = (tmp_path / "token").read_text().strip()
    provider = LocalProvider(
        MachinesClient(url, lambda: token), cloudproviders.instance_types("local")
    )
    yield provider
    await provider.close()


async def test_create_twice_is_one_machine_and_delete_ends_it(local: LocalProvider) -> None:
    claim = objects.claim(
        instance_type="local-gpu-1",
        labels={"kaito.sh/workspace": "phi"},
        taints=[{"key": "sku", "value": "gpu", "effect": "NoSchedule"}],
    )

    instance = await local.create(claim)
    assert await local.create(claim) == instance
    assert instance.provider_id == "local:///ws1"
    assert instance.created is not None
    assert await local.get(instance.provider_id) == instance
    assert await local.list() == [instance]

    async def gone() -> None:
        while True:
            await local.delete(claim)
            await asyncio.sleep(0.01)

    with pytest.raises(NodeClaimNotFoundError):
        await asyncio.wait_for(gone(), 10)
    assert await local.list() == []


async def test_each_refusal_of_the_api_is_one_of_the_contract(
    local: LocalProvider, service: MachineService
) -> None:
    await local.create(objects.claim(instance_type="local-cpu-2", uid="old"))
    with pytest.raises(CreateError) as in_use:
        await local.create(objects.claim(instance_type="local-cpu-2", uid="new"))
    assert in_use.value.reason == "NameInUse"

    with pytest.raises(CreateError) as invalid:
        await local.create(objects.claim("No.Such_Name", instance_type="local-cpu-2"))
    assert invalid.value.reason == "InvalidRequest"

    service.change_type("local-gpu-2", Faults(capacity=0))
    with pytest.raises(InsufficientCapacityError, match="local-gpu-2"):
        await local.create(objects.claim("ws2", instance_type="local-gpu-2"))

    with pytest.raises(NodeClaimNotFoundError):
        await local.get("local:///none")


async def test_the_catalogue_is_that_of_the_api(
    local: LocalProvider, service: MachineService
) -> None:
    """Two homes for one fact; this keeps them equal."""
    served = {
        each.name: (
            each.cpus,
            each.memory_gib,
            (each.gpu.count, each.gpu.model, each.gpu.memory_gib) if each.gpu else (0, "", 0.0),
        )
        for each in service.instance_types()
    }

    assert served == {
        each.name: (
            each.cpus,
            each.memory_gib,
            (each.gpu.count, each.gpu.model, each.gpu.memory_gib),
        )
        for each in await local.instance_types()
    }


async def test_a_wrong_token_and_a_dead_api_are_transient(url: str) -> None:
    types = cloudproviders.instance_types("local")
    for machines, told in (
        (MachinesClient(url, lambda: "wrong"), "Unauthorized"),
        (MachinesClient("http://127.0.0.1:1", lambda: "any"), "ClientConnectorError"),
    ):
        provider = LocalProvider(machines, types)
        with pytest.raises(CloudUnavailableError, match=told):
            await provider.list()
        await provider.close()
