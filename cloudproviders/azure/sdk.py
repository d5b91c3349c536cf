"""Azure's SDK: agent pools of one AKS cluster, and whom to be. The only import of `azure` here.

Every call has a timeout and is made once: who calls decides what a failure means. While ARM asks
for patience (429, Retry-After) nobody calls at all.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Protocol, cast

import aiohttp
from azure.core import AzureClouds, MatchConditions
from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError
from azure.core.pipeline.transport import AioHttpTransport
from azure.identity import AzureAuthorityHosts, CredentialUnavailableError
from azure.identity.aio import (
    AzureCliCredential,
    ClientSecretCredential,
    ManagedIdentityCredential,
    WorkloadIdentityCredential,
)
from azure.mgmt.containerservice.aio import ContainerServiceClient

from cloudproviders.azure.agentpools import AgentPool, refusal
from cloudproviders.azure.errors import BusyError, RefusedError, cut
from cloudproviders.azure.settings import (
    CLI,
    MANAGED_IDENTITY,
    SERVICE_PRINCIPAL,
    AzureSettings,
    Identity,
)
from cloudproviders.errors import CloudUnavailableError
from kube.clock import Clock
from kube.meta import Manifest

CONNECTIONS = 64
THROTTLED_SECONDS = 10.0
"""Patience where a 429 does not say how long."""

_AUTHORITIES = {
    AzureClouds.AZURE_PUBLIC_CLOUD: AzureAuthorityHosts.AZURE_PUBLIC_CLOUD,
    AzureClouds.AZURE_CHINA_CLOUD: AzureAuthorityHosts.AZURE_CHINA,
    AzureClouds.AZURE_US_GOVERNMENT: AzureAuthorityHosts.AZURE_GOVERNMENT,
}
_ENTRA_CODE = re.compile(r"AADSTS\d+")

# It tells every request at INFO, and every failed attempt at a token.
logging.getLogger("azure").setLevel(logging.ERROR)


class Credential(Protocol):
    """azure.core's AsyncTokenCredential, as far as it is used here."""

    async def get_token(self, *scopes: str, **kwargs: Any) -> Any: ...
    async def close(self) -> None: ...


class AgentPoolsClient:
    """Raises RefusedError for what ARM refuses, BusyError while it asks for patience, and
    CloudUnavailableError where there was no answer or no token."""

    def __init__(
        self, settings: AzureSettings, clock: Clock, credential: Credential | None = None
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._credential = credential
        self._session: aiohttp.ClientSession | None = None
        self._opened: ContainerServiceClient | None = None
        self._closed_until = float("-inf")
        self._cluster = (settings.resource_group, settings.cluster)

    async def list(self) -> list[AgentPool]:
        async with self._call("list agent pools") as arm:
            return [_pool(each) async for each in arm.agent_pools.list(*self._cluster)]

    async def put(self, name: str, body: Manifest) -> AgentPool:
        """Order the pool; refused (412) where there is one of that name."""
        async with self._call(f"create agent pool {name}") as arm:
            order = await arm.agent_pools.begin_create_or_update(
                *self._cluster,
                name,
                cast("Any", body),  # not a model, which would drop what only previews know
                match_condition=MatchConditions.IfMissing,
                polling=False,
            )
            return _pool(await order.result())

    async def delete(self, name: str, etag: str = "") -> None:
        """Begin the end; with an etag only of the pool that was seen. Fine where there is none.

        Disruption budgets are not asked again: the node has been drained, or its time is up.
        """
        only: dict[str, Any] = (
            {"etag": etag, "match_condition": MatchConditions.IfNotModified} if etag else {}
        )
        async with self._call(f"delete agent pool {name}") as arm:
            await arm.agent_pools.begin_delete(
                *self._cluster, name, ignore_pod_disruption_budget=True, polling=False, **only
            )

    async def abort(self, name: str) -> None:
        """End what the cloud does to the pool; refused (409) where it has ended by itself."""
        async with self._call(f"abort the operation of agent pool {name}") as arm:
            await arm.agent_pools.begin_abort_latest_operation(*self._cluster, name, polling=False)

    async def machines(self, name: str) -> Sequence[str]:
        """The provider ids of a pool's machines."""
        async with self._call(f"list machines of agent pool {name}") as arm:
            return [
                f"azure://{each.properties.resource_id}"
                async for each in arm.machines.list(*self._cluster, name)
                if each.properties and each.properties.resource_id
            ]

    async def kubernetes_version(self) -> str:
        async with self._call("get the cluster") as arm:
            cluster = await arm.managed_clusters.get(*self._cluster)
            properties = cluster.properties
            return (properties and properties.current_kubernetes_version) or ""

    async def close(self) -> None:
        for each in (self._opened, self._credential, self._session):
            if each is not None:
                await each.close()
        self._opened = self._session = None

    @asynccontextmanager
    async def _call(self, what: str) -> AsyncIterator[ContainerServiceClient]:
        self._check_patience()
        try:
            async with asyncio.timeout(self._settings.call_seconds):
                yield self._client()
        except HttpResponseError as error:
            raise self._refused(error, what) from error
        except ClientAuthenticationError as error:  # of the token service: there is no response
            raise _no_token(error, what) from None
        except AzureError as error:
            raise CloudUnavailableError(f"Azure: {what}: {_kind(error)}") from error
        except (TimeoutError, aiohttp.ClientError) as error:
            raise CloudUnavailableError(
                f"Azure: {what}: no answer ({type(error).__name__})"
            ) from error

    def _refused(self, error: HttpResponseError, what: str) -> CloudUnavailableError:
        response = cast("Any", error.response)
        if response is None or "/subscriptions/" not in response.request.url:
            return _no_token(error, what)  # this was the token service
        status = error.status_code or 0
        wait = _retry_after(response.headers)
        told = refusal(_body(response.text(), status), status=status, wait=wait)
        if status == 429:
            pause = THROTTLED_SECONDS if wait is None else wait
            self._closed_until = max(self._closed_until, self._clock.monotonic() + pause)
            return BusyError(f"Azure: {what}: {cut(str(told))}", pause)
        return RefusedError(told)

    def _check_patience(self) -> None:
        left = self._closed_until - self._clock.monotonic()
        if left > 0:
            raise BusyError("Azure: too many requests of this subscription lately", left)

    def _client(self) -> ContainerServiceClient:
        if self._opened is None:
            settings = self._settings
            self._session = session(settings)
            if self._credential is None:
                self._credential = credential(settings.identity, settings.cloud, self._session)
            more = {"api_version": settings.api_version} if settings.api_version else {}
            self._opened = ContainerServiceClient(
                cast("Any", self._credential),
                settings.subscription,
                settings.endpoint or None,
                cloud_setting=AzureClouds(settings.cloud),
                transport=AioHttpTransport(session=self._session, session_owner=False),
                user_agent="gpu-provisioner",
                retry_total=0,
                **more,
            )
        return self._opened


def _pool(model: Any) -> AgentPool:
    """The wire's own words, whatever the SDK's model knows of them."""
    told = model.as_dict()
    properties = told.get("properties") or {}
    return AgentPool(
        name=told["name"],
        state=properties.get("provisioningState") or "Unknown",
        properties=properties,
        etag=properties.get("eTag") or "",
    )


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, or a date of the vendor's clock."""
    text = headers.get("Retry-After", "")
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (when.astimezone(UTC) - datetime.now(UTC)).total_seconds())


