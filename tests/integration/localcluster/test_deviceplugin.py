"""The device plugin before a kubelet that is only its socket."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue
from typing import Any

import grpc
import pytest

from localcluster.deviceapi import message
from localcluster.deviceplugin import RESOURCE, DevicePlugin

pytestmark = pytest.mark.integration


def _serialize(value: Any) -> bytes:
    return bytes(value.SerializeToString())


class Kubelet:
    """The kubelet's registration service; remembers who registered."""

    def __init__(self, plugins: Path) -> None:
        self._socket = plugins / "kubelet.sock"
        self.registered: Queue[Any] = Queue()
        self._server: Any = None

    def start(self) -> None:
        def register(request: Any, _context: Any) -> Any:
            self.registered.put(request)
            return message("Empty")()

        handler = grpc.unary_unary_rpc_method_handler(
            register,
            request_deserializer=message("RegisterRequest").FromString,
            response_serializer=_serialize,
        )
        service = grpc.method_handlers_generic_handler(
            "v1beta1.Registration", {"Register": handler}
        )
        self._server = grpc.server(ThreadPoolExecutor(max_workers=2))
        self._server.add_generic_rpc_handlers((service,))
        self._server.add_insecure_port(f"unix://{self._socket}")
        self._server.start()

    def restart(self) -> None:
        self.stop()
        self._socket.unlink(missing_ok=True)
        self.start()

    def stop(self) -> None:
        self._server.stop(None).wait()


@pytest.fixture
def devices(tmp_path: Path) -> Path:
    file = tmp_path / "devices.json"
    file.write_text(json.dumps({"count": 2, "healthy": True, "delaySeconds": 0}))
    return file


@pytest.fixture
def kubelet(tmp_path: Path, devices: Path) -> Iterator[Kubelet]:
    """A kubelet with our plugin beside it."""
    kubelet = Kubelet(tmp_path)
    kubelet.start()
    plugin = DevicePlugin(devices, tmp_path)
    thread = threading.Thread(target=plugin.run)
    thread.start()
    yield kubelet
    plugin.stop()
    thread.join()
    kubelet.stop()


def _channel(directory: Path, request: Any) -> Any:
    return grpc.insecure_channel(f"unix://{directory / request.endpoint}")


def test_the_resource_is_registered(kubelet: Kubelet) -> None:
    request = kubelet.registered.get(timeout=10)
    assert (request.version, request.resource_name) == ("v1beta1", RESOURCE)


def test_devices_are_listed_and_their_sickness_is_told(
    kubelet: Kubelet, tmp_path: Path, devices: Path
) -> None:
    with _channel(tmp_path, kubelet.registered.get(timeout=10)) as channel:
        watch = channel.unary_stream(
            "/v1beta1.DevicePlugin/ListAndWatch",
            request_serializer=_serialize,
            response_deserializer=message("ListAndWatchResponse").FromString,
        )(message("Empty")(), timeout=10)
        first = next(watch)
        assert [(item.ID, item.health) for item in first.devices] == [
            ("GPU-0", "Healthy"),
            ("GPU-1", "Healthy"),
        ]
        devices.write_text(json.dumps({"count": 2, "healthy": False}))
        assert {item.health for item in next(watch).devices} == {"Unhealthy"}
        watch.cancel()


def test_a_container_is_told_its_devices(kubelet: Kubelet, tmp_path: Path) -> None:
    request = message("AllocateRequest")()
    request.container_requests.add(devices_ids=["GPU-1"])
    with _channel(tmp_path, kubelet.registered.get(timeout=10)) as channel:
        allocate = channel.unary_unary(
            "/v1beta1.DevicePlugin/Allocate",
            request_serializer=_serialize,
            response_deserializer=message("AllocateResponse").FromString,
        )
        granted = allocate(request, timeout=10).container_responses[0]
    assert [(item.key, item.value) for item in granted.envs] == [
        ("NVIDIA_VISIBLE_DEVICES", "GPU-1")
    ]


def test_a_kubelet_that_restarts_is_registered_with_again(kubelet: Kubelet) -> None:
    kubelet.registered.get(timeout=10)
    kubelet.restart()
    assert kubelet.registered.get(timeout=10).resource_name == RESOURCE
