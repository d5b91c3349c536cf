"""What the operator may say of an AKS cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloudproviders.azure import settings
from cloudproviders.errors import CloudConfigurationError

CLUSTER = {
    "AZURE_SUBSCRIPTION_ID": "s",
    "AZURE_RESOURCE_GROUP": "g",
    "AZURE_CLUSTER_NAME": "c",
    "AZURE_LOCATION": "East US",
}
SECRET = {"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "i", "AZURE_CLIENT_SECRET": "hush"}
WORKLOAD = {
    "AZURE_TENANT_ID": "t",
    "AZURE_CLIENT_ID": "i",
    "AZURE_FEDERATED_TOKEN_FILE": "/var/run/token",
}


def test_a_cluster_with_workload_identity_is_enough() -> None:
    found = settings.parse({**CLUSTER, **WORKLOAD})

    assert found.identity.auth == "workload-identity"
    assert found.location == "eastus"
    assert found.cloud == "AZURE_PUBLIC_CLOUD"
    assert not found.initialization_taints


@pytest.mark.parametrize(
    ("given", "auth"),
    [
        ({**WORKLOAD}, "workload-identity"),
        ({**SECRET}, "service-principal"),
        ({**WORKLOAD, "AZURE_AUTH": "Managed-Identity"}, "managed-identity"),
        ({"AZURE_AUTH": "cli"}, "cli"),
    ],
)
def test_whom_to_be(given: dict[str, str], auth: str) -> None:
    assert settings.parse({**CLUSTER, **given}).identity.auth == auth


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"AZURE_LOCATION": ""}, "AZURE_LOCATION"),
        ({"AZURE_AUTH": "service-principal", "AZURE_CLIENT_SECRET": ""}, "AZURE_CLIENT_SECRET"),
        ({"AZURE_AUTH": "workload-identity"}, "AZURE_FEDERATED_TOKEN_FILE"),
        ({"AZURE_AUTH": "password"}, "AZURE_AUTH is 'password'; one of: workload-identity"),
        ({"AZURE_CLOUD": "germany"}, "AZURE_CLOUD"),
        ({"AZURE_ZONES": "eastus-1"}, "AZURE_ZONES"),
        ({"AZURE_TAGS": "team"}, "AZURE_TAGS"),
        ({"AZURE_MAX_AGENT_POOLS": "many"}, "AZURE_MAX_AGENT_POOLS"),
        ({"AZURE_OS_DISK_TYPE": "floppy"}, "AZURE_OS_DISK_TYPE"),
        ({"AZURE_RESOURCE_MANAGER_URL": "http://x"}, "https only"),
        ({"AZURE_CA_FILE": "/no/such/file"}, "AZURE_CA_FILE"),
    ],
)
def test_what_cannot_work_is_named(given: dict[str, str], named: str) -> None:
    with pytest.raises(CloudConfigurationError, match=named):
        settings.parse({**CLUSTER, **SECRET, **given})


def test_the_secret_is_not_shown() -> None:
    assert "hush" not in repr(settings.parse({**CLUSTER, **SECRET}))


def test_lists_and_previews(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").touch()
    found = settings.parse(
        {
            **CLUSTER,
            **SECRET,
            "AZURE_ZONES": "1, 3",
            "AZURE_TAGS": "team=ml, cost=42",
            "AZURE_CAPACITY_RESERVATIONS": "Standard_X=/groups/x",
            "AZURE_API_VERSION": "2026-07-02-preview",
            "AZURE_CLOUD": "USGovernment",
            "AZURE_CA_FILE": str(tmp_path / "ca.pem"),
        }
    )

    assert found.zones == ("1", "3")
    assert found.tags == {"team": "ml", "cost": "42"}
    assert found.reservations == {"Standard_X": "/groups/x"}
    assert found.initialization_taints
    assert found.cloud == "AZURE_US_GOVERNMENT"


def test_the_go_provisioners_names_are_good_too() -> None:
    given = {
        "ARM_SUBSCRIPTION_ID": "s",
        "ARM_RESOURCE_GROUP": "g",
        "AZURE_CLUSTER_NAME": "c",
        "LOCATION": "eastus",
    }

    found = settings.parse({**given, **WORKLOAD})

    assert (found.subscription, found.resource_group, found.location) == ("s", "g", "eastus")
