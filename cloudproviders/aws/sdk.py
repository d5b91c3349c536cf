"""boto3, and nothing else of this provider knows it: calls in threads, errors by their code.

Clients are thread-safe, sessions are not (boto3's own documentation), so clients are made one
after the other. Retries are botocore's, and only these; every write carries what makes it
idempotent (a client token, a name, an id).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from threading import Lock
from typing import Any, NamedTuple, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError
from botocore.loaders import create_loader
from botocore.session import get_session

from cloudproviders.aws import errors
from cloudproviders.aws.settings import Settings
from cloudproviders.errors import CloudError, CloudUnavailableError, CreateError

Wire = dict[str, Any]
"""An answer as boto3 gives it: the API reference's names."""

T = TypeVar("T")

THREADS = 16
CONNECT_SECONDS = 5.0
READ_SECONDS = 30.0
ATTEMPTS = 3


class Operation(NamedTuple):
    """Whose it is, and what IAM has to allow for it."""

    service: str
    action: str


def _ec2(name: str) -> Operation:
    return Operation("ec2", f"ec2:{name}")


def _eks(name: str) -> Operation:
    return Operation("eks", f"eks:{name}")


OPERATIONS: Mapping[str, Operation] = {
    "create_fleet": _ec2("CreateFleet"),
    "create_launch_template": _ec2("CreateLaunchTemplate"),
    "delete_launch_template": _ec2("DeleteLaunchTemplate"),
    "describe_capacity_reservations": _ec2("DescribeCapacityReservations"),
    "describe_images": _ec2("DescribeImages"),
    "describe_instance_type_offerings": _ec2("DescribeInstanceTypeOfferings"),
    "describe_instance_types": _ec2("DescribeInstanceTypes"),
    "describe_instances": _ec2("DescribeInstances"),
    "describe_launch_templates": _ec2("DescribeLaunchTemplates"),
    "describe_security_groups": _ec2("DescribeSecurityGroups"),
    "describe_subnets": _ec2("DescribeSubnets"),
    "terminate_instances": _ec2("TerminateInstances"),
    "create_nodegroup": _eks("CreateNodegroup"),
    "delete_nodegroup": _eks("DeleteNodegroup"),
    "describe_cluster": _eks("DescribeCluster"),
    "describe_nodegroup": _eks("DescribeNodegroup"),
    "list_nodegroups": _eks("ListNodegroups"),
    "add_role_to_instance_profile": Operation("iam", "iam:AddRoleToInstanceProfile"),
    "create_instance_profile": Operation("iam", "iam:CreateInstanceProfile"),
    "get_instance_profile": Operation("iam", "iam:GetInstanceProfile"),
    "delete_message": Operation("sqs", "sqs:DeleteMessage"),
    "get_queue_url": Operation("sqs", "sqs:GetQueueUrl"),
    "receive_message": Operation("sqs", "sqs:ReceiveMessage"),
    "get_parameters": Operation("ssm", "ssm:GetParameters"),
}
"""All that is ever called: docs/clouds/aws.md has the policy for it."""


class Amazon:
    """The services of one account in one region.

    Raises `errors.ServiceError` (a CreateError with the code), and CloudUnavailableError where
    there was no answer, or one that asking again may change.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        connect_seconds: float = CONNECT_SECONDS,
        read_seconds: float = READ_SECONDS,
        attempts: int = ATTEMPTS,
    ) -> None:
        self._settings = settings
        self._config = Config(
            region_name=settings.region,
            connect_timeout=connect_seconds,
            read_timeout=read_seconds,
            retries={"mode": "standard", "total_max_attempts": attempts},
            max_pool_connections=THREADS,
            user_agent_extra="gpu-provisioner",
        )
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="aws")
        self._polls = ThreadPoolExecutor(1, thread_name_prefix="aws-poll")
        self._clients: dict[str, Any] = {}
        self._making = Lock()
        self._session: Any = None
        self._closed = False

    async def call(self, operation: str, **parameters: Any) -> Wire:
        """One request; the answer to it."""
        return await self._in_thread(self._threads, operation, partial(self._call, parameters))

    async def all(self, operation: str, key: str, **parameters: Any) -> list[Any]:
        """What all pages list under `key`."""
        return await self._in_thread(
            self._threads, operation, partial(self._pages, key, parameters)
        )

    async def poll(self, operation: str, **parameters: Any) -> Wire:
        """A request that the service answers late, beside the others."""
        return await self._in_thread(self._polls, operation, partial(self._call, parameters))

    async def close(self) -> None:
        """What is under way is waited for; what waits is dropped."""
        self._closed = True
        for threads in (self._threads, self._polls):
            await asyncio.to_thread(threads.shutdown, wait=True, cancel_futures=True)
        for client in self._clients.values():
            client.close()
        self._clients.clear()

    async def _in_thread(
        self, threads: ThreadPoolExecutor, operation: str, work: Callable[[str], T]
    ) -> T:
        if self._closed:
            raise CloudUnavailableError(f"{OPERATIONS[operation].action}: the provider is closed")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(threads, partial(_translated, work, operation))

    def _call(self, parameters: Wire, operation: str) -> Wire:
        found: Wire = getattr(self._client(operation), operation)(**parameters)
        return found

    def _pages(self, key: str, parameters: Wire, operation: str) -> list[Any]:
        paginator = self._client(operation).get_paginator(operation)
        return [each for page in paginator.paginate(**parameters) for each in page.get(key, ())]

    def _client(self, operation: str) -> Any:
        service = OPERATIONS[operation].service
        with self._making:
            if service not in self._clients:
                self._clients[service] = self._new_client(service)
            return self._clients[service]

    def _new_client(self, service: str) -> Any:
        if self._session is None:
            found = get_session()
            found.register_component("data_loader", _loader())
            self._session = boto3.Session(botocore_session=found)
        given = self._settings.credentials
        keys: dict[str, Any] = {}
        if given is not None:
            keys = {
                "aws_access_key_id": given.access_key_id,
                "aws_secret_access_key": given.secret_access_key,
                "aws_session_token": given.session_token,
            }
        return self._session.client(
            service, config=self._config, endpoint_url=self._settings.endpoint_url, **keys
        )


@cache
def _loader() -> Any:
    """The services' models are megabytes of JSON: read once for the process."""
    return create_loader()


def _translated(work: Callable[[str], T], operation: str) -> T:
    """The vendor's exceptions end here; the new one does not carry requests with keys in them."""
    action = OPERATIONS[operation].action
    failure: CloudError
    try:
        return work(operation)
    except ClientError as refused:
        told = refused.response.get("Error", {})
        status = refused.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        failure = errors.error(
            str(told.get("Code", "Unknown")), str(told.get("Message", "")), int(status), action
        )
    except ParamValidationError as wrong:
        failure = CreateError("InvalidParameter", f"{action}: {wrong}")
    except BotoCoreError as lost:
        failure = CloudUnavailableError(f"{action}: {type(lost).__name__}: {lost}")
    raise failure
