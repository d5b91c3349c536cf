"""The cluster that a command is about: kubectl's kubeconfig, context and namespace."""

from __future__ import annotations

import argparse
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml

from apis.kaito.v1beta1.workspace import WORKSPACES
from apis.karpenter.v1.nodeclaim import NODE_CLAIMS
from kube import config
from kube.client import Client
from kube.meta import Resource

FIELD_MANAGER = "kaito"

_DEFAULT = "~/.kube/config"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--kubeconfig, --context and -n, as kubectl has them."""
    parser.add_argument("--kubeconfig", default="", metavar="FILE", help="default: $KUBECONFIG")
    parser.add_argument("--context", default="", help="default: the current one")
    parser.add_argument("-n", "--namespace", default="", help="default: the context's")


def kubeconfig(args: argparse.Namespace) -> str:
    return str(args.kubeconfig or os.environ.get("KUBECONFIG") or Path(_DEFAULT).expanduser())


def namespace(args: argparse.Namespace) -> str:
    """The one asked for, else the context's, else `default`."""
    if args.namespace:
        return str(args.namespace)
    for part in kubeconfig(args).split(":"):
        path = Path(part).expanduser()
        if not part or not path.exists():
            continue
        document = yaml.safe_load(path.read_text("utf-8")) or {}
        chosen = args.context or document.get("current-context")
        for entry in document.get("contexts") or ():
            if entry.get("name") == chosen:
                return str((entry.get("context") or {}).get("namespace") or "default")
    return "default"


@asynccontextmanager
async def client(
    args: argparse.Namespace, kinds: tuple[Resource[Any], ...] = ()
) -> AsyncIterator[Client]:
    """A client of that cluster, closed at the end; kube.config.ConfigError where there is none."""
    endpoint = config.kubeconfig(kubeconfig(args), args.context)
    async with Client(
        endpoint, field_manager=FIELD_MANAGER, kinds=(WORKSPACES, NODE_CLAIMS, *kinds), patience=5.0
    ) as found:
        yield found
