"""RAGEngine on a real API server: its CRD alone, and with the webhooks, in both versions."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from refused_alone import here, located, said, update
from webhooks_at_work import webhooks
from workspace_cluster import Cluster
from workspace_crd import altered, unruled

from apis.kaito import admission
from apis.kaito.v1alpha1.ragengine import RAG_ENGINES_V1ALPHA1
from apis.kaito.v1beta1.ragengine import RAG_ENGINES
from kube import config
from kube.client import Client
from kube.errors import InvalidError
from kube.meta import Manifest, Resource
from kube.store import Store
from tests import old_manifests, ragengine_refusals
from tests.ragengine_refusals import ASKING
from tests.refusals import FACTS, Refusal, changed
from workspace_controller.webhooks import Admission

_TYPED = changed(ASKING, {"spec.compute.instanceType": "Standard_NC24ads_A100_v4"})


class _Whole(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What our models would complete is shown as it is stored."""

    api_version: str
    kind: str
    metadata: dict[str, Any]
    spec: dict[str, Any] = {}
    status: dict[str, Any] = {}


@pytest.fixture
async def user(installed: Path) -> AsyncIterator[Client]:
    """A user's hands, in both versions."""
    endpoint = config.kubeconfig(str(installed))
    kinds = (RAG_ENGINES, RAG_ENGINES_V1ALPHA1)
    async with Client(endpoint, field_manager="kubectl", kinds=kinds) as client:
        yield client


@pytest.fixture(params=["nodeclaim", "byo"])
async def provisioner(
    request: pytest.FixtureRequest, cluster: Cluster, user: Client
) -> AsyncIterator[str]:
    """An installation with webhooks as that provisioner has them."""
    judge = Admission(old_manifests.facts(request.param), cluster.client, Store())
    async with webhooks(cluster, judge, "ragengines", lambda: _is_asked(cluster, user)):
        yield request.param


@pytest.fixture
async def judged(cluster: Cluster, user: Client) -> AsyncIterator[None]:
    judge = Admission(old_manifests.facts("nodeclaim"), cluster.client, Store())
    async with webhooks(cluster, judge, "ragengines", lambda: _is_asked(cluster, user)):
        yield


@pytest.mark.parametrize("case", ragengine_refusals.REFUSALS, ids=lambda case: case.id)
async def test_the_api_server_refuses_it_alone(cluster: Cluster, user: Client, case: Refusal):
    if case.old is None:
        found = await said(user.create(here(cluster, case.new)))
    else:
        await user.create(here(cluster, case.old))
        found = await said(update(cluster, RAG_ENGINES, case.old, case.new))
    expected = admission.refusals(case.new, FACTS, case.old)
    assert sorted(found) == sorted((located(each.path), each.message) for each in expected)


async def test_what_has_become_invalid_can_be_reported_on_and_go(
    cluster: Cluster, user: Client, installed: Path
):
    """R-1 to R-6: upstream asks them again at each write, that of the finalizer included."""
    seen = lambda: _anything_goes(cluster, user)  # noqa: E731
    async with altered(installed, unruled, seen, "ragengines"):
        await user.create(here(cluster, INVALID))

    async def patch(fields: Manifest, subresource: str = "") -> None:
        await user.patch(
            RAG_ENGINES, "1.rag", fields, namespace=cluster.namespace, subresource=subresource
        )

    await patch({"status": {"state": "NotReady"}}, "status")
    await patch({"metadata": {"finalizers": ["kaito.sh/test"], "annotations": {"a": "b"}}})
    await patch({"spec": {"queryServiceName": "other"}})
    old = Resource("kaito.sh", "v1alpha1", "RAGEngine", "ragengines", _Whole)
    await user.patch(
        old, "1.rag", {"metadata": {"labels": {"a": "b"}}}, namespace=cluster.namespace
    )
    await user.delete(RAG_ENGINES, "1.rag", namespace=cluster.namespace)
    await patch({"metadata": {"finalizers": None}})
    assert await user.get(RAG_ENGINES, "1.rag", cluster.namespace) is None


