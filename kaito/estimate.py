"""`kaito estimate`: how many nodes of a type a preset needs, without a cluster."""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from presets import catalog, estimate
from presets.catalog import UnknownModelError
from presets.estimate import DoesNotFitError, Fit

if TYPE_CHECKING:
    from cloudproviders.instancetype import InstanceType

KEYS = (
    "nodes",
    "gpus_per_node",
    "tensor_parallel",
    "pipeline_parallel",
    "data_parallel",
    "gpu_memory_utilization",
)
"""First in the JSON, and there for scripts to rely on; more may follow."""


class UnknownInstanceTypeError(LookupError):
    """The cloud's catalogue has no such type; the message suggests some that are near."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """`estimate` with its flags; `run` is its `run` default."""
    parser = subparsers.add_parser(
        "estimate",
        help="how many nodes of an instance type a preset needs",
        description="Say how many nodes of an instance type a preset needs, and how it is laid "
        "on them: the same answer that the workspace controller acts on.",
    )
    parser.add_argument("--preset", required=True, metavar="NAME", help="name, alias or HF id")
    parser.add_argument("--instance-type", required=True, metavar="SKU")
    parser.add_argument("--cloud", default="azure", help="whose catalogue (default: azure)")
    parser.add_argument(
        "--max-model-len", type=_positive, metavar="N", help="tokens that a request must have"
    )
    parser.add_argument(
        "--estimator",
        choices=estimate.ESTIMATORS,
        default="fit",
        help="fit (default), or kaito for the numbers of KAITO v0.12",
    )
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the estimate; 1 with the reason on stderr where there is none."""
    # Late, as the catalogues of all clouds need not be read for the other commands.
    from cloudproviders.errors import UnknownCloudError

    try:
        model = catalog.load().get(args.preset)
        instance = _instance_type(args.cloud, args.instance_type)
        fit = estimate.fit(
            model,
            instance.gpu,
            memory_gib=instance.memory_gib,
            cpus=instance.cpus,
            max_model_len=args.max_model_len,
            estimator=args.estimator,
        )
    except (
        DoesNotFitError,
        UnknownCloudError,
        UnknownInstanceTypeError,
        UnknownModelError,
    ) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if args.output == "json":
        print(json.dumps(document(fit)))
    else:
        print(_table(model.name, instance, fit))
    return 0


def document(fit: Fit) -> dict[str, Any]:
    """The estimate as JSON has it: the promised keys first, then the rest."""
    fields = asdict(fit)
    return {key: fields.pop(key) for key in KEYS} | fields


def _instance_type(cloud: str, name: str) -> InstanceType:
    import cloudproviders

    types = cloudproviders.instance_types(cloud)
    if (found := types.get(name)) is not None:
        return found
    by_folded = {each.casefold(): each for each in types}
    near = difflib.get_close_matches(name.casefold(), by_folded, n=3)
    hint = f"; did you mean {', '.join(by_folded[each] for each in near)}?" if near else ""
    raise UnknownInstanceTypeError(f"unknown instance type {name!r} of {cloud}{hint}")


def _table(preset: str, instance: InstanceType, fit: Fit) -> str:
    gpu = instance.gpu
    node = f"{gpu.count} x {gpu.model}, {gpu.memory_gib:g} GiB each" if gpu.count else "no GPU"
    rows = [
        ("preset", preset),
        ("instance type", f"{instance.name} ({node})"),
        ("nodes", str(fit.nodes)),
        ("GPUs per node", str(fit.gpus_per_node)),
        ("parallelism", _parallelism(fit)),
        ("engine", f"{fit.engine}, {fit.dtype}"),
        ("context", f"{fit.max_model_len} tokens" if fit.max_model_len else "as much as fits"),
    ]
    if fit.gpu_memory_gib:
        share = f"{fit.gpu_memory_utilization:.0%}"
        rows.append(("GPU memory", f"{fit.gpu_memory_gib} GiB each (share {share})"))
    if fit.memory_gib:
        rows.append(("pod requests", f"{fit.memory_gib:g} GiB RAM, {fit.cpu:g} CPUs"))
    return "\n".join(f"{label:<14} {value}" for label, value in rows)


def _parallelism(fit: Fit) -> str:
    return (
        f"tensor {fit.tensor_parallel}, pipeline {fit.pipeline_parallel}, data {fit.data_parallel}"
    )


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return int(text)
