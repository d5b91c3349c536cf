"""The clouds that are built in: the only list of them. Each is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module, resources
from typing import TYPE_CHECKING, Any, Protocol, cast

import yaml

from cloudproviders import catalog
from cloudproviders.errors import UnknownCloudError
from cloudproviders.instancetype import InstanceType
from cloudproviders.profile import CloudProfile
from cloudproviders.provider import CloudProvider

if TYPE_CHECKING:  # catalogues and profiles are for those too who have no use for a client
    from kube.client import Client

PROVIDERS = ("arc", "aws", "azure", "gcp", "kwok", "local")
"""Clouds that can be provisioned from: each module `<cloud>.provider` has a `build`."""

CATALOGUED = ("arc", "aws", "azure", "gcp", "kwok", "local")
"""Clouds whose instance types and claim shapes are known."""


class _ProviderModule(Protocol):
    def build(self, settings: Mapping[str, str], client: Client) -> CloudProvider: ...


def load(name: str, settings: Mapping[str, str], client: Client) -> CloudProvider:
    """The provider of that name, ready to use inside a running event loop.

    `settings` are the cloud's own, by upper-case name (LOCAL_MACHINES_URL …); a provider takes
    what it needs and raises CloudConfigurationError where something is missing. `client` is for
    clouds that live in the cluster itself. UnknownCloudError where there is no such provider.
    """
    if name not in PROVIDERS:
        raise UnknownCloudError(
            f"cloud provider {name!r} cannot be provisioned from; one of: {', '.join(PROVIDERS)}"
        )
    module = cast("_ProviderModule", import_module(f"cloudproviders.{name}.provider"))
    return module.build(settings, client)


@cache
def instance_types(cloud: str) -> Mapping[str, InstanceType]:
    """The catalogue of a cloud by name, in either case; UnknownCloudError where there is none."""
    return catalog.parse(_text(cloud, "catalog.yaml"))


@cache
def profile(cloud: str) -> CloudProfile:
    """How claims for a cloud are shaped; UnknownCloudError where there is no such cloud."""
    document: Any = yaml.safe_load(_text(cloud, "profile.yaml"))
    return CloudProfile.model_validate(document)


def _text(cloud: str, file: str) -> str:
    if cloud not in CATALOGUED:
        raise UnknownCloudError(f"unknown cloud {cloud!r}; one of: {', '.join(CATALOGUED)}")
    return resources.files("cloudproviders").joinpath(cloud, file).read_text("utf-8")
