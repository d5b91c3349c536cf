"""Replicas of workspace-controller with the chart's environment and account, behind a Service."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import AsyncExitStack
from pathlib import Path

import installation
from installation import SPACE, Run
from programs import Program, program
from service import Service

from localcluster.controlplane import ControlPlane


class Replicas:
    """As many as were started and not forgotten."""

    def __init__(
        self, plane: ControlPlane, run: Run, folder: Path, stack: AsyncExitStack, front: Service
    ) -> None:
        self._stack = stack
        self._front = front
        self._folder = folder
        self._serial = itertools.count()
        given = installation.environment(run, "workspace")
        for port in ("METRICS_PORT", "HEALTH_PROBE_PORT", "WEBHOOK_PORT", "DEBUG_PORT"):
            given.pop(port, None)
        self._environment = {
            **given,
            "KUBECONFIG": str(installation.account(plane, run, "workspace", folder)),
            "POD_NAMESPACE": SPACE,
            "HF_HUB_OFFLINE": "1",
            "WEBHOOK_SERVICE": "localhost",
        }

    async def start(self) -> Program:
        """One more, once the Service knows of it."""
        made = await self._stack.enter_async_context(
            program(
                "workspace_controller",
                f"workspace-{next(self._serial)}",
                self._environment,
                self._folder,
            )
        )
        self._front.replicas.append(made)
        await asyncio.wait_for(self._front.wait_for(*self._front.replicas), 30)
        return made

    def forget(self, replica: Program) -> None:
        self._front.replicas.remove(replica)
