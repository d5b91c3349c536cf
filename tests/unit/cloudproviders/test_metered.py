"""Metrics around a cloud."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
import pytest

from cloudproviders.errors import InsufficientCapacityError, NodeClaimNotFoundError
from cloudproviders.metered import MeteredProvider
from cloudproviders.nodeclass import READY, NodeClass
from cloudproviders.provider import CloudProvider, Instance
from kube import log, origin, tracing
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


async def test_each_call_is_a_line_with_the_id_that_the_claim_came_with(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Wherever it is made from; so are the provider's own lines."""
    token = origin._names.set(origin.Annotations(reconcile_id="kaito.sh/reconcile-id"))
    told: list[dict[str, object]] = []

    class Taking(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.append(json.loads(log.JsonFormatter().format(record)))

    taking = Taking()
    logger = logging.getLogger("cloudproviders")
    logger.addHandler(taking)
    cloud = FakeCloud()
    cloud.refuses_next(InsufficientCapacityError("no A100 left"))
    claim = objects.claim()
    metadata = msgspec.structs.replace(
        claim.metadata, annotations={"kaito.sh/reconcile-id": "id-of-the-round"}
    )
    try:
        with caplog.at_level("DEBUG", "cloudproviders"), pytest.raises(InsufficientCapacityError):
            await MeteredProvider(cloud, "test.metered").create(
                claim.model_copy(update={"metadata": metadata})
            )
    finally:
        logger.removeHandler(taking)
        origin._names.reset(token)
    (line,) = told
    assert (line["level"], line["method"]) == ("DEBUG", "Create")
    assert (line["nodeclaim"], line["result"]) == (claim.metadata.name, "InsufficientCapacityError")
    assert line["originReconcileID"] == "id-of-the-round"
    assert isinstance(line["seconds"], float)


async def test_a_call_is_a_span_and_what_is_gone_is_no_failure() -> None:
    spans: list[tracing.Span] = []

    class Kept:
        def export(self, found: Sequence[tracing.Span], /) -> None:
            spans.extend(found)

    token = tracing._tracer.set(None)
    tracing.export_to(Kept())
    metered = MeteredProvider(FakeCloud(), "test.metered")
    try:
        with tracing.reconcile("nodeclaim.lifecycle"):
            await metered.list()
            with pytest.raises(NodeClaimNotFoundError):
                await metered.delete(objects.claim())
        with tracing.reconcile("nodeclaim.garbagecollection"):
            await metered.list()
    finally:
        tracing._tracer.reset(token)
    names = ["cloud List", "cloud Delete", "reconcile nodeclaim.lifecycle"]
    assert [span.name for span in spans] == names
    assert spans[1].attributes["error.type"] == "NodeClaimNotFoundError"
    assert not spans[1].error
