"""`kaito deploy`: a Workspace from flags, as the Go plugin takes them."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import aiohttp

from apis.kaito.v1beta1.labels import ENABLE_LB_ANNOTATION, ENABLE_LB_VALUE
from kaito import cluster, complete, diff, exits, output, validate
from kube.config import ConfigError
from kube.errors import AlreadyExistsError, InvalidError, KubeError
from kube.meta import Manifest

_INFERENCE = ("model_access_secret", "adapters", "inference_config", "enable_load_balancer")
_TUNING = (
    *("input_urls", "input_pvc", "output_image", "output_pvc", "output_image_secret"),
    *("tuning_config", "tuning_method"),
)
_METHOD = "qlora"
_WAYS = "NAME=IMAGE"


class FlagError(ValueError):
    """The flags do not go together; the message names them."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """`deploy` with its flags; `run` is its `run` default."""
    parser = subparsers.add_parser(
        "deploy",
        help="create a Workspace from flags",
        description="Create a Workspace that serves a model or, with --tuning, tunes one. What"
        " admission would refuse is refused before the cluster is asked. Exit status 0, 1 where it"
        " is refused or exists already, 2 where it cannot be told.",
    )
    parser.add_argument("--workspace-name", required=True, metavar="NAME")
    complete.of(
        parser.add_argument("--model", required=True, metavar="NAME", help="preset or HF id"),
        complete.presets,
    )
    complete.of(
        parser.add_argument("--instance-type", default="", metavar="SKU"), complete.instance_types
    )
    parser.add_argument("--count", type=int, default=1, metavar="N", help="nodes (default: 1)")
    parser.add_argument(
        "--node-selector", default="", metavar="K=V,…", help="labels of the nodes (matchLabels)"
    )
    parser.add_argument(
        "--annotation",
        action="append",
        default=[],
        metavar="K=V",
        help="such as kaito.sh/runtime=…",
    )
    parser.add_argument("--dry-run", action="store_true", help="print the manifest, create nothing")
    _add_inference(parser.add_argument_group("inference"))
    _add_tuning(parser.add_argument_group("tuning"))
    cluster.add_arguments(parser)
    diff.add_installation(parser)
    output.add_argument(
        parser, output.TEXT, output.JSON, output.YAML, output.NAME, more="of the created object"
    )
    parser.set_defaults(run=run)


def _add_inference(serving: argparse._ArgumentGroup) -> None:
    serving.add_argument("--model-access-secret", metavar="SECRET", help="with key HF_TOKEN")
    serving.add_argument(
        "--adapters", action="append", metavar=_WAYS, help="may be repeated, or separated by commas"
    )
    serving.add_argument("--inference-config", metavar="CONFIGMAP")
    serving.add_argument("--enable-load-balancer", action="store_true", default=None)


def _add_tuning(tuning: argparse._ArgumentGroup) -> None:
    tuning.add_argument("--tuning", action="store_true", help="tune the model")
    tuning.add_argument("--tuning-method", help=f"lora, qlora or full (default: {_METHOD})")
    tuning.add_argument("--input-urls", action="append", metavar="URL")
    tuning.add_argument("--input-pvc", metavar="CLAIM")
    tuning.add_argument("--output-image", metavar="IMAGE")
    tuning.add_argument("--output-pvc", metavar="CLAIM")
    tuning.add_argument("--output-image-secret", metavar="SECRET")
    tuning.add_argument("--tuning-config", metavar="CONFIGMAP")


def run(args: argparse.Namespace) -> int:
    """Create it, or print what would be."""
    from cloudproviders.errors import UnknownCloudError

    try:
        document = manifest(args, cluster.namespace(args))
        known = validate.facts(args.cloud, args.node_provisioner)
    except (FlagError, UnknownCloudError, ConfigError) as error:
        return exits.failed(error)
    if wrong := validate.refusals(document, known):
        for each in wrong:
            exits.failed(f"{each.path}: {each.message}" if each.path else each.message)
        return exits.NO
    for remark in validate.remarks(document, known):
        print(f"warning: {remark.path}: {remark.message}", file=sys.stderr)
    if args.dry_run:
        form = output.YAML if args.output == output.TEXT else args.output
        print(_told(document, form))
        return exits.DONE
    try:
        made = asyncio.run(_create(args, document))
    except (AlreadyExistsError, InvalidError) as error:
        return exits.failed(error, exits.NO)
    except (ConfigError, KubeError, OSError, aiohttp.ClientError) as error:
        return exits.failed(error)
    print(_told(made, args.output))
    if args.output == output.TEXT:
        print(f"next: kubectl kaito status {args.workspace_name} --watch")
    return exits.DONE


def manifest(args: argparse.Namespace, namespace: str) -> Manifest:
    """The Workspace that the flags mean. Raises FlagError."""
    _together(args)
    name = args.workspace_name
    labels = dict(_pairs("--node-selector", [args.node_selector])) or {"apps": name}
    resource: dict[str, Any] = {
        "count": args.count,
        **({"instanceType": args.instance_type} if args.instance_type else {}),
        "labelSelector": {"matchLabels": labels},
    }
    metadata: dict[str, Any] = {"name": name, "namespace": namespace}
    annotations = dict(_pairs("--annotation", args.annotation))
    if args.enable_load_balancer:
        annotations[ENABLE_LB_ANNOTATION] = ENABLE_LB_VALUE
    if annotations:
        metadata["annotations"] = annotations
    work = {"tuning": _tuning(args)} if args.tuning else {"inference": _inference(args)}
    head = {"apiVersion": "kaito.sh/v1beta1", "kind": "Workspace", "metadata": metadata}
    return {**head, "resource": resource, **work}


def _together(args: argparse.Namespace) -> None:
    strangers = _INFERENCE if args.tuning else _TUNING
    wrong = [f"--{each.replace('_', '-')}" for each in strangers if getattr(args, each)]
    if wrong:
        side = "cannot be used with" if args.tuning else "needs"
        raise FlagError(f"{', '.join(wrong)} {side} --tuning")
    if args.tuning:
        _one_of("input", args.input_urls, args.input_pvc, "--input-urls or --input-pvc")
        _one_of("output", args.output_image, args.output_pvc, "--output-image or --output-pvc")


def _one_of(what: str, first: object, second: object, flags: str) -> None:
    if bool(first) == bool(second):
        raise FlagError(f"a tuning needs one {what}: {flags}")


def _inference(args: argparse.Namespace) -> Manifest:
    preset: dict[str, Any] = {"name": args.model}
    if args.model_access_secret:
        preset["presetOptions"] = {"modelAccessSecret": args.model_access_secret}
    work: dict[str, Any] = {"preset": preset}
    if args.inference_config:
        work["config"] = args.inference_config
    if args.adapters:
        found = _pairs("--adapters", args.adapters)
        work["adapters"] = [{"source": {"name": name, "image": image}} for name, image in found]
    return work


def _tuning(args: argparse.Namespace) -> Manifest:
    def volume(claim: str) -> Manifest:
        return {"volumeSource": {"persistentVolumeClaim": {"claimName": claim}}}

    source = volume(args.input_pvc) if args.input_pvc else {"urls": _split(args.input_urls)}
    if args.output_pvc:
        target = volume(args.output_pvc)
    else:
        target = {"image": args.output_image}
        if args.output_image_secret:
            target["imagePushSecret"] = args.output_image_secret
    method = args.tuning_method or _METHOD
    work: dict[str, Any] = {"preset": {"name": args.model}, "method": method}
    if args.tuning_config:
        work["config"] = args.tuning_config
    return {**work, "input": source, "output": target}


def _split(given: Sequence[str]) -> list[str]:
    return [part.strip() for each in given for part in each.split(",") if part.strip()]


def _pairs(flag: str, given: Sequence[str]) -> Iterator[tuple[str, str]]:
    for each in _split(given):
        name, _, value = each.partition("=")
        if not (name and value):
            raise FlagError(f"{flag}: {each!r} is not as NAME=VALUE")
        yield name, value


def _told(document: Manifest, form: str) -> str:
    name = f"workspace.kaito.sh/{document['metadata']['name']}"
    return output.document(document, form) or (name if form == output.NAME else f"{name} created")


async def _create(args: argparse.Namespace, document: Manifest) -> Manifest:
    async with cluster.client(args) as client:
        return await client.create(document)