def _body(text: str, status: int) -> Mapping[str, Any]:
    """With `error` round it, as ARM writes it, or without, as AKS does."""
    try:
        told = json.loads(text)
    except ValueError:
        told = None
    if isinstance(told, dict):
        told = told.get("error") if isinstance(told.get("error"), dict) else told
        if told and told.get("code"):
            return told
    return {"code": f"HTTP{status}", "message": "an answer without an error code"}


def _no_token(error: AzureError, what: str) -> CloudUnavailableError:
    """Without the words of the token service, which may quote what it was sent."""
    if isinstance(error, CredentialUnavailableError):
        return CloudUnavailableError(f"Azure: {what}: no credential: {cut(error.message)}")
    code = _ENTRA_CODE.search(error.message)
    why = code[0] if code else type(error).__name__
    return CloudUnavailableError(f"Azure: {what}: Microsoft Entra gives no token ({why})")


def _kind(error: AzureError) -> str:
    inner = error.inner_exception
    return type(inner).__name__ if inner is not None else type(error).__name__


def session(settings: AzureSettings) -> aiohttp.ClientSession:
    """For ARM and the token service alike; the SDK decompresses by itself."""
    trust = ssl.create_default_context()
    if settings.ca_file is not None:
        trust.load_verify_locations(settings.ca_file)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=trust, limit=CONNECTIONS),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=True,
    )


def credential(identity: Identity, cloud: str, session: aiohttp.ClientSession) -> Credential:
    """The one that the settings name: azure-identity's chain would try what nobody meant."""
    given: dict[str, Any] = {
        "transport": AioHttpTransport(session=session, session_owner=False),
        "authority": identity.authority or _AUTHORITIES[AzureClouds(cloud)],
        "retry_total": 1,
    }
    if identity.auth == SERVICE_PRINCIPAL:
        secret = identity.client_secret
        return ClientSecretCredential(identity.tenant, identity.client_id, secret, **given)
    if identity.auth == MANAGED_IDENTITY:
        del given["authority"]
        return ManagedIdentityCredential(client_id=identity.client_id or None, **given)
    if identity.auth == CLI:
        return AzureCliCredential(tenant_id=identity.tenant)
    return WorkloadIdentityCredential(
        tenant_id=identity.tenant,
        client_id=identity.client_id,
        token_file_path=identity.token_file,
        **given,
    )
