"""`kaito estimate`: how many nodes of a type a preset needs, without a cluster."""

from __future__ import annotations

import argparse
import asyncio
import os
from dataclasses import asdict
from typing import Any, get_args

import aiohttp
import msgspec

from apis.kaito.v1beta1 import labels
from kaito import complete, exits, machines, output
from kaito.machines import Machine, UnknownMachineError
from presets import catalog, estimate, fetch, reference
from presets.catalog import UnknownModelError
from presets.estimate import DoesNotFitError, Fit
from presets.fetch import AccessDeniedError, RepositoryError
from presets.files import UnsupportedModelError
from presets.fits import Engine
from presets.loading import LOAD_IN
from presets.model import Model

_ANNOTATION = "annotation"
KEYS = (
    "nodes",
    "gpus_per_node",
    "tensor_parallel",
    "pipeline_parallel",
    "data_parallel",
    "gpu_memory_utilization",
)
"""First in the JSON, and there for scripts to rely on; more may follow."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """`estimate` with its flags; `run` is its `run` default."""
    parser = subparsers.add_parser(
        "estimate",
        help="how many nodes of an instance type a preset needs",
        description="Say how many nodes of an instance type a preset needs, and how it is laid "
        "on them: the same answer that the workspace controller acts on. A model that is not in "
        "the catalogue is looked up at Hugging Face ($HF_ENDPOINT). Exit status 0 where it fits, 1 "
        "where it does not or is no known model, 2 where it cannot be told.",
    )
    complete.of(
        parser.add_argument("--preset", required=True, metavar="NAME", help="name, alias or HF id"),
        complete.presets,
    )
    parser.add_argument("--revision", default="", metavar="REV", help="branch, tag or commit")
    parser.add_argument(
        "--token-env", default="HF_TOKEN", metavar="NAME", help="variable with a Hugging Face token"
    )
    parser.add_argument("--offline", action="store_true", help="know the catalogue alone")
    machines.add_arguments(parser)
    parser.add_argument(
        "--max-model-len", type=_positive, metavar="N", help="tokens that a request must have"
    )
    parser.add_argument("--engine", choices=get_args(Engine), help="default: as the nodes are")
    parser.add_argument("--load-in", choices=LOAD_IN, help="as the engine is told to load weights")
    parser.add_argument("--kv-cache-dtype", default="", metavar="TYPE", help="such as fp8")
    parser.add_argument(
        "--estimator",
        choices=estimate.ESTIMATORS,
        default="fit",
        help="fit (default), or kaito for the numbers of KAITO v0.12",
    )
    output.add_argument(
        parser,
        *(output.TABLE, output.WIDE, output.JSON, output.YAML, _ANNOTATION),
        more=f"{_ANNOTATION}: {labels.GROUP}/resolved-model of a Workspace in a cluster that does "
        "not reach Hugging Face",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the estimate; 1 where the model does not fit, 2 where that cannot be told."""
    # Late, as the catalogues of all clouds need not be read for the other commands.
    from cloudproviders.errors import UnknownCloudError

    try:
        model = _model(args)
        if args.output == _ANNOTATION:
            print(msgspec.json.encode(model).decode())
            return 0
        machine = machines.of(args)
        fit = _fit(args, model, machine)
    except (DoesNotFitError, UnknownModelError, UnsupportedModelError) as error:
        return exits.failed(error, exits.NO)
    except (RepositoryError, UnknownCloudError, UnknownMachineError) as error:
        return exits.failed(error)
    of = {"model": model.hf_id or model.name, "revision": model.revision}
    told = output.document(document(fit) | of, args.output)
    print(told or _table(model, machine, fit, wide=args.output == output.WIDE))
    return exits.DONE


def document(fit: Fit) -> dict[str, Any]:
    """The estimate as JSON has it: the promised keys first, then the rest."""
    fields = asdict(fit)
    return {key: fields.pop(key) for key in KEYS} | fields


def _fit(args: argparse.Namespace, model: Model, machine: Machine) -> Fit:
    return estimate.fit(
        model,
        machine.gpu,
        memory_gib=machine.memory_gib,
        cpus=machine.cpus,
        max_model_len=args.max_model_len,
        estimator=args.estimator,
        engine=args.engine,
        mig_profile=machine.mig_profile,
        load_in=args.load_in,
        kv_cache_dtype=args.kv_cache_dtype,
    )


def _model(args: argparse.Namespace) -> Model:
    known = None if args.revision else catalog.lookup(args.preset)
    if known is not None:
        return known
    if args.offline or reference.parse(args.preset) is None:
        return catalog.load().get(args.preset)
    try:
        return asyncio.run(_fetched(args))
    except AccessDeniedError as error:
        raise RepositoryError(
            f"{args.preset} is gated or private, or does not exist: put a token that opens it "
            f"into ${args.token_env}"
        ) from error
    except (aiohttp.ClientError, TimeoutError) as error:
        told = str(error) or type(error).__name__
        raise RepositoryError(
            f"Hugging Face does not answer ({told}); --offline knows the catalogue alone"
        ) from error


async def _fetched(args: argparse.Namespace) -> Model:
    hub = fetch.Hub(os.environ.get("HF_ENDPOINT", ""))
    try:
        token = os.environ.get(args.token_env, "")
        return await hub.model(args.preset, token=token, revision=args.revision)
    finally:
        await hub.close()


def _table(model: Model, machine: Machine, fit: Fit, *, wide: bool) -> str:
    gpu = machine.gpu
    node = f"{gpu.count} x {gpu.model or 'GPU'}, {gpu.memory_gib:g} GiB each"
    rows = [
        ("preset", model.name),
        ("commit", model.revision or "not pinned"),
        ("instance type", f"{machine.name} ({node if gpu.count else 'no GPU'})"),
        ("nodes", str(fit.nodes)),
        ("GPUs per node", str(fit.gpus_per_node)),
        ("parallelism", _parallelism(fit)),
        ("engine", f"{fit.engine}, {fit.dtype}"),
        ("context", f"{fit.max_model_len} tokens" if fit.max_model_len else "as much as fits"),
    ]
    if fit.gpu_memory_gib:
        share = f" (share {fit.gpu_memory_utilization:.0%})" if fit.gpu_memory_utilization else ""
        rows.append(("GPU memory", f"{fit.gpu_memory_gib} GiB each{share}"))
    if fit.memory_gib:
        rows.append(("pod requests", f"{fit.memory_gib:g} GiB RAM, {fit.cpu:g} CPUs"))
    if wide:
        told = {row[0] for row in rows}
        rows += [(key, str(value)) for key, value in asdict(fit).items() if key not in told]
    width = max(14, *(len(label) for label, _ in rows))
    return "\n".join(f"{label:<{width}} {value}" for label, value in rows)


def _parallelism(fit: Fit) -> str:
    return (
        f"tensor {fit.tensor_parallel}, pipeline {fit.pipeline_parallel}, data {fit.data_parallel}"
    )


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return int(text)
