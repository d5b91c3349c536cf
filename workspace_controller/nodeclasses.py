"""Puts the chart's node classes into the cluster, and leaves alone what is there."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from kube.client import Client
from kube.errors import AlreadyExistsError, KubeError
from kube.informer import Informer
from kube.objects import Unstructured
from kube.transport import NETWORK_ERRORS
from workspace_controller.manifests.nodepool import node_class
from workspace_controller.nodes.classes import NodeClasses

logger = logging.getLogger(__name__)

_RETRY_SECONDS = 10.0


class NodeClassInstaller:
    """Creates each class that is absent, at the start and whenever one is deleted.

    A class that exists is never overwritten: whoever has edited it meant it. That it is not ready,
    or that its kind is not there, stops nothing here; Workspaces say so.
    """

    name = "nodeclasses"

    def __init__(
        self, client: Client, informer: Informer[Unstructured], classes: NodeClasses
    ) -> None:
        self._client = client
        self._informer = informer
        self._classes = classes
        self._stopping = False
        self._woken = asyncio.Event()
        informer.subscribe(self._changed)

    async def run(self) -> None:
        while not self._stopping:
            self._woken.clear()
            done = self._informer.served and await self._install()
            with suppress(TimeoutError):
                async with asyncio.timeout(None if done else _RETRY_SECONDS):
                    await self._woken.wait()

    def stop(self) -> None:
        self._stopping = True
        self._woken.set()

    async def _install(self) -> bool:
        """Whether all are there."""
        try:
            for each in self._classes.classes:
                if self._informer.store.get(each.name) is None:
                    with suppress(AlreadyExistsError):
                        await self._client.create(node_class(self._classes, each))
                        logger.info("created %s %s", self._classes.kind, each.name)
        except (KubeError, *NETWORK_ERRORS) as error:
            logger.warning("%s %s cannot be created: %s", self._classes.kind, each.name, error)
            return False
        return True

    def _changed(self, old: Unstructured | None, new: Unstructured | None) -> None:
        if new is None or old is None:
            self._woken.set()
