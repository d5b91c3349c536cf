"""`kaito status`: where the Workspaces are on their way, one line each."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import aiohttp

from apis.kaito.v1beta1.workspace import WORKSPACES, Workspace
from kaito import chain, cluster, complete, exits, output
from kube.client import Client
from kube.config import ConfigError
from kube.errors import GoneError, KubeError

_HEADER = ("NAME", "STAGE", "SINCE", "NODES", "STATE", "AGE")
_WIDE = ("INSTANCE", "MODEL", "ENDPOINT", "REASON")
_SILENCE = 300


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """`status` with its flags; `run` is its `run` default."""
    parser = subparsers.add_parser(
        "status",
        help="where the Workspaces are on their way, one line each",
        description="List Workspaces with their stage, for how long they have been at it, and"
        " their nodes. Exit status 0 where all that were listed are ready (a tuning: succeeded), 1"
        " where some are not, 2 where it cannot be told. `explain` says why.",
    )
    name = parser.add_mutually_exclusive_group()
    complete.of(
        name.add_argument("workspace", nargs="?", default="", metavar="WORKSPACE"),
        complete.workspaces,
    )
    complete.of(
        name.add_argument("--workspace-name", default="", metavar="NAME", help="the same"),
        complete.workspaces,
    )
    parser.add_argument("-A", "--all-namespaces", action="store_true")
    parser.add_argument("-w", "--watch", action="store_true", help="go on with every change")
    cluster.add_arguments(parser)
    output.add_argument(parser, output.TABLE, output.WIDE, output.JSON, output.YAML, output.NAME)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the lines; the exit status says whether all are ready."""
    if args.watch and args.output not in (output.TABLE, output.WIDE):
        return exits.failed("--watch prints tables alone: leave -o out, or take -o wide")
    try:
        return asyncio.run(_list(args))
    except KeyboardInterrupt:
        return exits.DONE
    except (ConfigError, KubeError, OSError, aiohttp.ClientError) as error:
        return exits.failed(error)


def document(workspace: Workspace) -> dict[str, Any]:
    """What a script asks for; the whole object is `kubectl get workspace -o json`."""
    status, told = workspace.status, workspace.status.progress
    return {
        "name": workspace.metadata.name,
        "namespace": workspace.metadata.namespace,
        "ready": ready(workspace),
        "state": status.state,
        "progress": None if told is None else told.to_json(),
        "instanceType": workspace.resource.instance_type if workspace.resource else "",
        "model": _model(workspace),
        "nodes": {"wanted": status.target_node_count, "names": list(status.worker_nodes)},
        "endpoint": status.endpoint,
        "conditions": {each.type: each.status for each in status.conditions},
    }


def ready(workspace: Workspace) -> bool:
    """Serving, or a tuning that has succeeded."""
    if workspace.deleting:
        return False
    return workspace.status.state in ("Ready", "Succeeded")


def table(workspaces: Iterable[Workspace], now: datetime, *, wide: bool, namespaces: bool) -> str:
    """One line each, in the order given."""
    header = (("NAMESPACE",) if namespaces else ()) + _HEADER + (_WIDE if wide else ())
    rows = [_row(each, now, wide=wide, namespaces=namespaces) for each in workspaces]
    return output.table(header, rows)


def _row(workspace: Workspace, now: datetime, *, wide: bool, namespaces: bool) -> list[str]:
    meta, status = workspace.metadata, workspace.status
    told = status.progress
    since = datetime.fromisoformat(told.since) if told is not None and told.since else None
    stage = "Deleting" if workspace.deleting else told.stage if told is not None else ""
    row = [
        *([meta.namespace] if namespaces else []),
        meta.name,
        stage,
        chain.age(meta.deletion_timestamp or since, now),
        f"{len(status.worker_nodes)}/{status.target_node_count}",
        status.state,
        chain.age(meta.creation_timestamp, now),
    ]
    if wide:
        instance = workspace.resource.instance_type if workspace.resource else ""
        why = "" if told is None else told.message or told.reason
        row += [instance, _model(workspace), status.endpoint, why]
    return row


def _model(workspace: Workspace) -> str:
    work = workspace.inference or workspace.tuning
    return work.preset.name if work is not None and work.preset is not None else ""


async def _list(args: argparse.Namespace) -> int:
    name = args.workspace or args.workspace_name
    namespace = "" if args.all_namespaces else cluster.namespace(args)
    async with cluster.client(args) as client:
        fields = f"metadata.name={name}" if name else ""
        listing = await client.list(WORKSPACES, namespace=namespace, fields=fields)
        found = sorted(listing.items, key=lambda each: str(each.metadata.key))
        where = f'namespace "{namespace}"' if namespace else "any namespace"
        if name and not found and not args.watch:
            return exits.failed(f'there is no Workspace "{name}" in {where}')
        _show(args, found)
        if args.watch:
            await _watch(args, client, namespace, fields, listing.resource_version)
    return exits.DONE if all(ready(each) for each in found) else exits.NO


def _show(args: argparse.Namespace, found: list[Workspace]) -> None:
    told = output.document([document(each) for each in found], args.output)
    if told is not None:
        print(told)
    elif args.output == output.NAME:
        for each in found:
            print(f"workspace.kaito.sh/{each.metadata.name}")
    elif found or args.watch:
        print(_table(args, found), flush=True)
    else:
        print("No Workspaces found.")


def _table(args: argparse.Namespace, found: list[Workspace]) -> str:
    wide, everywhere = args.output == output.WIDE, args.all_namespaces
    return table(found, datetime.now(UTC), wide=wide, namespaces=everywhere)


async def _watch(
    args: argparse.Namespace, client: Client, namespace: str, fields: str, version: str
) -> None:
    """A line for each change, until it is interrupted."""
    while True:
        try:
            stream = client.watch(
                WORKSPACES,
                resource_version=version,
                namespace=namespace,
                fields=fields,
                timeout_seconds=_SILENCE,
            )
            async for event in stream:
                version = event.resource_version
                if event.object is not None:
                    print(_table(args, [event.object]).partition("\n")[2], flush=True)
        except GoneError:
            listing = await client.list(WORKSPACES, namespace=namespace, fields=fields)
            version = listing.resource_version
