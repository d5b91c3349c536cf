"""Admission: completed, judged, and let go at the end."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import pytest

from kube.admission import AdmissionRequest
from kube.meta import Manifest
from kube.objects import ConfigMap
from kube.store import Store
from tests.builders import a_config, a_gpu_node, a_workspace_manifest, settings
from workspace_controller.webhooks import Admission


class _ConfigMaps:
    """An API server that knows ConfigMaps, and nothing else; `asked` is what for."""

    def __init__(self, *found: ConfigMap) -> None:
        self._found = {(each.metadata.namespace, each.metadata.name): each for each in found}
        self.asked: list[str] = []

    async def get(self, resource: Any, name: str, namespace: str = "") -> ConfigMap | None:
        self.asked.append(f"{resource.kind} {name}")
        return self._found.get((namespace, name)) if resource.kind == "ConfigMap" else None


def admission(*config_maps: ConfigMap, byo: bool = False, nodes=()) -> Admission:
    store = Store()
    for node in nodes:
        store.put(node)
    return Admission(settings(byo=byo).facts, _ConfigMaps(*config_maps), store)


def request(manifest: Manifest, operation: str = "CREATE", **more: Any) -> AdmissionRequest:
    fields = {"uid": "1", "operation": operation, "namespace": "default", "name": "falcon"}
    return AdmissionRequest(**{**fields, "object": manifest, "old_object": {}, **more})


async def test_a_good_workspace():
    assert (await admission().validate(request(a_workspace_manifest()))).allowed


@pytest.mark.parametrize(
    ("given", "words"),
    [
        pytest.param({"preset": "smal-1b"}, 'did you mean "small-1b"', id="preset"),
        pytest.param({"instance_type": "local-gpu-7"}, "resource.instanceType", id="type"),
        pytest.param(
            {"preset": "large-70b", "instance_type": "local-cpu-2"}, "GiB", id="does not fit"
        ),
        pytest.param({"inference": {"config": "options"}}, "create it first", id="no ConfigMap"),
        pytest.param({"inference": {"prset": {}}}, "prset", id="a field that there is not"),
    ],
)
async def test_what_is_refused(given, words):
    verdict = await admission().validate(request(a_workspace_manifest(**given)))
    assert not verdict.allowed
    assert words in verdict.message


async def test_a_config_map_that_was_made_a_moment_ago_is_found():
    manifest = a_workspace_manifest(inference={"config": "options"})
    assert (await admission(a_config()).validate(request(manifest))).allowed


async def test_a_manifest_of_any_shape_gets_an_answer():
    for broken in ({"inference": "x"}, {"inference": {"config": 7}}, {"resource": []}):
        verdict = await admission().validate(request({**a_workspace_manifest(), **broken}))
        assert not verdict.allowed


async def test_what_may_not_change():
    old = a_workspace_manifest()
    new = a_workspace_manifest(preset="large-70b")
    verdict = await admission().validate(request(new, "UPDATE", old_object=old))
    assert not verdict.allowed
    assert "inference.preset" in verdict.message


async def test_our_own_writes_pass_even_where_the_object_has_become_invalid():
    old = a_workspace_manifest(preset="gone-from-the-catalogue")
    new = a_workspace_manifest(preset="gone-from-the-catalogue", annotations={"a": "b"})
    assert (await admission().validate(request(new, "UPDATE", old_object=old))).allowed


async def test_an_object_on_its_way_out_is_let_go():
    old, going = a_workspace_manifest(), a_workspace_manifest(preset="unheard-of")
    assert not (await admission().validate(request(going, "UPDATE", old_object=old))).allowed
    going["metadata"]["deletionTimestamp"] = "2026-11-21T12:00:00Z"
    assert (await admission().validate(request(going, "UPDATE", old_object=old))).allowed


async def test_status_is_the_controllers_own():
    verdict = await admission().validate(request({}, "UPDATE", subresource="status"))
    assert verdict.allowed


async def test_nodes_of_ones_own_must_be_there_and_alike():
    manifest = a_workspace_manifest(instance_type="")
    del manifest["resource"]["instanceType"]
    none = await admission(byo=True).validate(request(manifest))
    one = await admission(byo=True, nodes=[a_gpu_node()]).validate(request(manifest))
    two = await admission(
        byo=True, nodes=[a_gpu_node("a"), a_gpu_node("b", product="NVIDIA-H100")]
    ).validate(request(manifest))
    assert (none.allowed, one.allowed, two.allowed) == (False, True, False)


async def test_the_early_form_is_lifted():
    early = a_workspace_manifest()
    early["spec"] = {"resource": early.pop("resource"), "inference": early.pop("inference")}
    verdict = await admission().default(request(early))
    assert {(each["op"], each["path"]) for each in verdict.patch} == {
        ("remove", "/spec"),
        ("add", "/resource"),
        ("add", "/inference"),
    }


async def test_the_early_form_may_be_applied_again_over_what_was_stored():
    stored = a_workspace_manifest()
    body = {name: stored[name] for name in ("resource", "inference")}
    again = request({**stored, "spec": body}, "UPDATE", old_object=stored)
    lifted = await admission().default(again)
    assert {"op": "remove", "path": "/spec"} in lifted.patch


async def test_only_what_a_rule_looks_at_is_asked_of_the_api_server():
    """Our own writes pass through here too: finalizer, annotations."""
    server = _ConfigMaps(a_config(), a_config(name="other"))
    judge = Admission(settings().facts, server, Store())
    plain, named = a_workspace_manifest(), a_workspace_manifest(inference={"config": "options"})
    other = a_workspace_manifest(inference={"config": "other"})
    assert (await judge.validate(request(plain))).allowed
    assert (await judge.validate(request(named, "UPDATE", old_object=named))).allowed
    assert server.asked == []
    assert (await judge.validate(request(named))).allowed
    assert (await judge.validate(request(other, "UPDATE", old_object=named))).allowed
    assert server.asked == ["ConfigMap options", "ConfigMap other"]


async def test_a_config_map_of_training_arguments_is_found():
    """W-C28."""
    text = "training_config:\n  LoraConfig: {r: 8}\n"
    found = a_config(name="lora")
    found = msgspec.structs.replace(found, data={"training_config.yaml": text})
    manifest = a_workspace_manifest()
    manifest["tuning"] = {
        **manifest.pop("inference"),
        "method": "lora",
        "config": "lora",
        "input": {"urls": ["https://example.com/data.parquet"]},
        "output": {"volumeSource": {"emptyDir": {}}},
    }
    assert (await admission(found).validate(request(manifest))).allowed
    verdict = await admission().validate(request(manifest))
    assert "tuning.config: there is no ConfigMap" in verdict.message


async def test_streaming_needs_the_driver_of_the_cluster():
    """W-C24."""
    server = _ConfigMaps()
    facts = dataclasses.replace(settings(gates={"ModelStreaming": True}).facts, cloud="azure")
    verdict = await Admission(facts, server, Store()).validate(request(a_workspace_manifest()))
    assert "CSIDriver blob.csi.azure.com is not installed" in verdict.message
    assert server.asked == ["CSIDriver blob.csi.azure.com"]


async def test_what_has_no_effect_is_warned_of():
    manifest = a_workspace_manifest()
    manifest["resource"]["count"] = 3
    verdict = await admission().validate(request(manifest))
    assert verdict.allowed
    (said,) = verdict.warnings
    assert said.startswith('resource.count: 3 is not looked at: preset "small-1b" with 2.0 GiB')
    assert "on 1 node of local-gpu-1" in said


def an_engine(**guardrails: Any) -> Manifest:
    asked: Manifest = {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "RAGEngine",
        "metadata": {"name": "rag", "namespace": "default"},
        "spec": {"embedding": {"local": {"modelID": "BAAI/bge-small-en-v1.5"}}},
    }
    if guardrails:
        asked["spec"]["guardrails"] = guardrails
    return asked


async def test_a_ragengine_is_completed_and_judged():
    flat = an_engine()
    flat["spec"]["storage"] = {"persistentVolumeClaim": "indexes"}
    completed = await admission().default(request(flat))
    assert [each["path"] for each in completed.patch] == ["/spec/storage/persistentVolume"]
    verdict = await admission().validate(request(an_engine(enabled="yes")))
    assert verdict.message.startswith("spec.guardrails.enabled: must be a boolean")


async def test_a_policy_is_asked_for_where_it_is_looked_at():
    """R-6."""
    policy = msgspec.structs.replace(
        a_config(name="policy"), data={"guardrails.yaml": "scanners: [{type: secrets}]"}
    )
    server = _ConfigMaps(policy)
    judge = Admission(settings().facts, server, Store())
    named = {"configMapRef": {"name": "policy"}}
    on, off = an_engine(enabled=True, **named), an_engine(enabled=False, **named)
    for new, old in ((off, {}), (on, on), (off, on), (an_engine(enabled=True), {})):
        operation = "UPDATE" if old else "CREATE"
        assert (await judge.validate(request(new, operation, old_object=old))).allowed
    assert server.asked == []
    assert (await judge.validate(request(on))).allowed
    assert (await judge.validate(request(on, "UPDATE", old_object=off))).allowed
    assert server.asked == ["ConfigMap policy", "ConfigMap policy"]
    verdict = await admission().validate(request(on))
    assert 'there is no ConfigMap "policy" in namespace "default"' in verdict.message


async def test_settings_are_asked_for_where_they_are_named():
    """rag settings"""
    chosen = msgspec.structs.replace(a_config(name="settings"), data={"RAG_LANGUAGE": "klingon"})
    named, plain = an_engine(), an_engine()
    named["metadata"]["annotations"] = {"kaito.sh/rag-settings": "settings"}
    verdict = await admission(chosen).validate(request(named, "UPDATE", old_object=plain))
    assert 'key RAG_LANGUAGE of ConfigMap "settings"' in verdict.message
    verdict = await admission().validate(request(named))
    assert 'there is no ConfigMap "settings" in namespace "default"' in verdict.message
    assert (await admission().validate(request(named, "UPDATE", old_object=named))).allowed


async def test_what_a_change_of_a_ragengine_brings_about_is_told_once():
    old, new = an_engine(), an_engine()
    new["spec"]["embedding"]["local"]["modelID"] = "BAAI/bge-m3"
    verdict = await admission().validate(request(new, "UPDATE", old_object=old))
    (said,) = verdict.warnings
    assert said.startswith("spec.embedding: comes from elsewhere")
    again = await admission().validate(request(new, "UPDATE", old_object=new))
    assert again.warnings == ()


async def test_a_ragengine_on_its_way_out_is_let_go():
    going = an_engine(enabled=True, configMapRef={"name": "gone"})
    del going["spec"]["embedding"]
    going["metadata"]["deletionTimestamp"] = "2026-11-21T12:00:00Z"
    verdict = await admission().validate(request(going, "UPDATE", old_object=an_engine()))
    assert verdict.allowed
    assert (await admission().validate(request({}, "UPDATE", subresource="status"))).allowed
