"""Metrics around a cloud."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from cloudproviders.errors import InsufficientCapacityError, NodeClaimNotFoundError
from cloudproviders.metered import MeteredProvider
from cloudproviders.nodeclass import READY, NodeClass
from cloudproviders.provider import CloudProvider, Instance
from kube.metrics import REGISTRY
from kube.objects import Node
from tests.fakes import objects
from tests.fakes.cloud import FakeCloud


def value(name: str, **labels: str) -> float:
    labels = {"controller": "test.metered", "provider": "fake", **labels}
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def test_calls_are_timed_and_refusals_counted_by_kind() -> None:
    cloud = FakeCloud()
    metered = MeteredProvider(cloud, "test.metered")
    cloud.refuses_next(InsufficientCapacityError(), TimeoutError())

    with pytest.raises(InsufficientCapacityError):
        await metered.create(objects.claim())
    with pytest.raises(TimeoutError):
        await metered.create(objects.claim())
    instance = await metered.create(objects.claim())

    seconds = "karpenter_cloudprovider_duration_seconds_count"
    errors = "karpenter_cloudprovider_errors_total"
    assert value(seconds, method="Create") == 3
    assert value(errors, method="Create", error="InsufficientCapacityError") == 1
    assert value(errors, method="Create", error="") == 1

    assert isinstance(instance, Instance)
    assert await metered.get(instance.provider_id) == instance
    assert await metered.list() == [instance]
    await metered.delete(objects.claim())
    with pytest.raises(NodeClaimNotFoundError):
        await metered.delete(objects.claim())
    assert value(errors, method="Delete", error="NodeClaimNotFoundError") == 1
    assert value(errors, method="List", error="") == 0


async def test_it_is_the_cloud_that_it_wraps() -> None:
    cloud = FakeCloud()
    metered = MeteredProvider(cloud, "test.metered")

    assert metered.name == "fake"
    assert metered.node_classes == cloud.node_classes
    assert metered.repair_policies == ()
    assert await metered.instance_types() == ()
    assert await metered.is_drifted(objects.claim()) == ""
    assert metered.node_class_resources == cloud.node_class_resources
    assert metered.registration_hooks == cloud.registration_hooks
    assert metered.claim_of(Node()) == cloud.claim_of(Node())
    assert metered.interrupted(Node(), datetime.now(UTC)) is None
    assert [notice async for notice in metered.interruptions()] == []
    assert await metered.resolve(NodeClass()) == READY
    await metered.close()


def test_no_verb_of_the_contract_is_missing() -> None:
    verbs = {name for name in dir(CloudProvider) if not name.startswith("_")}

    assert verbs <= set(dir(MeteredProvider))
