"""A secret that a cluster has, or had, is looked for in its logs."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from localcluster.commands import CommandError
from localcluster.paths import State
from tests.e2e.known_secrets import KnownSecrets, of_secret


def a_secret(kind: str = "Opaque", **data: str) -> dict[str, Any]:
    named = {key.replace("_", "."): value for key, value in data.items()}
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in named.items()}
    return {"metadata": {"namespace": "default", "name": "s"}, "type": kind, "data": encoded}


class Api:
    """kubectl at a cluster whose Secrets change."""

    def __init__(self) -> None:
        self.secrets: list[dict[str, Any]] | None = None

    def __call__(self, *words: str) -> str:
        assert words[:3] == ("get", "secrets", "--all-namespaces")
        if self.secrets is None:
            raise CommandError("connection refused")
        return json.dumps({"items": self.secrets})


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path)


def up(state: State, token: str) -> None:
    state.control_plane.mkdir(exist_ok=True)
    users = [{"name": "admin", "user": {"password": "the administrator's"}}]
    state.kubeconfig.write_text(json.dumps({"users": users}))
    state.machines_token.write_text(f"{token}\n")


def test_a_cluster_that_is_not_up_tells_nothing(state: State) -> None:
    known = KnownSecrets(state, Api())
    known.look()
    assert (known.by_name, known.answered) == ({}, 0)


def test_whatever_was_ever_seen_is_known(state: State) -> None:
    api = Api()
    known = KnownSecrets(state, api)
    up(state, "token-one")
    known.look()
    assert known.answered == 0
    api.secrets = [a_secret(key="first-value")]
    known.look()
    api.secrets = [a_secret(key="second-value")]
    up(state, "token-two")
    known.look()
    api.secrets = []
    known.look()
    assert known.answered == 3
    assert set(known.by_name.values()) == {
        *("the administrator's", "token-one", "token-two", "first-value", "second-value"),
    }


def test_of_credentials_for_registries_the_password_alone_is_too_much() -> None:
    auth = base64.b64encode(b"user:hidden-one").decode()
    auths = {"a.example": {"username": "user", "password": "hidden-two"}, "b": {"auth": auth}}
    document = json.dumps({"auths": auths})
    found = [value for _, value in of_secret(a_secret(_dockerconfigjson=document))]
    assert found == [document, "hidden-two", auth, "hidden-one"]


def test_what_is_public_is_not_looked_for() -> None:
    certificates = {"ca_crt": "CA", "tls_crt": "certificate", "namespace": "default"}
    assert list(of_secret(a_secret(**certificates, tls_key="key"))) == [
        ("default/s/tls.key", "key")
    ]
    assert list(of_secret(a_secret("helm.sh/release.v1", release="chart"))) == []
