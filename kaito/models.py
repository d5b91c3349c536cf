"""`kaito models`: what there is to serve, and which machines it fits."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kaito import complete, exits, output
from presets import catalog, estimate
from presets.catalog import UnknownModelError
from presets.estimate import DoesNotFitError
from presets.model import GIB, Model

_GATED = "gated"


@dataclass(frozen=True, slots=True)
class Offer:
    """One way to buy what a model needs; `price` is US dollars an hour for all nodes."""

    instance_type: str
    gpu: str
    nodes: int
    gpus_per_node: int
    max_model_len: int
    price: float | None


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """`models list` and `models describe`; `run` is their `run` default."""
    parser = subparsers.add_parser("models", help="the presets: list them, describe one")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser(
        "list",
        help="all presets",
        description="List the presets. Any other model of Hugging Face can be named as owner/model"
        " too (see `kaito estimate`). Exit status 0.",
    )
    listing.add_argument(
        "--detailed", dest="output", action="store_const", const=output.WIDE, help="as -o wide"
    )
    output.add_argument(listing, output.TABLE, output.WIDE, output.JSON, output.YAML, output.NAME)
    listing.set_defaults(run=run_list)
    one = actions.add_parser(
        "describe",
        help="one preset, and the instance types that it fits",
        description="Describe a preset: size, context, licence, and of the cloud's instance types"
        " those that it fits, the cheapest first. Exit status 0, 1 for an unknown preset, 2 for an"
        " unknown cloud.",
    )
    complete.of(one.add_argument("model", metavar="MODEL"), complete.presets)
    one.add_argument("--cloud", default="azure", help="whose instance types (default: azure)")
    output.add_argument(one, output.TEXT, output.JSON, output.YAML)
    one.set_defaults(run=run_describe)


def run_list(args: argparse.Namespace) -> int:
    """Print the presets."""
    models = sorted(catalog.load(), key=lambda each: each.name)
    told = output.document([summary(each) for each in models], args.output)
    if told is None and args.output == output.NAME:
        told = "\n".join(each.name for each in models)
    print(told or _table(models, wide=args.output == output.WIDE))
    return exits.DONE


def run_describe(args: argparse.Namespace) -> int:
    """Print one preset."""
    from cloudproviders.errors import UnknownCloudError

    try:
        model = catalog.load().get(args.model)
        found = offers(model, args.cloud)
    except UnknownModelError as error:
        return exits.failed(error, exits.NO)
    except UnknownCloudError as error:
        return exits.failed(f"--cloud: {error}")
    document = summary(model) | {"cloud": args.cloud, "offers": [_offer(each) for each in found]}
    told = output.document(document, args.output)
    print(told or "\n".join(_description(model, args.cloud, found)))
    return exits.DONE


def summary(model: Model) -> dict[str, Any]:
    """A preset for programs."""
    return {
        "name": model.name,
        "huggingFace": model.hf_id,
        "revision": model.revision,
        "aliases": [each for each in model.aliases if each != model.name],
        "licence": model.licence,
        "gated": model.auth_required,
        "architecture": model.architecture,
        "parametersBillion": round(model.parameters, 2),
        "weightsGiB": round(model.weights_bytes / GIB, 1),
        "maxModelLen": model.max_model_len,
        "quantization": model.quantization,
    }


def offers(model: Model, cloud: str) -> list[Offer]:
    """The instance types with GPUs that the model fits, the cheapest first and those without a
    price last. Raises UnknownCloudError."""
    import cloudproviders

    found = []
    for kind in cloudproviders.instance_types(cloud).values():
        if not kind.gpu.count:
            continue
        try:
            fit = estimate.fit(model, kind.gpu, memory_gib=kind.memory_gib, cpus=kind.cpus)
        except DoesNotFitError:
            continue
        prices = [each.price for each in kind.offerings if each.price is not None]
        price = round(min(prices) * fit.nodes, 2) if prices else None
        gpu = f"{kind.gpu.count} x {kind.gpu.model} {kind.gpu.memory_gib:g} GiB"
        found.append(
            Offer(kind.name, gpu, fit.nodes, fit.gpus_per_node, fit.max_model_len or 0, price)
        )
    return sorted(found, key=lambda each: (each.price is None, each.price or 0, each.instance_type))


def _table(models: list[Model], *, wide: bool) -> str:
    header = ["NAME", "PARAMETERS", "WEIGHTS", "CONTEXT", "ACCESS"]
    more = ["LICENCE", "QUANTIZATION", "HUGGING FACE"] if wide else []
    return output.table([*header, *more], [_row(each, wide=wide) for each in models])


def _row(model: Model, *, wide: bool) -> list[str]:
    told = summary(model)
    row = [
        model.name,
        f"{told['parametersBillion']:g}B" if model.parameters else "",
        f"{told['weightsGiB']:g}Gi",
        str(model.max_model_len),
        _GATED if model.auth_required else "public",
    ]
    return row + ([model.licence, model.quantization, model.hf_id] if wide else [])


def _description(model: Model, cloud: str, found: list[Offer]) -> Iterator[str]:
    told = summary(model)
    access = "gated: needs --model-access-secret" if model.auth_required else "public"
    for label, value in (
        ("name", model.name),
        ("aliases", ", ".join(told["aliases"])),
        ("Hugging Face", model.hf_id),
        ("commit", model.revision or "not pinned"),
        ("access", access),
        ("licence", model.licence),
        ("weights", f"{told['weightsGiB']:g} GiB"),
        ("context", f"{model.max_model_len} tokens"),
    ):
        yield f"{label:<14} {value or '-'}"
    yield ""
    if not found:
        yield f"It fits no instance type of {cloud}."
        return
    header = ("INSTANCE TYPE", "NODES", "GPUS PER NODE", "GPU", "CONTEXT", "$/HOUR")
    rows = [
        (
            each.instance_type,
            str(each.nodes),
            str(each.gpus_per_node),
            each.gpu,
            str(each.max_model_len) if each.max_model_len else "as fits",
            "" if each.price is None else f"{each.price:.2f}",
        )
        for each in found
    ]
    yield output.table(header, rows)


def _offer(offer: Offer) -> dict[str, Any]:
    return {
        "instanceType": offer.instance_type,
        "gpu": offer.gpu,
        "nodes": offer.nodes,
        "gpusPerNode": offer.gpus_per_node,
        "maxModelLen": offer.max_model_len,
        "dollarsPerHour": offer.price,
    }
