"""The machines API as a client meets it: status codes and JSON."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from localcluster.instancetypes import InstanceType, InstanceTypes
from localcluster.machined import ensure_token, make_app
from localcluster.machines import Machine, MachineStore
from localcluster.machineservice import MachineService
from localcluster.processes import ProcessId

pytestmark = pytest.mark.integration

BODY = {"instanceType": "local-gpu-1", "uid": "u1", "labels": {"a": "b"}}


class _Node:
    """A node that is always on."""

    process = ProcessId(1, 1)

    def start(self) -> None: ...
    def remove(self) -> None: ...
    def set_gpu_health(self, healthy: bool) -> None: ...


def _node_of(_machine: Machine, _kind: InstanceType) -> _Node:
    return _Node()


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[TestClient[Any, Any]]:
    service = MachineService(
        MachineStore(tmp_path / "machines"), InstanceTypes(tmp_path / "types.json"), _node_of
    )
    token = ensure_token(tmp_path / "token")
    headers = {"Authorization": f"Bearer {token}"}
    async with TestClient(TestServer(make_app(service, token)), headers=headers) as client:
        yield client
    await service.close()


@pytest.mark.parametrize("given", ["", "Bearer wrong", "Basic dTpw"])
async def test_without_the_token_nothing_is_told(client: TestClient[Any, Any], given: str) -> None:
    response = await client.get("/v1/machines", headers={"Authorization": given})
    assert response.status == 401
    assert (await response.json())["code"] == "Unauthorized"


async def test_health_needs_no_token(client: TestClient[Any, Any]) -> None:
    response = await client.get("/healthz", headers={"Authorization": ""})
    assert response.status == 200


async def test_a_machine_is_created_once(client: TestClient[Any, Any]) -> None:
    assert (await client.put("/v1/machines/a", json=BODY)).status == 201
    again = await client.put("/v1/machines/a", json=BODY)
    assert again.status == 200
    machine = await again.json()
    assert machine["name"] == "a"
    assert machine["providerID"] == "local:///a"
    assert machine["zone"] == "local-a"
    assert machine["state"] in {"Booting", "Running"}
    assert machine["labels"] == {"a": "b"}
    assert await (await client.get("/v1/machines")).json() == [machine]


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        pytest.param("b", {**BODY, "instanceType": "x"}, 422, "UnknownInstanceType", id="type"),
        pytest.param("a", {**BODY, "uid": "u2"}, 409, "NameInUse", id="name"),
        pytest.param("b", {"uid": "u2"}, 422, "InvalidRequest", id="field missing"),
        pytest.param("b", {**BODY, "labels": 1}, 422, "InvalidRequest", id="field of wrong type"),
        pytest.param("..%2Fb", BODY, 422, "InvalidRequest", id="name that climbs"),
    ],
)
async def test_refusals_have_a_code_and_a_message(
    client: TestClient[Any, Any], path: str, body: dict[str, Any], status: int, code: str
) -> None:
    await client.put("/v1/machines/a", json=BODY)
    response = await client.put(f"/v1/machines/{path}", json=body)
    refusal = await response.json()
    assert (response.status, refusal["code"]) == (status, code)
    assert refusal["message"]


async def test_no_capacity_is_a_conflict(client: TestClient[Any, Any]) -> None:
    await client.put("/v1/instance-types/local-gpu-1", json={"capacity": 0})
    response = await client.put("/v1/machines/a", json=BODY)
    assert response.status == 409
    assert (await response.json())["code"] == "InsufficientCapacity"


async def test_a_machine_ends_asynchronously(client: TestClient[Any, Any]) -> None:
    await client.put("/v1/machines/a", json=BODY)
    assert (await client.delete("/v1/machines/a")).status == 202
    while (answer := await client.get("/v1/machines/a")).status != 404:
        assert (await answer.json())["state"] == "Deleting"
    assert (await answer.json())["code"] == "NotFound"
    assert (await client.delete("/v1/machines/a")).status == 404


async def test_types_tell_their_faults_and_take_new_ones(client: TestClient[Any, Any]) -> None:
    changed = await client.put("/v1/instance-types/local-gpu-2", json={"bootSeconds": 5})
    assert changed.status == 200
    types = {item["name"]: item for item in await (await client.get("/v1/instance-types")).json()}
    assert types["local-gpu-2"]["bootSeconds"] == 5
    assert types["local-gpu-2"]["gpu"] == {"count": 2, "model": "NVIDIA-A10", "memoryGiB": 24.0}
    assert types["local-cpu-2"]["gpu"] is None
    assert types["local-cpu-2"]["capacity"] is None
    assert (await client.put("/v1/instance-types/x", json={})).status == 404


async def test_unknown_paths_answer_in_json_too(client: TestClient[Any, Any]) -> None:
    response = await client.get("/v1/nothing")
    assert response.status == 404
    assert (await response.json())["code"] == "NotFound"
