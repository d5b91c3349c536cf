"""Google's libraries, and nobody else imports them: credentials, and container/v1 over gRPC.

Operations are started and never awaited. A call is tried once: whoever asked asks again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import google.auth
import grpc
from google.api_core import exceptions
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import Request
from google.cloud import container_v1
from google.cloud.container_v1.services.cluster_manager.transports import (
    ClusterManagerGrpcAsyncIOTransport,
)
from google.rpc.error_details_pb2 import (
    ErrorInfo,
    RetryInfo,
)

from cloudproviders.gcp.errors import GoogleError
from cloudproviders.gcp.pool import Pool
from cloudproviders.gcp.settings import GcpSettings
from kube.meta import Manifest

T = TypeVar("T")

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
READ_SECONDS = 20.0
WRITE_SECONDS = 45.0
TOKEN_SECONDS = 20.0

CHANNEL_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 5000),
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
)
"""A list of hundreds of pools is larger than gRPC's 4 MiB."""

Bearer = Callable[[], Awaitable[str]]
"""The token to show, "" for none; raises GoogleError UNAUTHENTICATED."""


class DefaultCredentials:
    """Workload identity, a service account's key, gcloud's login: whatever google-auth finds.

    It blocks, so it runs in a thread; one at a time. What it raises may quote the answer of a
    token service, so its text is not passed on.
    """

    def __init__(self) -> None:
        self._found: Any = None
        self._lock = asyncio.Lock()

    async def __call__(self) -> str:
        async with self._lock:
            try:
                return await asyncio.wait_for(asyncio.to_thread(self._token), TOKEN_SECONDS)
            except (GoogleAuthError, TimeoutError) as failed:
                raise GoogleError(
                    "UNAUTHENTICATED",
                    f"no token from Google's default credentials ({type(failed).__name__}): check"
                    " workload identity or GOOGLE_APPLICATION_CREDENTIALS",
                    reason="CREDENTIALS_MISSING",
                ) from None

    def _token(self) -> str:
        if self._found is None:
            self._found, _ = google.auth.default(scopes=[SCOPE])
        if not self._found.valid:
            self._found.refresh(Request())
        return str(self._found.token)


def token_file(path: str) -> Bearer:
    """The content of a file, which may be rotated."""

    async def bearer() -> str:
        try:
            return await asyncio.to_thread(_content, path)
        except OSError as failed:
            raise GoogleError(
                "UNAUTHENTICATED",
                f"GCP_TOKEN_FILE {path} cannot be read: {failed.strerror}",
                reason="CREDENTIALS_MISSING",
            ) from failed

    return bearer


def _content(path: str) -> str:
    return Path(path).read_text("utf-8").strip()


async def anonymous() -> str:
    """An emulator on plain HTTP asks for no token, and shall see none."""
    return ""


def bearer(settings: GcpSettings) -> Bearer:
    """Where the settings say that tokens come from."""
    if settings.token_file:
        return token_file(settings.token_file)
    if settings.endpoint.startswith("http://"):
        return anonymous
    return DefaultCredentials()


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A long operation on a cluster. `codes` are (code, message) of why it failed."""

    name: str
    kind: str
    done: bool
    pool: str
    """"" where it is about no pool."""
    message: str = ""
    codes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterFacts:
    """What pools must go by."""

    version: str
    locations: tuple[str, ...]
    released: bool
    """On a release channel: Google upgrades its pools."""


class GkeCluster:
    """One cluster of container/v1. Raises GoogleError, and nothing else of Google's."""

    def __init__(self, settings: GcpSettings, bearer: Bearer) -> None:
        self._settings = settings
        self._bearer = bearer
        self._channel: grpc.aio.Channel | None = None
        self._opened: container_v1.ClusterManagerAsyncClient | None = None

    async def pools(self) -> dict[str, Pool]:
        request = container_v1.ListNodePoolsRequest(parent=self._settings.parent)
        answer = await self._call(self._client().list_node_pools, request, READ_SECONDS)
        found = container_v1.ListNodePoolsResponse.pb(answer).node_pools
        return {each.name: _pool(each) for each in found}

    async def operations(self) -> list[Operation]:
        """Of this cluster; the API lists those of all clusters of the location."""
        parent = self._settings.parent.rpartition("/clusters/")[0]
        request = container_v1.ListOperationsRequest(parent=parent)
        answer = await self._call(self._client().list_operations, request, READ_SECONDS)
        found = container_v1.ListOperationsResponse.pb(answer).operations
        ours = f"/clusters/{self._settings.cluster}"
        return [_operation(each) for each in found if f"{ours}/" in f"{each.target_link}/"]

    async def facts(self) -> ClusterFacts:
        request = container_v1.GetClusterRequest(name=self._settings.parent)
        answer = await self._call(self._client().get_cluster, request, READ_SECONDS)
        found = container_v1.Cluster.pb(answer)
        return ClusterFacts(
            version=found.current_master_version,
            locations=tuple(found.locations),
            released=bool(found.release_channel.channel),
        )

    async def create(self, order: Manifest) -> None:
        """Start the creation of a pool."""
        request = container_v1.CreateNodePoolRequest(
            parent=self._settings.parent, node_pool=container_v1.NodePool(order)
        )
        await self._call(self._client().create_node_pool, request, WRITE_SECONDS)

    async def delete(self, pool: str) -> None:
        """Start the end of a pool."""
        request = container_v1.DeleteNodePoolRequest(
            name=f"{self._settings.parent}/nodePools/{pool}"
        )
        await self._call(self._client().delete_node_pool, request, WRITE_SECONDS)

    async def cancel(self, operation: str) -> None:
        parent = self._settings.parent.rpartition("/clusters/")[0]
        request = container_v1.CancelOperationRequest(name=f"{parent}/operations/{operation}")
        await self._call(self._client().cancel_operation, request, WRITE_SECONDS)

    async def close(self) -> None:
        if self._channel is not None:
            await self._channel.close()
            self._channel = self._opened = None

    async def _call(self, method: Callable[..., Awaitable[T]], request: Any, timeout: float) -> T:
        token = await self._bearer()
        metadata = (("authorization", f"Bearer {token}"),) if token else ()
        try:
            return await method(request=request, retry=None, timeout=timeout, metadata=metadata)
        except exceptions.GoogleAPICallError as failed:
            raise _error(failed) from failed

    def _client(self) -> container_v1.ClusterManagerAsyncClient:
        """Opened inside the running loop, which the channel belongs to."""
        if self._opened is None:
            self._channel = _channel(self._settings.endpoint)
            self._opened = container_v1.ClusterManagerAsyncClient(
                transport=ClusterManagerGrpcAsyncIOTransport(channel=self._channel)
            )
        return self._opened


