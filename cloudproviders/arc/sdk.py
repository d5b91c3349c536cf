"""azure-mgmt-hybridcontainerservice: all that is known of the vendor's library and of its HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import aiohttp
from azure.core import AzureClouds
from azure.core.exceptions import AzureError, HttpResponseError
from azure.core.pipeline.transport import AioHttpTransport
from azure.mgmt.core.tools import get_arm_endpoints
from azure.mgmt.hybridcontainerservice import models
from azure.mgmt.hybridcontainerservice.aio import HybridContainerServiceMgmtClient

from cloudproviders.arc.errors import BusyError, RefusedError, cut
from cloudproviders.arc.pools import Pool
from cloudproviders.arc.settings import ArcSettings
from cloudproviders.azure.sdk import credential, session
from cloudproviders.errors import CloudUnavailableError
from kube.meta import Manifest

PASSING = frozenset(
    {HTTPStatus.UNAUTHORIZED, HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}
)
"""Besides 5xx; after which the same call may succeed."""


class ArcApi:
    """One cluster's agent pools. Every call is made once and has a timeout: whoever asks comes
    again.

    Raises BusyError while the cluster is at work, RefusedError for what ARM refuses, and
    CloudUnavailableError where there was no answer or no token.
    """

    def __init__(self, settings: ArcSettings) -> None:
        self._settings = settings
        self._cluster = settings.cluster_id.strip("/")
        self._location = settings.location_id.strip("/")
        self._session: aiohttp.ClientSession | None = None
        self._credential: Any = None
        self._opened: HybridContainerServiceMgmtClient | None = None

    async def put(self, name: str, body: Manifest) -> None:
        sent: Any = json.dumps(body).encode()  # as it is: a model would drop what it does not know
        async with self._call(f"create agent pool {name}") as arm:
            await arm.agent_pool.begin_create_or_update(
                self._cluster, name, sent, content_type="application/json", polling=False
            )

    async def delete(self, name: str) -> None:
        """Begin the end, or find that it has been: 202 and 204 alike."""
        async with self._call(f"delete agent pool {name}") as arm:
            await arm.agent_pool.begin_delete(self._cluster, name, polling=False)

    async def list(self) -> Sequence[Pool]:
        async with self._call("list agent pools") as arm:
            found = arm.agent_pool.list_by_provisioned_cluster(self._cluster)
            return [_pool(each) async for each in found]

    async def sizes(self) -> Sequence[str]:
        """The names of the machine sizes that the site has."""
        async with self._call("list machine sizes") as arm:
            profiles: list[Any] = [each async for each in arm.vm_skus.list(self._location)]
        return [
            sku.name
            for profile in profiles
            if profile.properties is not None
            for sku in profile.properties.values or []
        ]

    async def close(self) -> None:
        for each in (self._opened, self._credential, self._session):
            if each is not None:
                await each.close()
        self._opened = self._session = self._credential = None

    @asynccontextmanager
    async def _call(self, what: str) -> AsyncIterator[HybridContainerServiceMgmtClient]:
        try:
            async with asyncio.timeout(self._settings.arm.call_seconds):
                yield self._client()
        except HttpResponseError as error:
            if error.response is None:  # the token service, whose words may quote what it was sent
                raise _unavailable(what, error) from None
            if error.status_code == HTTPStatus.UNAUTHORIZED:
                self._opened = self._credential = None  # which would show the same token again
            raise _refused(what, error) from error
        except (AzureError, TimeoutError, aiohttp.ClientError) as error:
            raise _unavailable(what, error) from error

    def _client(self) -> HybridContainerServiceMgmtClient:
        if self._opened is None:
            arm = self._settings.arm
            endpoints = get_arm_endpoints(AzureClouds(arm.cloud))
            self._session = self._session or session(arm)
            self._credential = credential(arm.identity, arm.cloud, self._session)
            self._opened = HybridContainerServiceMgmtClient(
                self._credential,
                arm.subscription,
                base_url=arm.endpoint or endpoints["resource_manager"],
                credential_scopes=endpoints["credential_scopes"],
                transport=AioHttpTransport(session=self._session, session_owner=False),
                user_agent="gpu-provisioner",
                retry_total=0,
            )
        return self._opened


def _pool(found: models.AgentPool) -> Pool:
    properties = found.properties or models.AgentPoolProperties()
    status, system = properties.status, found.system_data
    return Pool(
        name=found.name or "",
        vm_size=properties.vm_size or "",
        state=str(properties.provisioning_state or ""),
        error=(status.error_message if status else "") or "",
        tags=found.tags or {},
        created=system.created_at if system else None,
    )


def _refused(what: str, error: HttpResponseError) -> CloudUnavailableError:
    status = error.status_code or 0
    if status == HTTPStatus.CONFLICT:
        return BusyError(f"Azure: {what}: {cut(error.message)}")
    if status in PASSING or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return CloudUnavailableError(f"Azure: {what}: {status}: {cut(error.message)}")
    told = _body(error)
    return RefusedError(told.get("code") or f"HTTP{status}", told.get("message") or error.message)


def _body(error: HttpResponseError) -> Mapping[str, Any]:
    try:
        told = json.loads(error.response.text())["error"] if error.response else None
    except (ValueError, KeyError, TypeError):
        return {}
    return told if isinstance(told, dict) else {}


def _unavailable(what: str, error: Exception) -> CloudUnavailableError:
    inner = getattr(error, "inner_exception", None) or error
    return CloudUnavailableError(f"Azure: {what}: no answer ({type(inner).__name__})")
