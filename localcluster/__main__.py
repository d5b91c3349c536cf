"""python -m localcluster: a Kubernetes cluster on this machine."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import shutil
import sys
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path

from localcluster import paths
from localcluster.binaries import Binaries
from localcluster.cluster import FAILURES, REPOSITORY, Cluster, Settings, network_of
from localcluster.imagereports import REPORTS
from localcluster.images import by_reference
from localcluster.network import NODES, Network
from localcluster.recipes import TAG, discover
from localcluster.tools import TOOLS


def main() -> int:
    """Run one command; a failure is told in one message, without a traceback."""
    arguments = _parser().parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        return int(arguments.run(arguments))
    except FAILURES as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m localcluster", description=__doc__)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--state", type=Path, default=paths.STATE, help="directory of the cluster")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    up = commands.add_parser("up", parents=[common], help="bring the cluster up")
    up.add_argument("--nodes-cidr", type=IPv4Network, default=NODES, help="of the bridge, a /16")
    up.add_argument("--egress", action="store_true", help="let pods reach the outside")
    up.set_defaults(run=_up)

    down = commands.add_parser("down", parents=[common], help="remove every trace of it")
    down.add_argument("--purge", action="store_true", help="unpacked images of nodes too")
    down.set_defaults(run=_down)

    status = commands.add_parser("status", parents=[common], help="tell what runs")
    status.set_defaults(run=_status)
    kubeconfig = commands.add_parser("kubeconfig", parents=[common], help="print the path")
    kubeconfig.set_defaults(run=_kubeconfig)

    binaries = commands.add_parser("binaries", help="fetch or build all programs, print where")
    binaries.set_defaults(run=_binaries)

    images = commands.add_parser("images", parents=[common], help="build and load images")
    images.add_argument("action", choices=["list", "build", "load", *REPORTS])
    images.add_argument("names", nargs="*", metavar="NAME", help="default: those without torch")
    images.add_argument("--tag", default=TAG)
    images.set_defaults(run=_images)

    models = commands.add_parser("models", parents=[common], help="fetch the quick start's models")
    models.add_argument("--hf", action="store_true", help="as a Hugging Face folder too, for vLLM")
    models.add_argument("--embedder", action="store_true", help="and MiniLM, for retrieval")
    models.set_defaults(run=_models)

    machined = commands.add_parser("machined", parents=[common], help="serve the machines API")
    machined.set_defaults(run=_machined)
    return parser


def _cluster(arguments: argparse.Namespace, network: Network | None = None) -> Cluster:
    cache = paths.cache_directory(os.environ)
    binaries = Binaries(cache, paths.assets_directory(os.environ))
    state = arguments.state.resolve()
    settings = Settings(cache, binaries, state, network or network_of(paths.State(state)))
    return Cluster(settings)


def _up(arguments: argparse.Namespace) -> int:
    network = replace(Network(), nodes=arguments.nodes_cidr, egress=arguments.egress)
    cluster = _cluster(arguments, network)
    cluster.up()
    print(f"export KUBECONFIG={cluster.state.kubeconfig}")
    return 0


def _down(arguments: argparse.Namespace) -> int:
    cluster = _cluster(arguments)
    cluster.down()
    if arguments.purge:
        shutil.rmtree(cluster.state.root)
    left = cluster.leftovers()
    for item in left:
        print(f"left behind: {item}", file=sys.stderr)
    if not left:
        print("nothing is left: no process, mount, namespace, interface, route or cgroup")
    return 1 if left else 0


def _status(arguments: argparse.Namespace) -> int:
    cluster = _cluster(arguments)
    print("\n".join(cluster.status()))
    return 0 if cluster.running else 3


def _kubeconfig(arguments: argparse.Namespace) -> int:
    print(paths.State(arguments.state.resolve()).kubeconfig)
    return 0


def _binaries(_arguments: argparse.Namespace) -> int:
    cache = paths.cache_directory(os.environ)
    for path in Binaries(cache, paths.assets_directory(os.environ)).paths(TOOLS).values():
        print(path)
    return 0


def _images(arguments: argparse.Namespace) -> int:
    recipes = discover(REPOSITORY, arguments.tag)
    if arguments.action == "list":
        print("\n".join(recipe.name for recipe in recipes))
        return 0
    cluster = _cluster(arguments)
    names = arguments.names or [recipe.name for recipe in recipes if not recipe.has_torch]
    if arguments.action in REPORTS:
        return REPORTS[arguments.action](cluster, names, arguments.tag)
    archives = by_reference(cluster.build(names, arguments.tag))
    if arguments.action == "load":
        cluster.load(archives)
    return 0


def _models(arguments: argparse.Namespace) -> int:
    _cluster(arguments).models(huggingface=arguments.hf, embedder=arguments.embedder)
    return 0


def _machined(arguments: argparse.Namespace) -> int:
    asyncio.run(_cluster(arguments).serve_machines())
    return 0


if __name__ == "__main__":
    sys.exit(main())
