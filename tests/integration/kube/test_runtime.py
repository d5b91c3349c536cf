"""The Kubernetes runtime against the real API server: what only that can refuse or confirm."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from kube import config
from kube.apply import needs_apply, with_applied_hash
from kube.client import Client
from kube.errors import AlreadyExistsError, ConflictError, InvalidError
from kube.events import Recorder
from kube.informer import Informer
from kube.lease import Lease
from kube.meta import Manifest, ObjectMeta
from kube.objects import CONFIG_MAPS, EVENTS, LEASES, SERVICES, STATEFUL_SETS, ConfigMap

pytestmark = pytest.mark.integration
NAMESPACE = "default"


@pytest.fixture
async def client(kubeconfig: Path) -> AsyncIterator[Client]:
    async with Client(config.load(str(kubeconfig)), field_manager="runtime-test") as client:
        yield client


def a_config_map(name: str, **data: str) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"suite": "runtime"}},
        "data": data,
    }


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not holds():
            await asyncio.sleep(0.01)


async def test_create_patch_delete(client: Client) -> None:
    created = await client.create(a_config_map("verbs", a="1"))
    with pytest.raises(AlreadyExistsError):
        await client.create(a_config_map("verbs"))
    patch: Manifest = {"data": {"a": None, "b": "2"}}
    changed = await client.patch(CONFIG_MAPS, "verbs", patch, namespace=NAMESPACE)
    assert changed.data == {"b": "2"}
    locked = {"metadata": {"resourceVersion": created["metadata"]["resourceVersion"]}}
    with pytest.raises(ConflictError):
        await client.patch(
            CONFIG_MAPS, "verbs", {**locked, "data": {"c": "3"}}, namespace=NAMESPACE
        )
    await client.delete(CONFIG_MAPS, "verbs", namespace=NAMESPACE, uid="of-another")
    assert await client.get(CONFIG_MAPS, "verbs", NAMESPACE) is not None
    await client.delete(CONFIG_MAPS, "verbs", namespace=NAMESPACE, uid=created["metadata"]["uid"])
    assert await client.get(CONFIG_MAPS, "verbs", NAMESPACE) is None
    await client.delete(CONFIG_MAPS, "verbs", namespace=NAMESPACE)


async def test_what_is_wrong_is_invalid(client: Client) -> None:
    with pytest.raises(InvalidError) as refused:
        await client.create(a_config_map("Upper_Case"))
    assert refused.value.reason == "Invalid"


async def test_apply_owns_only_what_it_names(client: Client) -> None:
    await client.apply(a_config_map("owned", a="1", b="2"))
    await client.patch(CONFIG_MAPS, "owned", {"data": {"theirs": "x"}}, namespace=NAMESPACE)
    applied = await client.apply(a_config_map("owned", a="1"))
    assert applied["data"] == {"a": "1", "theirs": "x"}  # b was ours and is gone


async def test_what_was_applied_needs_no_apply(client: Client) -> None:
    """A defaulted and respelled StatefulSet is still what we meant."""
    labels = {"app": "same"}
    container = {
        "name": "main",
        "image": "example.com/serving:1",
        "ports": [{"containerPort": 5000}],
        "env": [{"name": "A", "value": "1"}],
        "resources": {"requests": {"cpu": "1000m", "memory": "1024Mi"}},
        "securityContext": {},
    }
    desired: Manifest = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "same", "namespace": NAMESPACE, "labels": labels},
        "spec": {
            "replicas": 0,
            "serviceName": "same",
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "containers": [container],
                    "hostNetwork": False,
                    "volumes": [{"name": "shm", "emptyDir": {"sizeLimit": "1024Mi"}}],
                },
            },
        },
    }
    stored = await client.apply(with_applied_hash(desired))
    assert not needs_apply(desired, stored)
    assert (await client.get(STATEFUL_SETS, "same", NAMESPACE)) is not None
    service: Manifest = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "same", "namespace": NAMESPACE},
        "spec": {"selector": labels, "ports": [{"name": "http", "port": 80, "targetPort": 5000}]},
    }
    stored = await client.apply(with_applied_hash(service))
    assert not needs_apply(service, stored)
    await client.delete(SERVICES, "same", namespace=NAMESPACE)


async def test_the_informer_pages_follows_and_survives(client: Client) -> None:
    for number in range(5):
        await client.apply(a_config_map(f"page-{number}"))
    informer: Informer[ConfigMap] = Informer(
        client, CONFIG_MAPS, namespace=NAMESPACE, labels="suite=runtime", page=2
    )
    task = asyncio.create_task(informer.run())
    try:
        await eventually(informer.synced.is_set)
        assert {f"page-{n}" for n in range(5)} <= {
            each.metadata.name for each in informer.store.list()
        }
        await client.patch(CONFIG_MAPS, "page-0", {"data": {"k": "v"}}, namespace=NAMESPACE)
        await client.delete(CONFIG_MAPS, "page-1", namespace=NAMESPACE)

        def seen() -> bool:
            changed = informer.store.get("page-0", NAMESPACE)
            gone = informer.store.get("page-1", NAMESPACE) is None
            return gone and changed is not None and changed.data == {"k": "v"}

        await eventually(seen)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_the_lease_passes_on(client: Client) -> None:
    one = Lease(client, "runtime-test", NAMESPACE, "one", retry=0.1)
    two = Lease(client, "runtime-test", NAMESPACE, "two", retry=0.1)
    await one.acquire()
    waiting = asyncio.create_task(two.acquire())
    await asyncio.sleep(0.3)
    assert not waiting.done()
    await one.release()
    async with asyncio.timeout(3):
        await waiting
    stored = await client.get(LEASES, "runtime-test", NAMESPACE)
    assert stored is not None
    assert (stored.spec.holder_identity, stored.spec.lease_transitions) == ("two", 1)


async def test_events_are_accepted_and_counted(client: Client) -> None:
    recorder = Recorder(client, "runtime-test")
    task = asyncio.create_task(recorder.run())
    about = ObjectMeta(name="spoken-of", namespace=NAMESPACE, uid="u")
    for _ in range(2):
        recorder.event(CONFIG_MAPS, about, "Warning", "Told", "twice")
        await recorder.flush()
    task.cancel()
    listing = await client.list(EVENTS, fields="involvedObject.name=spoken-of")
    assert len(listing.items) == 1
