"""Where a pod finds the API server, and that both programs look there."""

from __future__ import annotations

import asyncio
from typing import NoReturn

import pytest

from gpu_provisioner import __main__ as provisioner
from gpu_provisioner import settings
from kube import apiaddress, config
from workspace_controller import __main__ as workspace
from workspace_controller.settings import process


@pytest.mark.parametrize(
    ("environment", "server"),
    [
        pytest.param(
            {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"},
            "https://10.96.0.1:443",
            id="address",
        ),
        pytest.param(
            {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "6443"},
            "https://[fd00::1]:6443",
            id="ipv6",
        ),
        pytest.param(
            {"KUBERNETES_SERVICE_HOST": "api.example", "KUBERNETES_SERVICE_PORT": "443"},
            "https://api.example:443",
            id="name",
        ),
        pytest.param(
            {"KUBERNETES_SERVICE_HOST": "10.96.0.1"}, "https://kubernetes.default.svc", id="half"
        ),
        pytest.param({}, "https://kubernetes.default.svc", id="no pod"),
    ],
)
def test_the_api_server_is_where_kubelet_says(environment: dict[str, str], server: str) -> None:
    """No DNS is needed: on the host's network the node's resolver does not know its name."""
    assert apiaddress.service_address(environment) == server


TOLD = {
    "CLOUD_PROVIDER": "kwok",
    "KUBERNETES_SERVICE_HOST": "10.96.0.1",
    "KUBERNETES_SERVICE_PORT": "443",
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that a program would connect to; there is no pod around it."""
    found: list[str] = []

    def load(kubeconfig: str | None, *, service: str = "") -> NoReturn:
        found.append(service)
        raise config.ConfigError("no pod")

    monkeypatch.setattr(config, "load", load)
    return found


def test_the_provisioner_looks_there(asked: list[str]) -> None:
    with pytest.raises(config.ConfigError):
        asyncio.run(provisioner.run(settings.from_environment(TOLD)))
    assert asked == ["https://10.96.0.1:443"]


def test_the_workspace_controller_looks_there(asked: list[str]) -> None:
    with pytest.raises(config.ConfigError):
        asyncio.run(workspace._serve(process(TOLD)))
    assert asked == ["https://10.96.0.1:443"]
