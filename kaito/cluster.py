"""The cluster that a command is about: kubectl's kubeconfig, context and namespace."""

from __future__ import annotations

import argparse
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml

from apis.kaito.v1beta1.workspace import WORKSPACES
from apis.karpenter.v1.nodeclaim import NODE_CLAIMS
from kube import config
from kube.client import Client
from kube.config import ConfigError, Endpoint
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
    """The one asked for, else the context's, else `default`. Raises ConfigError."""
    if args.namespace:
        return str(args.namespace)
    for document in _documents(kubeconfig(args)):
        chosen = args.context or document.get("current-context")
        for entry in document.get("contexts") or ():
            if entry.get("name") == chosen:
                return str((entry.get("context") or {}).get("namespace") or "default")
    return "default"


def endpoint(args: argparse.Namespace) -> Endpoint:
    """The API server; ConfigError where there is none, or a file is no kubeconfig."""
    path = kubeconfig(args)
    for _ in _documents(path):
        pass
    return config.kubeconfig(path, args.context)


@asynccontextmanager
async def client(
    args: argparse.Namespace, kinds: tuple[Resource[Any], ...] = ()
) -> AsyncIterator[Client]:
    """A client of that cluster, closed at the end; kube.config.ConfigError where there is none."""
    known: tuple[Resource[Any], ...] = (WORKSPACES, NODE_CLAIMS, *kinds)
    async with Client(
        endpoint(args), field_manager=FIELD_MANAGER, kinds=known, patience=5.0
    ) as found:
        yield found


def _documents(joined: str) -> Iterator[dict[str, Any]]:
    """Those of the files that are there; ConfigError where one is no kubeconfig at all."""
    for part in filter(None, joined.split(":")):
        path = Path(part).expanduser()
        if not path.exists():
            continue
        try:
            document = yaml.safe_load(path.read_text("utf-8")) or {}
        except OSError as error:
            raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} is no kubeconfig: it is no YAML") from error
        if not isinstance(document, dict):
            raise ConfigError(f"{path} is no kubeconfig: it is no object")
        yield document
