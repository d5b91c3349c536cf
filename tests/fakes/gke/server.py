"""google.container.v1.ClusterManager on the loopback address, for Google's own client.

Credentials, faults and counting are here; what a cluster does is `gke.Gke`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

import grpc
from google.cloud import container_v1
from google.protobuf import any_pb2, duration_pb2, empty_pb2
from google.rpc import code_pb2, status_pb2
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from grpc_status import rpc_status

from tests.fakes.gke.gke import Gke, Refusal

SERVICE = "google.container.v1.ClusterManager"
HOST = "127.0.0.1"
PULSE_SECONDS = 0.02

READS = ("GetCluster", "ListNodePools", "GetNodePool", "ListOperations", "GetOperation")
WRITES = ("CreateNodePool", "DeleteNodePool", "CancelOperation")


@dataclass
class Fault:
    """Befalls the next `times` calls of these methods (none: any): late, refused, or cut.

    `lost`: "before" its effect or "after" it the call ends without an answer.
    """

    methods: tuple[str, ...] = ()
    times: float = 1
    delay: float = 0.0
    refusal: Refusal | None = None
    lost: str = ""

    def befalls(self, method: str) -> bool:
        return self.times > 0 and (not self.methods or method in self.methods)


class GkeServer:
    """`async with GkeServer(Gke()) as server: …`; the client wants `server.url`.

    `pulse`: the cluster lives by itself, over real time. `tokens`: who may call; None anybody.
    """

    def __init__(self, gke: Gke, *, port: int = 0, pulse: bool = False) -> None:
        self.gke = gke
        self.faults: list[Fault] = []
        self.counts: Counter[str] = Counter()
        self.tokens: set[str] | None = None
        self._port = port
        self._pulse = pulse
        self._pulsing: asyncio.Task[None] | None = None
        self._server: grpc.aio.Server | None = None

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._port}"

    @property
    def reads(self) -> int:
        return sum(self.counts[method] for method in READS)

    @property
    def writes(self) -> int:
        return sum(self.counts[method] for method in WRITES)

    async def __aenter__(self) -> Self:
        await self.start()
        if self._pulse:
            self._pulsing = asyncio.create_task(self._live())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._pulsing is not None:
            self._pulsing.cancel()
            with suppress(asyncio.CancelledError):
                await self._pulsing
        await self.stop()

    async def start(self) -> None:
        self._server = grpc.aio.server()
        handlers = grpc.method_handlers_generic_handler(SERVICE, self._handlers())
        self._server.add_generic_rpc_handlers((handlers,))
        self._port = self._server.add_insecure_port(f"{HOST}:{self._port}")
        await self._server.start()

    async def stop(self) -> None:
        """Nobody listens any more."""
        if self._server is not None:
            await self._server.stop(None)
            self._server = None

    async def _live(self) -> None:
        while True:
            await self.gke.settle()
            await asyncio.sleep(PULSE_SECONDS)

    def _handlers(self) -> dict[str, Any]:
        v1 = container_v1
        served: dict[str, tuple[Any, Any, Callable[[Any], Any]]] = {
            "GetCluster": (v1.GetClusterRequest, v1.Cluster, self._get_cluster),
            "ListNodePools": (v1.ListNodePoolsRequest, v1.ListNodePoolsResponse, self._list_pools),
            "GetNodePool": (v1.GetNodePoolRequest, v1.NodePool, self._get_pool),
            "CreateNodePool": (v1.CreateNodePoolRequest, v1.Operation, self._create),
            "DeleteNodePool": (v1.DeleteNodePoolRequest, v1.Operation, self._delete),
            "ListOperations": (
                v1.ListOperationsRequest,
                v1.ListOperationsResponse,
                self._list_operations,
            ),
            "GetOperation": (v1.GetOperationRequest, v1.Operation, self._get_operation),
            "CancelOperation": (v1.CancelOperationRequest, empty_pb2.Empty, self._cancel),
        }
        return {
            name: grpc.unary_unary_rpc_method_handler(
                self._answering(name, handle),
                request_deserializer=request.deserialize,
                response_serializer=getattr(answer, "serialize", None) or answer.SerializeToString,
            )
            for name, (request, answer, handle) in served.items()
        }

    def _answering(
        self, method: str, handle: Callable[[Any], Any]
    ) -> Callable[[Any, Any], Awaitable[Any]]:
        async def answer(request: Any, context: Any) -> Any:
            try:
                return await self._answer(method, handle, request, context)
            except Refusal as refusal:
                await abort(context, refusal)

        return answer

    async def _answer(
        self, method: str, handle: Callable[[Any], Any], request: Any, context: Any
    ) -> Any:
        self.counts[method] += 1
        self._admit(dict(context.invocation_metadata() or ()))
        fault = next((each for each in self.faults if each.befalls(method)), Fault(times=0))
        fault.times -= 1
        if fault.delay:
            await self.gke.clock.sleep(fault.delay)
        if fault.refusal is not None:
            raise fault.refusal
        if fault.lost == "before":
            raise Refusal("UNAVAILABLE", "Socket closed")
        await self.gke.settle()
        found = handle(request)
        if fault.lost:
            raise Refusal("UNAVAILABLE", "Socket closed")
        return found

    def _admit(self, metadata: dict[str, str]) -> None:
        shown = metadata.get("authorization", "").removeprefix("Bearer ")
        if self.tokens is not None and shown not in self.tokens:
            raise Refusal(
                "UNAUTHENTICATED",
                "Request had invalid authentication credentials. Expected OAuth 2 access token.",
                "ACCESS_TOKEN_EXPIRED",
            )

    def _of_cluster(self, name: str) -> None:
        if name != self.gke.parent:
            raise Refusal("NOT_FOUND", f"Not found: {name}.")

    def _get_cluster(self, request: Any) -> Any:
        self._of_cluster(request.name)
        return self.gke.describe()

    def _list_pools(self, request: Any) -> Any:
        self._of_cluster(request.parent)
        return container_v1.ListNodePoolsResponse(node_pools=list(self.gke.pools.values()))

    def _get_pool(self, request: Any) -> Any:
        parent, _, name = request.name.rpartition("/nodePools/")
        self._of_cluster(parent)
        return self.gke.get(name)

    def _create(self, request: Any) -> Any:
        self._of_cluster(request.parent)
        return self.gke.create(request.node_pool)

    def _delete(self, request: Any) -> Any:
        parent, _, name = request.name.rpartition("/nodePools/")
        self._of_cluster(parent)
        return self.gke.delete(name)

    def _list_operations(self, request: Any) -> Any:
        return container_v1.ListOperationsResponse(operations=list(self.gke.operations.values()))

    def _get_operation(self, request: Any) -> Any:
        name = request.name.rpartition("/")[2]
        if name not in self.gke.operations:
            raise Refusal("NOT_FOUND", f"Not found: operation {name}.")
        return self.gke.operations[name]

    def _cancel(self, request: Any) -> Any:
        self.gke.cancel(request.name.rpartition("/")[2])
        return empty_pb2.Empty()


async def abort(context: Any, refusal: Refusal) -> None:
    """End the call as Google does: a google.rpc.Status in the trailing metadata."""
    details = []
    if refusal.reason:
        details.append(_any(ErrorInfo(reason=refusal.reason, domain="container.googleapis.com")))
    if refusal.retry_after is not None:
        delay = duration_pb2.Duration(
            seconds=int(refusal.retry_after), nanos=int(refusal.retry_after % 1 * 1e9)
        )
        details.append(_any(RetryInfo(retry_delay=delay)))
    status = rpc_status.to_status(
        status_pb2.Status(
            code=code_pb2.Code.Value(refusal.status), message=refusal.message, details=details
        )
    )
    await context.abort(status.code, status.details, status.trailing_metadata)


def _any(message: Any) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed
