"""A CRD of ours as an installation may have it otherwise, for as long as a test lasts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml
from workspace_cluster import eventually

import apis
from kube import config
from kube.client import Client
from kube.meta import Manifest

_CRDS = Path(apis.__file__).parent / "crds"


@asynccontextmanager
async def altered(
    kubeconfig: Path,
    change: Callable[[Manifest], Manifest],
    seen: Callable[[], Awaitable[bool]],
    plural: str = "workspaces",
) -> AsyncIterator[None]:
    """`seen`: whether the API server goes by the change, which takes it a moment either way."""
    file = _CRDS / f"kaito.sh_{plural}.yaml"
    whole = yaml.safe_load(file.read_text())
    endpoint = config.kubeconfig(str(kubeconfig))
    async with Client(endpoint, field_manager="tests") as client:
        await client.apply(change(yaml.safe_load(file.read_text())))
        try:
            await eventually(seen)
            yield
        finally:
            await client.apply(whole)
            await eventually(lambda: _not(seen))


async def _not(ask: Callable[[], Awaitable[bool]]) -> bool:
    return not await ask()


def unruled(part: Any) -> Any:
    """Without any CEL rule."""
    if isinstance(part, dict):
        return {
            key: unruled(value) for key, value in part.items() if key != "x-kubernetes-validations"
        }
    return [unruled(each) for each in part] if isinstance(part, list) else part


def untyped(crd: Manifest) -> Manifest:
    """As the chart installs it for nodes of one's own: v1alpha1 asks for no instance type."""
    for version in crd["spec"]["versions"]:
        resource = version["schema"]["openAPIV3Schema"]["properties"]["resource"]
        resource["properties"]["instanceType"].pop("default", None)
    return crd
