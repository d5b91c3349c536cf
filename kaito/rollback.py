"""`kaito rollback`: a Workspace as it was at an earlier revision."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import aiohttp
import msgspec

from apis.kaito.v1beta1.labels import (
    REVISED_ANNOTATIONS,
    REVISION_NAME_LABEL,
    WORKSPACE_HASH_ANNOTATION,
)
from apis.kaito.v1beta1.workspace import WORKSPACES, Workspace
from kaito import changes, cluster, complete, diff, exits, output
from kaito.changes import World
from kube.apply import merge_patch
from kube.client import Client
from kube.config import ConfigError
from kube.errors import ConflictError, KubeError
from kube.meta import Manifest, Resource
from kube.objects import CONFIG_MAPS, ControllerRevision
from workspace_controller.settings import Settings, SettingsError
from workspace_controller.workspace import revision

_TRIES = 5


class Kept(ControllerRevision, frozen=True, kw_only=True):
    """A ControllerRevision with what it keeps."""

    data: Manifest = msgspec.field(default_factory=dict)


REVISIONS: Resource[Kept] = Resource(
    "apps", "v1", "ControllerRevision", "controllerrevisions", Kept
)


class NoRevisionError(LookupError):
    """There is nothing to go back to; the message says what there is."""


class NoWorkspaceError(LookupError):
    """There is none of that name."""


class RefusedError(ValueError):
    """Going back would change what cannot be changed."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """`rollback` with its flags; `run` is its `run` default."""
    parser = subparsers.add_parser(
        "rollback",
        help="take a Workspace back to an earlier revision",
        description="Write the resource, inference and tuning of an earlier revision into a"
        " Workspace, and say what that changes. Exit status 0 where it is done, 1 where it is"
        " refused or there is no such revision, 2 where it cannot be told.",
    )
    complete.of(parser.add_argument("workspace", metavar="WORKSPACE"), complete.workspaces)
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--to-revision", type=int, metavar="N", help="default: the one before")
    chosen.add_argument("--list", action="store_true", help="print the revisions, write nothing")
    parser.add_argument("--dry-run", action="store_true", help="say what would change")
    cluster.add_arguments(parser)
    diff.add_installation(parser)
    output.add_argument(
        parser, output.TABLE, output.WIDE, output.JSON, output.YAML, more="of --list"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Go back, or print the revisions; 1 with the reason on stderr where that cannot be."""
    from cloudproviders.errors import UnknownCloudError

    try:
        for line in asyncio.run(_roll_back(args, diff.installed(args))):
            print(line)
    except ConflictError:
        return exits.failed("the Workspace was changed in the meantime; try again", exits.NO)
    except (NoRevisionError, RefusedError) as error:
        return exits.failed(error, exits.NO)
    except (
        NoWorkspaceError,
        UnknownCloudError,
        SettingsError,
        ConfigError,
        KubeError,
        OSError,
        aiohttp.ClientError,
    ) as error:
        return exits.failed(error)
    return exits.DONE


def chosen(workspace: Workspace, kept: Sequence[Kept], number: int | None) -> Kept:
    """The revision asked for; without a number the newest that is not the present one."""
    present = revision.spec_hash(workspace)
    known = sorted(kept, key=lambda each: each.revision, reverse=True)
    if number is None:
        found = next((each for each in known if _hash(each) != present), None)
    else:
        found = next((each for each in known if each.revision == number), None)
    if found is not None:
        return found
    if not known:
        raise NoRevisionError("no revision is kept: none has been deployed yet")
    there = ", ".join(str(each.revision) for each in reversed(known))
    if number is None:
        raise NoRevisionError(f"there is no earlier revision; kept: {there}")
    raise NoRevisionError(f"there is no revision {number}; kept: {there}")


def restored(workspace: Workspace, kept: Kept) -> Manifest:
    """The Workspace with what the revision keeps in place of what it has."""
    document = workspace.to_json()
    for name in revision.SECTIONS:
        document.pop(name, None)
        if (section := kept.data.get(name)) is not None:
            document[name] = section
    stored = document["metadata"].get("annotations") or {}
    others = {key: value for key, value in stored.items() if key not in REVISED_ANNOTATIONS}
    annotations = {**others, **(kept.data.get("annotations") or {})}
    document["metadata"] = {**document["metadata"], "annotations": annotations}
    return document


