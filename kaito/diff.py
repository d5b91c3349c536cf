"""`kaito diff`: what a manifest would change in a Workspace of the cluster, and at what price."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import aiohttp
import msgspec

from apis.kaito.v1beta1.workspace import WORKSPACES, Workspace
from kaito import changes, cluster, exits, merging, output, validate
from kaito.changes import Difference, FieldChange, World
from kube.client import Client
from kube.config import ConfigError
from kube.errors import ForbiddenError, KubeError
from kube.meta import Manifest
from kube.objects import CONFIG_MAPS, NAMESPACES, NODES, ConfigMap, Node
from workspace_controller.settings import PROVISIONERS, Settings, SettingsError
from workspace_controller.workspace import effects

_WIDEST = 60

_EFFECTS = {
    effects.NONE: "changes nothing that runs",
    effects.HOT: "applied hot",
    effects.ROLL_PODS: "rolls the pods",
    effects.REPLACE_NODES: "replaces nodes",
    changes.UNKNOWN: "not known before it is applied",
}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """`diff` with its flags; `run` is its `run` default."""
    parser = subparsers.add_parser(
        "diff",
        help="what applying a manifest would change: hot, new pods, new nodes, or refused",
        description="Compare Workspaces in a file with those of the cluster, and say of each"
        " change whether it is applied hot, rolls the pods, replaces nodes, or is refused. Exit"
        " status 0 without differences, 1 with some, 2 where they are refused or cannot be told.",
    )
    parser.add_argument(
        "-f",
        "--filename",
        action="append",
        required=True,
        metavar="FILE",
        help="YAML with Workspaces, and ConfigMaps that they name; - for standard input",
    )
    cluster.add_arguments(parser)
    add_installation(parser)
    output.add_argument(parser, output.TEXT, output.JSON, output.YAML)
    parser.set_defaults(run=run)


def add_installation(parser: argparse.ArgumentParser) -> None:
    """--cloud and --node-provisioner, as the controller was installed with."""
    parser.add_argument("--cloud", default="azure", help="whose instance types (default: azure)")
    parser.add_argument(
        "--node-provisioner",
        choices=PROVISIONERS,
        default=PROVISIONERS[0],
        help=f"where nodes come from (default: {PROVISIONERS[0]})",
    )


def run(args: argparse.Namespace) -> int:
    """Print the differences; 0, 1 or 2 as `kubectl diff` has it."""
    from cloudproviders.errors import UnknownCloudError

    try:
        settings = installed(args)
        manifests = [each for file in args.filename for each in _read(file)]
        found = asyncio.run(_differences(args, manifests, settings))
    except (
        validate.UnreadableError,
        UnknownCloudError,
        SettingsError,
        ConfigError,
        OSError,
    ) as error:
        return exits.failed(error)
    except (KubeError, aiohttp.ClientError) as error:
        return exits.failed(error)
    told = output.document([asdict(each) for each in found], args.output)
    for line in lines(found) if told is None else [told]:
        print(line)
    if any(each.effect == changes.REFUSED for each in found):
        return exits.UNTOLD
    differs = any(each.fields or each.effect == changes.CREATE for each in found)
    return exits.NO if differs else exits.DONE


def installed(args: argparse.Namespace) -> Settings:
    """What the controller decides with, as far as the flags tell."""
    import cloudproviders
    from workspace_controller import wiring
    from workspace_controller.settings import process

    told = process({"CLOUD_PROVIDER": args.cloud, "NODE_PROVISIONER": args.node_provisioner})
    return wiring.settings_of(
        told, cloudproviders.profile(args.cloud), cloudproviders.instance_types(args.cloud)
    )


def lines(found: Iterable[Difference]) -> Iterator[str]:
    """The differences as a person reads them."""
    for each in found:
        if each.effect == effects.NONE and not each.fields:
            continue
        yield f"workspace {each.namespace}/{each.name}"
        width = max((len(change.path) for change in each.fields), default=0)
        for change in each.fields:
            yield f"  {change.path:<{width}}  {_values(change)}  # {_verdict(change)}"
        yield f"  => {_EFFECTS.get(each.effect, each.effect.lower())}: {each.message}"


def _values(change: FieldChange) -> str:
    return f"{_shown(change.before)} -> {_shown(change.after)}"


def _shown(value: Any) -> str:
    if value is None:
        return "(not set)"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _WIDEST else text[: _WIDEST - 3] + "..."


def _verdict(change: FieldChange) -> str:
    return f"refused: {change.refused}" if change.refused else _EFFECTS[change.effect]


def _read(file: str) -> Iterator[Manifest]:
    try:
        manifests = list(validate.documents(validate.text(file)))
    except validate.UnreadableError as error:
        raise validate.UnreadableError(f"{file}: {error}") from error
    for manifest in manifests:
        if not isinstance(manifest, dict) or manifest.get("kind") not in ("Workspace", "ConfigMap"):
            kind = manifest.get("kind") if isinstance(manifest, dict) else None
            print(f"{file}: {kind or 'no object'} is not looked at", file=sys.stderr)
            continue
        yield manifest


async def _differences(
    args: argparse.Namespace, manifests: list[Manifest], settings: Settings
) -> list[Difference]:
    default = cluster.namespace(args)
    placed = [_placed(each, default) for each in manifests]
    configs = [each for each in placed if each["kind"] == "ConfigMap"]
    async with cluster.client(args) as client:
        found = []
        for manifest in placed:
            if manifest["kind"] == "Workspace":
                found.append(await _difference(client, manifest, configs, settings))
        return found


def _placed(manifest: Manifest, namespace: str) -> Manifest:
    metadata = manifest.get("metadata") or {}
    return {**manifest, "metadata": {"namespace": namespace, **metadata}}


async def _difference(
    client: Client, given: Manifest, configs: list[Manifest], settings: Settings
) -> Difference:
    namespace, name = given["metadata"]["namespace"], str(given["metadata"].get("name", ""))
    old: Workspace | None = None
    if name:
        old = await client.get(WORKSPACES, name, namespace)
    manifest = merging.merged({} if old is None else old.to_json(), given, byo=settings.facts.byo)
    proposed = {
        config["metadata"]["name"]: msgspec.convert(config, ConfigMap)
        for config in configs
        if config["metadata"]["namespace"] == namespace
    }
    named = {_config(manifest), "" if old is None else _config(old.to_json())} - {""}
    stored: dict[str, ConfigMap] = {}
    for each in named:
        if (config := await client.get(CONFIG_MAPS, each, namespace)) is not None:
            stored[each] = config
    world = World(
        now=datetime.now(UTC),
        nodes=await _nodes(client),
        namespace_labels=await _labels(client, namespace),
        configs=stored,
        proposed=proposed,
    )
    return changes.difference(old, manifest, world, settings)


def _config(manifest: Manifest) -> str:
    inference = manifest.get("inference")
    return str(inference.get("config") or "") if isinstance(inference, dict) else ""


async def _nodes(client: Client) -> tuple[Node, ...]:
    """None where one may not look at them: then what rests on them is not known."""
    try:
        return tuple((await client.list(NODES)).items)
    except ForbiddenError:
        return ()


async def _labels(client: Client, namespace: str) -> dict[str, str]:
    try:
        found = await client.get(NAMESPACES, namespace)
    except ForbiddenError:
        return {}
    return {} if found is None else found.metadata.labels
