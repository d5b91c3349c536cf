"""A device plugin that advertises GPUs which are not there.

The honest stand-in: allocatable, scheduling, late arrival and sickness are those of a real
kubelet. What to advertise is read from a file, again and again, so that health can change.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from localcluster.deviceapi import VERSION, message

RESOURCE = "nvidia.com/gpu"
PLUGINS = Path("/var/lib/kubelet/device-plugins")
_ENDPOINT = "kaito-gpu.sock"
_LOOK_SECONDS = 0.5
_REGISTER_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Devices:
    """What is to be advertised."""

    count: int
    healthy: bool
    delay_seconds: float = 0

    @classmethod
    def read(cls, file: Path) -> Devices:
        document = json.loads(file.read_text())
        return cls(document["count"], document["healthy"], document.get("delaySeconds", 0))

    def listing(self) -> list[tuple[str, str]]:
        """Id and health of each device, in the kubelet's words."""
        health = "Healthy" if self.healthy else "Unhealthy"
        return [(f"GPU-{number}", health) for number in range(self.count)]


class DevicePlugin:
    """The gRPC service DevicePlugin, and its registration with the kubelet."""

    def __init__(self, file: Path, plugins: Path = PLUGINS) -> None:
        self._file = file
        self._plugins = plugins
        self._stopped = threading.Event()

    def run(self) -> None:
        """Serve for ever; register again whenever the kubelet has made its socket anew."""
        time.sleep(Devices.read(self._file).delay_seconds)
        kubelet = self._plugins / "kubelet.sock"
        registered_with: tuple[int, int] | None = None
        server: Any = None
        while not self._stopped.wait(_LOOK_SECONDS):
            socket = _identity(kubelet)
            if socket in {None, registered_with}:
                continue
            if server is not None:
                server.stop(None).wait()
            server = self._serve()
            if self._register(kubelet):
                registered_with = socket

    def stop(self) -> None:
        self._stopped.set()

    def _serve(self) -> Any:
        """A restarting kubelet removes all sockets, ours too: it is made anew each time."""
        server = grpc.server(ThreadPoolExecutor(max_workers=8))
        handlers = {
            "GetDevicePluginOptions": _unary("Empty", self._options),
            "ListAndWatch": grpc.unary_stream_rpc_method_handler(
                self._list_and_watch,
                request_deserializer=message("Empty").FromString,
                response_serializer=_serialize,
            ),
            "Allocate": _unary("AllocateRequest", self._allocate),
            "PreStartContainer": _unary("Empty", lambda _request, _context: message("Empty")()),
        }
        service = grpc.method_handlers_generic_handler(f"{VERSION}.DevicePlugin", handlers)
        server.add_generic_rpc_handlers((service,))
        endpoint = self._plugins / _ENDPOINT
        endpoint.unlink(missing_ok=True)
        server.add_insecure_port(f"unix://{endpoint}")
        server.start()
        return server

    def _register(self, kubelet: Path) -> bool:
        request = message("RegisterRequest")(
            version=VERSION, endpoint=_ENDPOINT, resource_name=RESOURCE
        )
        with grpc.insecure_channel(f"unix://{kubelet}") as channel:
            register = channel.unary_unary(
                f"/{VERSION}.Registration/Register",
                request_serializer=_serialize,
                response_deserializer=message("Empty").FromString,
            )
            try:
                register(request, timeout=_REGISTER_SECONDS)
            except grpc.RpcError as error:
                print(f"the kubelet has not registered us: {error}", file=sys.stderr, flush=True)
                return False
        return True

    def _options(self, _request: Any, _context: Any) -> Any:
        return message("DevicePluginOptions")()

    def _list_and_watch(self, _request: Any, context: Any) -> Iterator[Any]:
        """The devices now, and again at each change."""
        told: list[tuple[str, str]] | None = None
        while context.is_active() and not self._stopped.is_set():
            listing = Devices.read(self._file).listing()
            if listing != told:
                told = listing
                devices = [message("Device")(ID=name, health=health) for name, health in listing]
                yield message("ListAndWatchResponse")(devices=devices)
            self._stopped.wait(_LOOK_SECONDS)

    def _allocate(self, request: Any, _context: Any) -> Any:
        """Tell each container its devices as NVIDIA's plugin does; there is no file to hand in."""
        response = message("AllocateResponse")()
        for container in request.container_requests:
            granted = response.container_responses.add()
            granted.envs.add(key="NVIDIA_VISIBLE_DEVICES", value=",".join(container.devices_ids))
        return response


def _identity(file: Path) -> tuple[int, int] | None:
    """Differs for a file that was made anew, whose inode's number may be the old one again."""
    try:
        stat = file.stat()
    except FileNotFoundError:
        return None
    return stat.st_ino, stat.st_ctime_ns


def _unary(request: str, handler: Callable[[Any, Any], Any]) -> Any:
    return grpc.unary_unary_rpc_method_handler(
        handler,
        request_deserializer=message(request).FromString,
        response_serializer=_serialize,
    )


def _serialize(value: Any) -> bytes:
    return bytes(value.SerializeToString())


if __name__ == "__main__":
    DevicePlugin(Path(sys.argv[1])).run()