INVALID = changed(
    ASKING,
    {
        "metadata.name": "1.rag",
        "spec.compute.partition": {"mode": "mig", "count": 2},
        "spec.compute.labelSelector.matchExpressions": [{"key": "a", "operator": "Exists"}],
        "spec.embedding": {"local": {}, "remote": {"url": "", "accessSecret": "A"}},
        "spec.inferenceService": {"accessSecret": "A", "contextWindowSize": 0},
        "spec.storage.persistentVolume": {"persistentVolumeClaim": "", "mountPath": "/"},
        "spec.storage.vectorDB": {"engine": "milvus", "url": ""},
        "spec.guardrails": {"enabled": True, "configMapRef": {"name": ""}},
    },
)
"""As an API server without our rules has stored it; without the URL that v1alpha1 requires."""


async def test_they_are_applied_unchanged(cluster: Cluster, user: Client, provisioner: str):
    files = [each for each in old_manifests.ragengines() if _for(each, provisioner)]
    assert files
    for file in files:
        for manifest in old_manifests.objects(file):
            given = here(cluster, manifest)
            await user.apply(given)
            await user.apply(given)
            if given["kind"] == "RAGEngine":
                stored = await _stored(cluster, given["metadata"]["name"])
                assert _within(given["spec"], stored["spec"]), file


async def test_what_cannot_work_is_refused_in_words(
    cluster: Cluster, user: Client, provisioner: str
):
    files = [each for each in old_manifests.refused_ragengines() if _for(each, provisioner)]
    for file in files:
        (manifest,) = old_manifests.objects(file)
        with pytest.raises(InvalidError) as refused:
            await user.create(here(cluster, manifest))
        field, _, words = old_manifests.words(file).partition(": ")
        assert field in refused.value.message, file
        assert words in refused.value.message, file


@pytest.mark.usefixtures("judged")
async def test_a_flat_volume_is_stored_in_both_forms_and_read_in_both_versions(
    cluster: Cluster, user: Client
):
    """Upstream drops it, and the indexes end with the pod."""
    flat = {"persistentVolumeClaim": "indexes", "mountPath": "/mnt/x"}
    await user.create(_old(cluster, flat))
    for old in (True, False):
        stored = await _stored(cluster, "rag", old=old)
        assert stored["spec"]["storage"] == {**flat, "persistentVolume": flat}

    await _patch(cluster, user, {"persistentVolumeClaim": "other"}, old=True)
    other = {**flat, "persistentVolumeClaim": "other"}
    assert await _storage(cluster) == {**other, "persistentVolume": other}

    await _patch(cluster, user, {"persistentVolume": {"mountPath": "/mnt/y"}})
    moved = {**other, "mountPath": "/mnt/y"}
    assert await _storage(cluster) == {**moved, "persistentVolume": moved}

    await _patch(cluster, user, {"persistentVolume": None}, old=True)
    assert await _storage(cluster) == {**moved, "persistentVolume": moved}
    await _patch(cluster, user, {"persistentVolume": None})
    assert await _storage(cluster) == {}


@pytest.mark.usefixtures("judged")
async def test_a_flat_volume_that_is_applied_changes_and_goes(cluster: Cluster, user: Client):
    """By server-side apply, where what the webhook wrote belongs to nobody who applies."""
    for claim in ("one", "two"):
        flat = {"persistentVolumeClaim": claim}
        await user.apply(_old(cluster, flat))
        assert await _storage(cluster) == {**flat, "persistentVolume": flat}
    without = _old(cluster, {})
    del without["spec"]["storage"]
    await user.apply(without)
    assert "storage" not in (await _stored(cluster, "rag"))["spec"] or not await _storage(cluster)


@pytest.mark.usefixtures("judged")
async def test_the_old_version_takes_nothing_away(cluster: Cluster, user: Client):
    """Read as v1alpha1, written back as it was read: upstream's loses what that version lacks."""
    await user.create(here(cluster, WHOLE))
    before = await _stored(cluster, "rag")
    assert _within(WHOLE["spec"], before["spec"])
    shown = await _stored(cluster, "rag", old=True)
    assert shown["apiVersion"] == "kaito.sh/v1alpha1"
    assert shown["spec"] == before["spec"]
    del shown["metadata"]["managedFields"]
    shown["metadata"]["annotations"] = {"written": "in the old version"}
    await user.patch(RAG_ENGINES_V1ALPHA1, "rag", shown, namespace=cluster.namespace)
    after = await _stored(cluster, "rag")
    assert after["metadata"]["annotations"] == {"written": "in the old version"}
    assert after["spec"] == before["spec"]


