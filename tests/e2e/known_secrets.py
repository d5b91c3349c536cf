"""The secrets that a cluster has, and had: those of its files, and each Secret in it.

They are gathered while it is up, since a log is looked through when nobody can be asked any more.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

from localcluster.commands import CommandError
from localcluster.paths import State
from tests.e2e import secrets_in_logs

LOOK_SECONDS = 2.0
PUBLIC = ("ca.crt", "tls.crt", "namespace")
"""Keys of Secrets that hold nothing secret."""
_RELEASE = "helm.sh/release.v1"
"""Helm's own copies of the charts, as a whole compressed: nothing that would stand in a log."""


class KnownSecrets:
    """What was ever seen; a value that is changed is still one that no log may have."""

    def __init__(self, state: State, kubectl: Callable[..., str]) -> None:
        self._state = state
        self._kubectl = kubectl
        self._names: dict[str, str] = {}
        self.answered = 0
        """How often the cluster told its Secrets."""

    @property
    def by_name(self) -> dict[str, str]:
        return {f"{name} ({n})": value for n, (value, name) in enumerate(self._names.items(), 1)}

    def look(self) -> None:
        """Once more. A cluster that is not up, or just comes or goes, has none to tell."""
        try:
            for name, value in secrets_in_logs.of_kubeconfig(self._state.kubeconfig).items():
                self._names.setdefault(value, name)
            token = self._state.machines_token.read_text().strip()
        except FileNotFoundError:
            return
        self._names.setdefault(token, "the machines API's token")
        words = ("get", "secrets", "--all-namespaces", "--output=json", "--request-timeout=5s")
        try:
            found = json.loads(self._kubectl(*words))["items"]
        except CommandError:
            return
        self.answered += 1
        for secret in found:
            for name, value in of_secret(secret):
                self._names.setdefault(value, name)


def of_secret(secret: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Its values by name, and the passwords within those of registries."""
    if secret.get("type") == _RELEASE:
        return
    metadata = secret["metadata"]
    for key, encoded in (secret.get("data") or {}).items():
        value = base64.b64decode(encoded).decode(errors="replace")
        name = f"{metadata['namespace']}/{metadata['name']}/{key}"
        if key in PUBLIC or not value:
            continue
        yield name, value
        if key == ".dockerconfigjson":
            for host, account in json.loads(value).get("auths", {}).items():
                yield from ((f"{name} of {host}", each) for each in _passwords(account))


def _passwords(account: dict[str, str]) -> Iterator[str]:
    if account.get("password"):
        yield account["password"]
    if auth := account.get("auth"):
        yield auth
        yield base64.b64decode(auth).decode().partition(":")[2]
