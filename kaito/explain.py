"""`kaito explain`: why a Workspace is where it is, from its status down to claim, node and pod."""

from __future__ import annotations

import argparse
import asyncio
from datetime import UTC, datetime
from typing import Any

import aiohttp

from apis.kaito.v1beta1.labels import (
    KARPENTER_WORKSPACE_LABEL,
    KARPENTER_WORKSPACE_NAMESPACE_LABEL,
    WORKSPACE_LABEL,
    WORKSPACE_NAMESPACE_LABEL,
)
from apis.kaito.v1beta1.workspace import WORKSPACES, Workspace
from apis.karpenter.v1.nodeclaim import NODE_CLAIMS, NodeClaim
from kaito import chain, cluster, complete, exits, output
from kaito.chain import Event, Seen
from kube.client import Client
from kube.config import ConfigError
from kube.errors import ForbiddenError, KubeError, NotFoundError
from kube.meta import Resource
from kube.objects import JOBS, NODES, PODS, Unstructured

EVENTS = Resource("", "v1", "Event", "events", Event)
STATEFUL_SETS = Resource("apps", "v1", "StatefulSet", "statefulsets", Unstructured)
NODE_POOLS = Resource("karpenter.sh", "v1", "NodePool", "nodepools", Unstructured, namespaced=False)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """`explain` with its flags; `run` is its `run` default."""
    parser = subparsers.add_parser(
        "explain",
        help="why a Workspace is not ready: the chain down to claim, node and pod",
        description="Say in one line what a Workspace waits for, how long that has been and what"
        " is usual, and print the whole chain behind it. Exit status 0 where it is ready, 1 where"
        " it is not, 2 where it cannot be looked at.",
    )
    complete.of(parser.add_argument("workspace", metavar="WORKSPACE"), complete.workspaces)
    cluster.add_arguments(parser)
    output.add_argument(parser, output.TEXT, output.JSON, output.YAML)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the chain; the exit status says whether the Workspace is ready."""
    try:
        seen = asyncio.run(_look(args))
    except (ConfigError, KubeError, OSError, aiohttp.ClientError) as error:
        return exits.failed(error)
    if seen is None:
        where = cluster.namespace(args)
        return exits.failed(f'there is no Workspace "{args.workspace}" in namespace "{where}"')
    print(output.document(document(seen), args.output) or "\n".join(chain.lines(seen)))
    told = seen.workspace.status.progress
    return exits.DONE if told is not None and told.stage == "Ready" else exits.NO


def document(seen: Seen) -> dict[str, Any]:
    """The same for programs: the status line, and the lines of the chain."""
    told = seen.workspace.status.progress
    return {
        "workspace": str(seen.workspace.metadata.key),
        "progress": None if told is None else told.to_json(),
        "chain": list(chain.lines(seen)),
    }


async def _look(args: argparse.Namespace) -> Seen | None:
    namespace = cluster.namespace(args)
    async with cluster.client(args) as client:
        workspace = await client.get(WORKSPACES, args.workspace, namespace)
        return None if workspace is None else await look(client, workspace)


async def look(client: Client, workspace: Workspace) -> Seen:
    """All that stands behind the Workspace, read live. What the user may not see is left out."""
    name, namespace = workspace.metadata.name, workspace.metadata.namespace
    of_workspace = f"{WORKSPACE_LABEL}={name}"
    of_claims = f"{of_workspace},{WORKSPACE_NAMESPACE_LABEL}={namespace}"
    of_pools = (
        f"{KARPENTER_WORKSPACE_LABEL}={name},{KARPENTER_WORKSPACE_NAMESPACE_LABEL}={namespace}"
    )
    claims: dict[str, NodeClaim] = {}
    for labels in (of_claims, of_pools):
        for claim in await _list(client, NODE_CLAIMS, labels=labels):
            claims[claim.metadata.name] = claim
    names = {claim.status.node_name for claim in claims.values()} - {""}
    names.update(workspace.status.worker_nodes)
    nodes = {each: await _get(client, NODES, each) for each in sorted(names)}
    events = await _list(client, EVENTS, namespace=namespace)
    events += await _list(client, EVENTS, namespace="default") if namespace != "default" else []
    return Seen(
        now=datetime.now(UTC),
        workspace=workspace,
        pools=await _list(client, NODE_POOLS, labels=of_pools),
        claims=list(claims.values()),
        nodes={each: node for each, node in nodes.items() if node is not None},
        stateful_set=await _get(client, STATEFUL_SETS, name, namespace),
        job=await _get(client, JOBS, name, namespace),
        pods=await _list(client, PODS, namespace=namespace, labels=of_workspace),
        events=events,
    )


async def _get(client: Client, resource: Resource[Any], name: str, namespace: str = "") -> Any:
    """None where it is absent, or not for this user to see."""
    try:
        return await client.get(resource, name, namespace)
    except ForbiddenError:
        return None


async def _list(
    client: Client, resource: Resource[Any], *, namespace: str = "", labels: str = ""
) -> list[Any]:
    """Empty where the cluster has no such kind, or does not show it to this user."""
    try:
        return (await client.list(resource, namespace=namespace, labels=labels)).items
    except (NotFoundError, ForbiddenError):
        return []
