"""Objects of a test that has ended, whose controllers have, too."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from kube.client import Client
from kube.errors import NotFoundError
from kube.meta import Resource


async def forget(client: Client, resource: Resource[Any], name: str, namespace: str = "") -> None:
    """With its finalizers: nobody is left who would take them off."""
    await client.delete(resource, name, namespace=namespace)
    with suppress(NotFoundError):
        free = {"metadata": {"finalizers": None}}
        await client.patch(resource, name, free, namespace=namespace)
