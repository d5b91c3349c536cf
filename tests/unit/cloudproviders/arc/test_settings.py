"""What the operator says of a cluster on Azure Local."""

from __future__ import annotations

from typing import cast

import pytest

from cloudproviders.arc.provider import build
from cloudproviders.arc.settings import parse
from cloudproviders.errors import CloudConfigurationError
from kube.client import Client

GROUP = "/subscriptions/sub/resourceGroups/site/providers"
GOOD = {
    "ARC_CLUSTER_ID": f"{GROUP}/Microsoft.Kubernetes/connectedClusters/edge",
    "ARC_CUSTOM_LOCATION_ID": f"{GROUP}/Microsoft.ExtendedLocation/customLocations/plant",
    "ARC_TENANT_ID": "tenant",
    "ARC_CLIENT_ID": "client",
    "ARC_CLIENT_SECRET": "hidden",
}


def test_what_is_given_is_taken() -> None:
    settings = parse({**GOOD, "ARC_TAGS": "team=ml", "ARC_POOL_LIMIT": "8"})

    assert (settings.cluster, settings.arm.subscription) == ("edge", "sub")
    assert settings.arm.identity.auth == "service-principal"
    assert settings.arm.tags == {"team": "ml"}
    assert settings.pool_limit == 8
    assert "hidden" not in repr(settings)


def test_workload_identity_is_as_the_webhook_says() -> None:
    ids = {name: GOOD[name] for name in ("ARC_CLUSTER_ID", "ARC_CUSTOM_LOCATION_ID")}
    webhooks = {
        "AZURE_TENANT_ID": "tenant",
        "AZURE_CLIENT_ID": "client",
        "AZURE_FEDERATED_TOKEN_FILE": "/token",
        "AZURE_AUTHORITY_HOST": "https://login",
        "AZURE_TAGS": "not=ours",
    }

    settings = parse({**ids, **webhooks})

    assert settings.arm.identity.auth == "workload-identity"
    assert settings.arm.identity.token_file == "/token"
    assert settings.arm.tags == {}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        pytest.param({"ARC_CLUSTER_ID": ""}, "ARC_CLUSTER_ID is not set", id="no cluster"),
        pytest.param({"ARC_CLUSTER_ID": "edge"}, "az connectedk8s show", id="a name alone"),
        pytest.param({"ARC_CUSTOM_LOCATION_ID": ""}, "ARC_CUSTOM_LOCATION_ID", id="no site"),
        pytest.param({"ARC_POOL_LIMIT": "many"}, "ARC_POOL_LIMIT", id="no count"),
        pytest.param({"ARC_AUTH": "magic"}, "ARC_AUTH", id="no such identity"),
        pytest.param({"ARC_CLIENT_SECRET": ""}, "ARC_FEDERATED_TOKEN_FILE", id="no token file"),
        pytest.param(
            {"ARC_RESOURCE_MANAGER_URL": "http://arm"}, "ARC_RESOURCE_MANAGER_URL", id="no TLS"
        ),
        pytest.param({"ARC_CA_FILE": "/nowhere"}, "ARC_CA_FILE", id="no authorities"),
    ],
)
def test_what_cannot_work_is_named(given: dict[str, str], told: str) -> None:
    with pytest.raises(CloudConfigurationError, match=told):
        build({**GOOD, **given}, cast("Client", None))