def _channel(endpoint: str) -> grpc.aio.Channel:
    url = urlsplit(endpoint)
    if url.scheme == "http":
        return grpc.aio.insecure_channel(url.netloc, options=CHANNEL_OPTIONS)
    target = url.netloc if url.port else f"{url.hostname}:443"
    return grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(), options=CHANNEL_OPTIONS)


def _error(failed: exceptions.GoogleAPICallError) -> GoogleError:
    status = failed.grpc_status_code
    return GoogleError(
        status.name if status is not None else "UNKNOWN",
        failed.message or "no answer",
        reason=failed.reason or "",
        retry_after=_retry_after(failed.details),
    )


def _retry_after(details: Iterable[Any]) -> float | None:
    for detail in details:
        if isinstance(detail, RetryInfo):
            return float(detail.retry_delay.seconds + detail.retry_delay.nanos / 1e9)
    return None


def _pool(found: Any) -> Pool:
    config = found.config
    affinity = config.reservation_affinity.consume_reservation_type
    return Pool(
        name=found.name,
        state=_named(container_v1.NodePool.Status, found.status),
        message=found.status_message,
        conditions=_codes(found.conditions),
        version=found.version,
        machine_type=config.machine_type,
        image_type=config.image_type,
        spot=config.spot,
        reserved=affinity == container_v1.ReservationAffinity.Type.SPECIFIC_RESERVATION,
        partition=next((each.gpu_partition_size for each in config.accelerators), ""),
        zones=tuple(found.locations),
        resource_labels=dict(config.resource_labels.items()),
        metadata=dict(config.metadata.items()),
        groups=tuple(found.instance_group_urls),
    )


def _operation(found: Any) -> Operation:
    codes = list(_codes(found.nodepool_conditions))
    if found.error.code and not codes:
        codes = [(code, found.error.message) for code in _reasons(found.error.details)]
    pool = found.target_link.partition("/nodePools/")[2].partition("/")[0]
    return Operation(
        name=found.name,
        kind=_named(container_v1.Operation.Type, found.operation_type),
        done=found.status == container_v1.Operation.Status.DONE,
        pool=pool,
        message=found.error.message or found.status_message,
        codes=tuple(codes),
    )


def _codes(conditions: Iterable[Any]) -> tuple[tuple[str, str], ...]:
    return tuple(
        (_named(container_v1.StatusCondition.Code, each.code), each.message) for each in conditions
    )


def _reasons(details: Iterable[Any]) -> list[str]:
    """Of the ErrorInfos of a google.rpc.Status."""
    found = []
    for detail in details:
        info = ErrorInfo()
        if detail.Unpack(info):
            found.append(info.reason)
    return found


def _named(kind: type[IntEnum], number: int) -> str:
    """A number that this library has no name for yet stays a number."""
    try:
        return kind(number).name
    except ValueError:
        return str(number)
