"""Instance profiles for roles: EC2 takes a role only in such a wrapping."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable
from typing import Any

from cloudproviders.aws import errors, tags
from cloudproviders.aws.coalescing import Remembered
from cloudproviders.aws.sdk import Amazon
from cloudproviders.aws.settings import Settings
from kube.clock import Clock

TTL_SECONDS = 15 * 60.0


class InstanceProfiles:
    """`of`: the name of a profile of ours that carries the role; made where there is none."""

    def __init__(self, amazon: Amazon, settings: Settings, clock: Clock) -> None:
        self._amazon = amazon
        self._settings = settings
        self.of = Remembered(self._made, TTL_SECONDS, clock)

    async def close(self) -> None:
        await self.of.close()

    async def _made(self, role: str) -> str:
        digest = hashlib.sha256(f"{self._settings.region}/{role}".encode()).hexdigest()[:16]
        name = f"{self._settings.cluster}_{digest}"
        roles = await self._roles_of(name)
        if roles is None:
            await _unless_there(
                self._amazon.call(
                    "create_instance_profile",
                    InstanceProfileName=name,
                    Tags=tags.as_list(tags.owned(self._settings.cluster)),
                )
            )
        if not roles:
            await _unless_there(
                self._amazon.call(
                    "add_role_to_instance_profile",
                    InstanceProfileName=name,
                    RoleName=role.rpartition("/")[2],
                )
            )
        return name

    async def _roles_of(self, profile: str) -> list[Any] | None:
        """None where there is no such profile."""
        try:
            answer = await self._amazon.call("get_instance_profile", InstanceProfileName=profile)
        except errors.ServiceError as refused:
            if refused.code in errors.NOT_FOUND:
                return None
            raise
        return list(answer["InstanceProfile"].get("Roles", ()))


async def _unless_there(call: Awaitable[Any]) -> None:
    try:
        await call
    except errors.ServiceError as refused:
        if refused.code not in errors.ALREADY_EXISTS:
            raise