def patch(workspace: Workspace, document: Manifest) -> Manifest:
    """What turns the one into the other, and only the one that was read."""
    before = workspace.to_json()
    parts = ("metadata", *revision.SECTIONS)
    changed = merge_patch(
        {key: before[key] for key in parts if key in before},
        {key: document[key] for key in parts if key in document},
    )
    locked = {"resourceVersion": workspace.metadata.resource_version}
    return {**changed, "metadata": {**changed.get("metadata", {}), **locked}}


def table(workspace: Workspace, kept: Iterable[Kept], *, wide: bool = False) -> str:
    """The revisions, the newest first."""
    rows = []
    for told in documents(workspace, kept):
        here = " (present)" if told["present"] else ""
        row = [str(told["revision"]), told["created"], told["name"], told["what"] + here]
        rows.append([*row, told["hash"]] if wide else row)
    header = ("REVISION", "CREATED", "NAME", "WHAT", *(("HASH",) if wide else ()))
    return output.table(header, rows)


def documents(workspace: Workspace, kept: Iterable[Kept]) -> Iterator[dict[str, Any]]:
    """The same for programs."""
    present = revision.spec_hash(workspace)
    for each in sorted(kept, key=lambda one: one.revision, reverse=True):
        made = each.metadata.creation_timestamp
        yield {
            "revision": each.revision,
            "created": f"{made:%Y-%m-%dT%H:%M:%SZ}" if made else "",
            "name": each.metadata.name,
            "what": _summary(each),
            "present": _hash(each) == present,
            "hash": _hash(each),
        }


def _summary(kept: Kept) -> str:
    """What is served, in a line."""
    work: dict[str, Any] = kept.data.get("inference") or kept.data.get("tuning") or {}
    preset = (work.get("preset") or {}).get("name")
    parts = [str(preset) if preset else "own template"]
    if work.get("config"):
        parts.append(f"config {work['config']}")
    if names := [(each.get("source") or {}).get("name", "") for each in work.get("adapters") or ()]:
        parts.append(f"adapters {', '.join(names)}")
    said = kept.data.get("annotations") or {}
    parts += [f"{key.partition('/')[2]} {value}" for key, value in sorted(said.items())]
    return "; ".join(parts)


async def _roll_back(args: argparse.Namespace, settings: Settings) -> list[str]:
    name, namespace = args.workspace, cluster.namespace(args)
    async with cluster.client(args) as client:
        workspace = await _read(client, name, namespace)
        of_workspace = f"{REVISION_NAME_LABEL}={name}"
        kept = (await client.list(REVISIONS, namespace=namespace, labels=of_workspace)).items
        if args.list:
            told = output.document(list(documents(workspace, kept)), args.output)
            wide = args.output == output.WIDE
            return [table(workspace, kept, wide=wide) if told is None else told]
        target = chosen(workspace, kept, args.to_revision)
        for _ in range(_TRIES - 1):
            with suppress(ConflictError):
                return await _go_back(client, workspace, target, settings, dry_run=args.dry_run)
            workspace = await _read(client, name, namespace)
        return await _go_back(client, workspace, target, settings, dry_run=args.dry_run)


async def _read(client: Client, name: str, namespace: str) -> Workspace:
    workspace = await client.get(WORKSPACES, name, namespace)
    if workspace is None:
        raise NoWorkspaceError(f'there is no Workspace "{name}" in namespace "{namespace}"')
    return workspace


async def _go_back(
    client: Client, workspace: Workspace, target: Kept, settings: Settings, *, dry_run: bool
) -> list[str]:
    """ConflictError where the Workspace was written meanwhile: the controller does so often, and
    most of it is status."""
    name, namespace = workspace.metadata.name, workspace.metadata.namespace
    document = restored(workspace, target)
    configs = {
        each.metadata.name: each
        for each in (await client.list(CONFIG_MAPS, namespace=namespace)).items
    }
    world = World(now=datetime.now(UTC), configs=configs)
    found = changes.difference(workspace, document, world, settings)
    if found.effect == changes.REFUSED:
        raise RefusedError(f"revision {target.revision} cannot be gone back to: {found.message}")
    if not found.fields:
        return [f"workspace {namespace}/{name} is as at revision {target.revision} already"]
    if not dry_run:
        await client.patch(WORKSPACES, name, patch(workspace, document), namespace=namespace)
    done = "would go back" if dry_run else "goes back"
    return [*diff.lines([found]), f"{name} {done} to revision {target.revision}"]


def _hash(kept: Kept) -> str:
    return kept.metadata.annotations.get(WORKSPACE_HASH_ANNOTATION, "")