WHOLE = changed(
    _TYPED,
    {
        "spec.storage.vectorDB": {
            "engine": "qdrant",
            "url": "http://qdrant:6333",
            "accessSecret": "key",
        },
        "spec.embedding.local.modelAccessSecret": "token",
        "spec.guardrails": {"enabled": False, "configMapRef": {"name": "policy"}},
        "spec.queryServiceName": "query",
        "spec.indexServiceName": "index",
    },
)


async def test_v1alpha1_requires_a_url_of_what_is_written_there(cluster: Cluster, user: Client):
    retrieval = copy.deepcopy(_TYPED)
    del retrieval["spec"]["inferenceService"]["url"]
    await user.create(here(cluster, retrieval))
    old = {**here(cluster, retrieval), "apiVersion": "kaito.sh/v1alpha1"}
    old["metadata"] = {**old["metadata"], "name": "old"}
    found = await said(user.create(old))
    assert ("spec.inferenceService.url", "Required value") in found
    await user.patch(
        RAG_ENGINES_V1ALPHA1,
        "rag",
        {"metadata": {"labels": {"a": "b"}}},
        namespace=cluster.namespace,
    )


async def _is_asked(cluster: Cluster, user: Client) -> bool:
    """Whether the API server knows of both: a volume is copied, and a URL refused."""
    flat = {"persistentVolumeClaim": "indexes"}
    probe = _old(cluster, flat)
    probe["metadata"]["name"] = "probe"
    del probe["spec"]["compute"]
    bad = changed(probe, {"spec.inferenceService.url": "http://169.254.169.254/v1"})
    stored = await user.create(probe, dry_run=True)
    try:
        await user.create(bad, dry_run=True)
    except InvalidError as error:
        return "their secrets" in error.message and "persistentVolume" in stored["spec"]["storage"]
    return False


async def _anything_goes(cluster: Cluster, user: Client) -> bool:
    probe = here(cluster, changed(ASKING, {"spec.embedding": {}}))
    probe["metadata"]["name"] = "probe"
    try:
        await user.create(probe, dry_run=True)
    except InvalidError:
        return False
    return True


def _for(file: Path, provisioner: str) -> bool:
    return old_manifests.provisioner(file) == provisioner


def _old(cluster: Cluster, storage: Manifest) -> Manifest:
    spec = {**copy.deepcopy(_TYPED["spec"]), "storage": storage}
    return {**here(cluster, ASKING), "apiVersion": "kaito.sh/v1alpha1", "spec": spec}


async def _patch(cluster: Cluster, user: Client, storage: Manifest, *, old: bool = False) -> None:
    resource = RAG_ENGINES_V1ALPHA1 if old else RAG_ENGINES
    fields = {"spec": {"storage": storage}}
    await user.patch(resource, "rag", fields, namespace=cluster.namespace)


async def _storage(cluster: Cluster) -> Any:
    return (await _stored(cluster, "rag"))["spec"]["storage"]


async def _stored(cluster: Cluster, name: str, *, old: bool = False) -> Manifest:
    """The whole object as the API server has it, in either version."""
    version = "v1alpha1" if old else "v1beta1"
    resource = Resource("kaito.sh", version, "RAGEngine", "ragengines", _Whole)
    found = await cluster.client.get(resource, name, cluster.namespace)
    assert found is not None
    whole: Manifest = msgspec.to_builtins(found)
    return {key: value for key, value in whole.items() if value}


def _within(wanted: Any, found: Any) -> bool:
    if isinstance(wanted, dict) and isinstance(found, dict):
        return all(key in found and _within(wanted[key], found[key]) for key in wanted)
    return bool(wanted == found)
