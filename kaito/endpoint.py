"""`kaito get-endpoint`: where a Workspace's model answers, from inside and outside the cluster."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import aiohttp

from apis.kaito.v1beta1.workspace import WORKSPACES, Workspace
from kaito import cluster, complete, exits, output
from kube.config import ConfigError
from kube.errors import ForbiddenError, KubeError
from kube.objects import SERVICES, Unstructured

PORT = 80
"""Of every Workspace's Service."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One way to the model; `url` ends before /v1."""

    url: str
    type: str
    """LoadBalancer, APIProxy or ClusterIP, as the Go plugin calls them."""
    access: str
    """external, or cluster for what needs the cluster's credentials or network."""
    description: str


class NotServingError(LookupError):
    """The Workspace is there and has no endpoint; the message says why."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """`get-endpoint` with its flags; `run` is its `run` default."""
    parser = subparsers.add_parser(
        "get-endpoint",
        help="where a Workspace's model answers",
        description="Print the URL under which a Workspace's model answers: that of its load"
        " balancer, else that of the API server's proxy, which asks for the cluster's credentials."
        " -o wide, json and yaml have all of them. Exit status 0, 1 where nothing serves yet, 2"
        " where it cannot be told.",
    )
    add_workspace(parser)
    cluster.add_arguments(parser)
    output.add_argument(parser, output.TEXT, output.WIDE, output.JSON, output.YAML)
    parser.add_argument(
        "--format",
        dest="output",
        choices=("text", "json"),
        help="the same, as the Go plugin has it",
    )
    parser.set_defaults(run=run)


def add_workspace(parser: argparse.ArgumentParser) -> None:
    """The Workspace by position, or by --workspace-name as the Go plugin has it; exactly one."""
    chosen = parser.add_mutually_exclusive_group(required=True)
    position = chosen.add_argument("workspace", nargs="?", default="", metavar="WORKSPACE")
    flag = chosen.add_argument("--workspace-name", default="", metavar="NAME", help="the same")
    for each in (position, flag):
        complete.of(each, complete.workspaces)


def name_of(args: argparse.Namespace) -> str:
    """Whichever way it was given."""
    return str(args.workspace or args.workspace_name)


def run(args: argparse.Namespace) -> int:
    """Print one URL, or all."""
    try:
        found = asyncio.run(_look(args))
    except NotServingError as error:
        return exits.failed(error, exits.NO)
    except (ConfigError, KubeError, OSError, LookupError, aiohttp.ClientError) as error:
        return exits.failed(error)
    told = output.document(
        {
            "workspace": name_of(args),
            "namespace": cluster.namespace(args),
            "endpoints": [asdict(each) for each in found],
        },
        args.output,
    )
    if told is not None:
        print(told)
    elif args.output == output.WIDE:
        rows = [(each.type, each.access, each.url, each.description) for each in found]
        print(output.table(("TYPE", "ACCESS", "URL", "DESCRIPTION"), rows))
    else:
        print(found[0].url)
    return exits.DONE


def endpoints(workspace: Workspace, service: Unstructured, server: str) -> list[Endpoint]:
    """The best one first, for whoever is outside the cluster."""
    meta = workspace.metadata
    proxied = f"{server.rstrip('/')}{proxy_path(meta.namespace, meta.name)}"
    found = [
        Endpoint(f"http://{address}:{PORT}", "LoadBalancer", "external", "the load balancer")
        for address in _addresses(service.status)
    ]
    found.append(
        Endpoint(proxied, "APIProxy", "cluster", "through the API server, as kubectl asks")
    )
    inside = f"http://{meta.name}.{meta.namespace}.svc:{PORT}"
    found.append(Endpoint(inside, "ClusterIP", "cluster", "from pods of the cluster"))
    return found


def proxy_path(namespace: str, service: str) -> str:
    """Below the API server: its proxy to a Service."""
    return f"/api/v1/namespaces/{namespace}/services/{service}:{PORT}/proxy"


async def workspace_of(args: argparse.Namespace, client: Any) -> Workspace:
    """LookupError where there is none."""
    namespace = cluster.namespace(args)
    found: Workspace | None = await client.get(WORKSPACES, name_of(args), namespace)
    if found is None:
        raise LookupError(f'there is no Workspace "{name_of(args)}" in namespace "{namespace}"')
    return found


def _addresses(status: Mapping[str, Any]) -> list[str]:
    entries = (status.get("loadBalancer") or {}).get("ingress") or ()
    return [str(each.get("ip") or each.get("hostname")) for each in entries]


async def _look(args: argparse.Namespace) -> list[Endpoint]:
    server = cluster.endpoint(args).server
    async with cluster.client(args) as client:
        workspace = await workspace_of(args, client)
        if workspace.inference is None:
            raise NotServingError(f"{name_of(args)} is a tuning and serves nothing")
        name, namespace = workspace.metadata.name, workspace.metadata.namespace
        try:
            service = await client.get(SERVICES, name, namespace)
        except ForbiddenError:  # the proxy may be allowed all the same
            service = Unstructured(metadata=workspace.metadata)
    if service is None:
        told = workspace.status.progress
        stage = f": it is at {told.stage}" if told is not None else ""
        raise NotServingError(f"{name} has no Service yet{stage}; see: kaito explain {name}")
    return endpoints(workspace, service, server)
