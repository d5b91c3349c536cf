"""What is set wrongly is told at the start, with what to do about it."""

from __future__ import annotations

from typing import cast

import pytest

import cloudproviders
from cloudproviders.errors import CloudConfigurationError
from cloudproviders.gcp.settings import from_settings
from kube.client import Client

NO_CLIENT = cast("Client", None)

LEAST = {"GCP_PROJECT": "my-project", "GCP_LOCATION": "us-central1", "GCP_CLUSTER_NAME": "llm"}


def test_three_variables_are_enough() -> None:
    found = from_settings(LEAST)

    assert found.parent == "projects/my-project/locations/us-central1/clusters/llm"
    assert (found.image_type, found.gpu_driver) == ("COS_CONTAINERD", "DEFAULT")
    assert found.endpoint == "https://container.googleapis.com"


def test_everything_that_can_be_set() -> None:
    found = from_settings(
        {
            **LEAST,
            "GCP_ZONES": "us-central1-a, us-central1-c",
            "GCP_SERVICE_ACCOUNT": "nodes@my-project.iam.gserviceaccount.com",
            "GCP_GPU_DRIVER": "Latest",
            "GCP_IMAGE": "ubuntu",
            "GCP_DISK_TYPE": "pd-ssd",
            "GCP_NETWORK_TAGS": "gpu,llm",
            "GCP_RESERVATIONS": "mine",
            "GCP_FLEX_START": "true",
            "GCP_MAX_RUN_SECONDS": "3600",
            "GCP_CONCURRENT_OPERATIONS": "20",
            "GCP_PROVISIONING_TIMEOUT": "300",
            "GCP_COMPUTE": "false",
            "GCP_ENDPOINT": "http://127.0.0.1:8080/",
            "GCP_TOKEN_FILE": "/token",
        }
    )

    assert found.zones == ("us-central1-a", "us-central1-c")
    assert (found.gpu_driver, found.image_type) == ("LATEST", "UBUNTU_CONTAINERD")
    assert found.network_tags == ("gpu", "llm")
    assert (found.flex_start, found.max_run_duration) == (True, 3600)
    assert (found.concurrent_operations, found.provisioning_timeout) == (20, 300.0)
    assert (found.compute, found.endpoint) == (False, "http://127.0.0.1:8080")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"GCP_PROJECT": ""}, "GCP_PROJECT"),
        ({"GCP_PROJECT": "My Project"}, "GCP_PROJECT is not a project id"),
        ({"GCP_LOCATION": "here"}, "GCP_LOCATION is neither a region"),
        ({"GCP_ZONES": "europe-west4-a"}, "'europe-west4-a' is no zone of us-central1"),
        ({"GCP_ZONES": "us-central1"}, "is no zone of us-central1"),
        ({"GCP_GPU_DRIVER": "newest"}, "not one of default, latest, disabled"),
        ({"GCP_IMAGE": "windows"}, "not one of cos, ubuntu"),
        ({"GCP_FLEX_START": "yes"}, "GCP_FLEX_START must be true or false"),
        ({"GCP_MAX_RUN_SECONDS": "1h"}, "GCP_MAX_RUN_SECONDS must be a number"),
        ({"GCP_PROVISIONING_TIMEOUT": "-1"}, "must be a number of at least 0"),
        ({"GCP_ENDPOINT": "127.0.0.1:8080"}, "GCP_ENDPOINT is no http or https address"),
    ],
)
def test_what_cannot_work_is_named(given: dict[str, str], told: str) -> None:
    with pytest.raises(CloudConfigurationError, match=told):
        from_settings({**LEAST, **given})


def test_a_zonal_cluster_has_zones_of_its_region() -> None:
    found = from_settings({**LEAST, "GCP_LOCATION": "us-central1-a", "GCP_ZONES": "us-central1-b"})

    assert found.zones == ("us-central1-b",)


async def test_the_cloud_is_loaded_by_its_name_and_asks_nobody_yet() -> None:
    provider = cloudproviders.load("gcp", LEAST, NO_CLIENT)

    assert provider.name == "gcp"
    assert [kind.kind for kind in provider.node_classes] == ["GCENodeClass", "KaitoNodeClass"]
    await provider.close()
    with pytest.raises(CloudConfigurationError, match="GCP_PROJECT and GCP_LOCATION"):
        cloudproviders.load("gcp", {"GCP_CLUSTER_NAME": "llm"}, NO_CLIENT)
