"""Environment variables that what asks Hugging Face and registries needs."""

from __future__ import annotations

from apis import container
from kube.meta import Manifest


def hub(*, endpoint: str, token_secret: str) -> list[Manifest]:
    """A mirror in place of the hub, and the user's token: by reference, and optional, since what
    is public can be had without."""
    found: list[Manifest] = []
    if endpoint:
        found.append({"name": container.ENV_ENDPOINT, "value": endpoint})
    if token_secret:
        key = {"name": token_secret, "key": container.TOKEN_SECRET_KEY, "optional": True}
        found.append({"name": container.ENV_TOKEN, "valueFrom": {"secretKeyRef": key}})
    return found


def registries(insecure: str) -> list[Manifest]:
    """For what pulls or pushes: the registries that have no TLS, as host:port separated by
    commas; nothing where there are none."""
    return [{"name": container.ENV_INSECURE_REGISTRIES, "value": insecure}] if insecure else []
