"""`kaito explain` and kubectl's wide columns, on the real API server."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from workspace_cluster import Cluster, eventually

from kaito.__main__ import main

pytestmark = pytest.mark.integration


async def _explain(cluster: Cluster, installed: Path, capsys, *more: str) -> tuple[int, str]:
    words = ["explain", "falcon", "--kubeconfig", str(installed), "-n", cluster.namespace, *more]
    status = await asyncio.to_thread(main, words)
    captured = capsys.readouterr()
    return status, captured.out + captured.err


async def _stage(cluster: Cluster) -> str:
    progress = (await cluster.workspace()).status.progress
    return progress.stage if progress else ""


async def test_the_chain_is_told_from_quota_to_serving(cluster: Cluster, installed: Path, capsys):
    async with cluster.controller():
        await cluster.create_workspace()
        claim = await cluster.one_claim()
        await cluster.complain(claim, "QuotaExceeded", "24 more cores needed")
        await eventually(lambda: _is(cluster, "WaitingForQuota"))
        status, told = await _explain(cluster, installed, capsys)
        assert status == 1
        assert f"Workspace {cluster.namespace}/falcon: WaitingForQuota for " in told
        assert "why:  QuotaExceeded: 24 more cores needed" in told
        assert f"NodeClaim {claim.metadata.name}: " in told

        node = await cluster.bring_up(claim)
        await eventually(lambda: _is(cluster, "WaitingForEngine"))
        await cluster.serve()
        await eventually(lambda: _is(cluster, "Ready"))
        status, told = await _explain(cluster, installed, capsys)
        assert status == 0
        assert f"  Node {node}: Ready" in told
        assert "StatefulSet falcon: 1 of 1 ready" in told
        assert "serving at http://falcon." in told

        status, document = await _explain(cluster, installed, capsys, "-o", "json")
        assert json.loads(document)["progress"]["stage"] == "Ready"


async def _is(cluster: Cluster, stage: str) -> bool:
    return await _stage(cluster) == stage


async def test_a_workspace_that_is_not_there_is_said_not_to_be(
    cluster: Cluster, installed: Path, capsys
):
    status, told = await _explain(cluster, installed, capsys)
    assert status == 2
    assert f'there is no Workspace "falcon" in namespace "{cluster.namespace}"' in told
