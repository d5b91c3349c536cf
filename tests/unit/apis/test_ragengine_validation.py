"""Rules on RAGEngines that need facts, and what is remarked on."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest

from apis import container
from apis.gpu import GPU
from apis.kaito import admission, messages, ragmessages
from apis.kaito.validation import Facts
from kube.meta import Manifest
from kube.reviews import AdmissionRequest
from tests import refusals
from tests.ragengine_refusals import ASKING, database, embedding, engine, storage
from tests.refusals import _ABSENT, changed

FACTS = Facts(
    cloud="azure",
    preset_known=lambda _: False,
    instance_type=lambda name: GPU(1, "A100", 80) if name == "Standard_X" else None,
    instance_type_names=("Standard_X",),
    instance_type_prefixes=("Standard_N",),
)
KARPENTER = dataclasses.replace(FACTS, node_provisioner="karpenter", node_class_names=("image",))
ASKED = engine(compute__instanceType="Standard_X")


def said(new: Manifest, facts: Facts = FACTS, old: Manifest | None = None) -> list[str]:
    return [str(each) for each in admission.refusals(new, facts, old)]


def warned(new: Manifest, facts: Facts = FACTS, old: Manifest | None = None) -> list[str]:
    answer = admission.validate(
        AdmissionRequest(
            uid="u", operation="UPDATE" if old else "CREATE", object=new, old_object=old or {}
        ),
        facts,
    )
    assert answer.allowed, answer.message
    return list(answer.warnings)


def annotated(manifest: Manifest = ASKED, **annotations: str) -> Manifest:
    given = {f"kaito.sh/{key.replace('_', '-')}": value for key, value in annotations.items()}
    return changed(manifest, {"metadata.annotations": given})


def typed(manifest: Manifest) -> Manifest:
    return changed(manifest, {"spec.compute.instanceType": "Standard_X"})


def guarded(policy: str | None, **more: str) -> tuple[Manifest, Facts]:
    data: Mapping[str, str] | None = None
    if policy is not None:
        data = {"guardrails.yaml": policy, **more}
    manifest = changed(
        ASKED, {"spec.guardrails": {"enabled": True, "configMapRef": {"name": "policy"}}}
    )
    return manifest, dataclasses.replace(FACTS, config_map={"policy": data}.get)


def test_a_good_one_says_nothing() -> None:
    assert said(ASKED) == []
    assert warned(ASKED) == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        pytest.param("", "must be set: node provisioner nodeclaim creates", id="R-5 none"),
        pytest.param("Standard_Y", 'did you mean "Standard_X"?', id="R-5 unknown"),
    ],
)
def test_instance_types(given: str, words: str) -> None:
    (error,) = said(engine(compute__instanceType=given))
    assert error.startswith("spec.compute.instanceType: ")
    assert words in error


def test_types_that_the_cloud_has_beside_the_table() -> None:
    """R-5."""
    assert said(engine(compute__instanceType="standard_nc6s_v9")) == []


def test_nodes_of_ones_own_have_no_type() -> None:
    """R-5, R-7."""
    assert said(ASKING, refusals.FACTS) == []
    (error,) = said(ASKED, refusals.FACTS)
    assert "node provisioner byo creates no nodes" in error
    assert said(ASKING, refusals.FACTS, ASKED) == [], "it may be taken away"


def test_without_compute_no_type_is_asked_for() -> None:
    """R-5."""
    assert said(engine(compute=_ABSENT)) == []


def test_another_type_is_another_engine() -> None:
    """R-7."""
    other = engine(compute__instanceType="Standard_N2")
    assert said(other, FACTS, ASKED) == [f"spec.compute.instanceType: {messages.KEPT}"]


def test_a_partition_needs_nodes_of_ones_own_and_its_gate() -> None:
    """rag partition"""
    half = changed(ASKED, {"spec.compute.partition": {"mode": "accelerator", "count": 1}})
    (error,) = said(half)
    assert error.startswith("spec.compute.partition: needs nodes of one's own")
    ungated = dataclasses.replace(refusals.FACTS, feature_gates={})
    half["spec"]["compute"]["instanceType"] = ""
    (error,) = said(half, ungated)
    assert error.startswith("spec.compute.partition.mode: ")


@pytest.mark.parametrize(
    ("annotations", "words"),
    [
        pytest.param({"use_local_weights": "yes"}, 'one of "true" or "false"', id="local"),
        pytest.param({"api_key_secret": "My Key"}, "is not the name of a Secret", id="keys"),
        pytest.param({"node_class_name": "other"}, 'one of "image"', id="class"),
        pytest.param({"rag_settings": "My Map"}, "must name a ConfigMap", id="settings"),
        pytest.param({"rag_settings": ""}, "must name a ConfigMap", id="no settings"),
        pytest.param({"rag_reranker_secret": "a key"}, "is no name of a Secret", id="reranker"),
        pytest.param(
            {"rag_object_store_secret": "a key"}, "is no name of a Secret", id="object store"
        ),
    ],
)
def test_annotations(annotations: dict[str, str], words: str) -> None:
    """rag annotations"""
    wrong = annotated(**annotations)
    for old in (None, ASKED):
        (error,) = said(wrong, KARPENTER, old)
        assert error.startswith(
            f"metadata.annotations[{next(iter(wrong['metadata']['annotations']))}]"
        )
        assert words in error
    assert said(changed(wrong, {"metadata.annotations.a": "b"}), KARPENTER, wrong) == []
    right = {"use_local_weights": "true", "api_key_secret": "keys", "node_class_name": "image"}
    assert said(annotated(**right), KARPENTER) == []


def test_a_model_comes_from_one_place() -> None:
    """rag annotations"""
    image = typed(embedding(image="registry.example.com/bge:1"))
    (error,) = said(annotated(image, use_local_weights="true"))
    assert "contradicts spec.embedding.local.image" in error
    (error,) = said(
        annotated(image, use_local_weights="true"), FACTS, annotated(use_local_weights="true")
    )
    assert "contradicts spec.embedding.local.image" in error


@pytest.mark.parametrize(
    "url",
    ["http://169.254.169.254/v1", "http://[fd00:ec2::254]/", "http://metadata.google.internal/"],
)
def test_urls_that_lead_to_secrets(url: str) -> None:
    """R-3."""
    for manifest, path in (
        (engine(inferenceService__url=url), "spec.inferenceService.url"),
        (engine(embedding={"remote": {"url": url}}), "spec.embedding.remote.url"),
        (database(url=url), "spec.storage.vectorDB.url"),
    ):
        (error,) = said(typed(manifest))
        assert error.startswith(f'{path}: "{url}" leads to where the cloud tells')


def test_a_password_is_not_repeated() -> None:
    """R-3."""
    (error,) = said(typed(engine(inferenceService__url="https://user:secret@example.com/v1")))
    assert "secret@" not in error


@pytest.mark.parametrize("engine_name", ["faiss", "FAISS", "qdrant", "Qdrant"])
def test_engines_in_any_case_of_letters(engine_name: str) -> None:
    """rag database"""
    assert said(typed(database(engine=engine_name))) == []


@pytest.mark.parametrize(
    "path", ["/mnt/vector-db", "/data/", "/opt/indexes", "/var/lib/rag", "/workspaces"]
)
def test_mount_paths(path: str) -> None:
    """rag volume"""
    for fields in (
        {"persistentVolume": {"persistentVolumeClaim": "indexes", "mountPath": path}},
        {"persistentVolumeClaim": "indexes", "mountPath": path},
    ):
        assert said(typed(storage(**fields))) == []


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/app", "/app/", "/opt", "/opt/kaito/models", "/opt/venv/lib", "/var", "/var/run"),
        *("/bin", "/boot", "/dev/shm", "/etc", "/lib", "/lib64/x", "/proc", "/run/kaito", "/sbin"),
        *("/sys", "/tmp", "/tmp/a/b", "/usr/local", "/var/run/kaito", "/workspace/embedding"),
    ],
)
def test_mount_paths_that_are_the_pods_own(path: str) -> None:
    """rag volume"""
    (error,) = said(typed(storage(persistentVolumeClaim="indexes", mountPath=path)))
    assert error == f"spec.storage.mountPath: {ragmessages.OWN_PATH}"


@pytest.mark.parametrize(
    "url",
    ["s3://bucket", "s3://bucket/", "gs://b.c/a/b_c/d", "az://container/prefix", "s3://b1/a=b/c"],
)
def test_object_stores(url: str) -> None:
    assert said(annotated(rag_object_store=url)) == []


@pytest.mark.parametrize(
    "url",
    [
        *(
            "",
            "bucket",
            "s3:/bucket",
            "s3://",
            "S3://bucket",
            "http://bucket/a",
            "file:///mnt/data",
        ),
        *("s3://key:secret@bucket/a", "s3://bucket/a?x=y", "s3://bucket//a", "s3://bucket/../a"),
        *("s3://bucket/a b", "s3://bucket:80/a", "s3://bucket/a#b"),
    ],
)
def test_what_is_no_object_store(url: str) -> None:
    """rag object store"""
    (error,) = said(annotated(rag_object_store=url))
    assert error.startswith("metadata.annotations[kaito.sh/rag-object-store]: must be s3://bucket")
    assert "secret@" not in error


def test_a_database_keeps_the_indexes_itself() -> None:
    """rag object store"""
    both = annotated(typed(database()), rag_object_store="s3://bucket/a")
    (error,) = said(both)
    assert "contradicts spec.storage.vectorDB" in error
    assert len(said(both, old=annotated(typed(storage()), rag_object_store="s3://bucket/a"))) == 1


def chosen(**data: str) -> tuple[Manifest, Facts]:
    facts = dataclasses.replace(FACTS, config_map={"settings": data}.get)
    return annotated(rag_settings="settings"), facts


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param({"RAG_CHUNK_TOKENS": "16"}, "whole number of at least 32", id="bounds"),
        pytest.param({"RAG_CHUNK_TOKENS": "many"}, "whole number of at least 32", id="number"),
        pytest.param({"RAG_LANGUAGE": "klingon"}, "set it to none or arabic or", id="choice"),
        pytest.param({"RAG_CHUNK_TOKEN": "64"}, 'did you mean "RAG_CHUNK_TOKENS"?', id="unknown"),
        pytest.param({"PYTHONPATH": "/x"}, "is no setting of the service", id="anything"),
        pytest.param({"RAG_PORT": "80"}, "the controller sets it itself", id="ours"),
        pytest.param({"MODEL_ID": "a/b"}, "set spec.embedding instead", id="the spec's"),
        pytest.param({"LLM_ACCESS_SECRET": "x"}, "set spec.inferenceService", id="a secret"),
        pytest.param(
            {"RAG_RERANKER_URL": "http://169.254.169.254/"}, "a cloud's metadata", id="metadata"
        ),
        pytest.param(
            {"RAG_CHAT_TOKENIZER": "/etc/x.json"}, "name it as /mnt/data/…", id="path elsewhere"
        ),
        pytest.param(
            {"RAG_CHAT_TOKENIZER": "/mnt/data/../x.json"}, "is not on the pod's volume", id="steps"
        ),
        pytest.param({"RAG_CHAT_TOKENIZER": "x.json"}, "is not on the pod's volume", id="no path"),
        pytest.param({"RAG_RERANKER_MODEL": "/opt/m"}, "is not on the pod's volume", id="reranker"),
    ],
)
def test_settings_that_the_service_would_not_start_with(data: dict[str, str], words: str) -> None:
    """rag settings"""
    (error,) = said(*chosen(**data))
    (key,) = data
    where = "metadata.annotations[kaito.sh/rag-settings]"
    assert error.startswith(f'{where}: key {key} of ConfigMap "settings": ')
    assert words in error


def test_settings() -> None:
    good = {
        "RAG_CHUNK_TOKENS": "256",
        "RAG_RERANKER_MODEL": "BAAI/bge-reranker-base",
        "RAG_CHAT_TOKENIZER": "/mnt/data/tokenizer.json",
        "RAG_LANGUAGE": "German",
        "RAG_SYNC": " ",
    }
    assert said(*chosen(**good)) == []
    none = annotated(typed(engine(storage=_ABSENT)), rag_settings="settings")
    (error,) = said(none, chosen(RAG_CHAT_TOKENIZER="/mnt/data/t.json")[1])
    assert "name one in spec.storage.persistentVolume" in error


def test_settings_that_are_not_there_and_are_not_asked_again() -> None:
    """rag settings"""
    facts = dataclasses.replace(FACTS, config_map={}.get)
    named = annotated(rag_settings="settings")
    (error,) = said(named, facts)
    assert error.endswith(
        'there is no ConfigMap "settings" in namespace "default"; create it first'
    )
    assert said(named, facts, named) == []


def test_a_reranker_cannot_be_fetched_beside_the_nodes_model() -> None:
    """rag settings"""
    manifest, facts = chosen(RAG_RERANKER_MODEL="a/b")
    local = annotated(manifest, rag_settings="settings", use_local_weights="true")
    (error,) = said(local, facts)
    assert "whose directory is read-only" in error
    elsewhere = chosen(RAG_RERANKER_MODEL="a/b", RAG_RERANKER_URL="http://rank/")[1]
    assert said(local, elsewhere) == []


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        pytest.param(None, 'there is no ConfigMap "policy" in namespace "default"', id="R-6 none"),
        pytest.param("a: [b", "no YAML (line 1)", id="R-6 malformed"),
        pytest.param("- a", "must be a map", id="R-6 list"),
        pytest.param("", "must be a map", id="R-6 empty"),
        pytest.param("scanners: {type: regex}", "scanners must be a list", id="R-6 scanners"),
    ],
)
def test_policies(policy: str | None, words: str) -> None:
    (error,) = said(*guarded(policy))
    assert error.startswith("spec.guardrails.configMapRef.name: ")
    assert words in error


def test_a_config_map_without_the_key() -> None:
    """R-6."""
    manifest, facts = guarded("")
    data = {"policy.yaml": "scanners: []"}
    (error,) = said(manifest, dataclasses.replace(facts, config_map=lambda _: data))
    assert 'ConfigMap "policy" has no key guardrails.yaml' in error


def test_a_policy_is_looked_at_where_it_is_asked_for() -> None:
    """R-6: upstream asks again at each write, and keeps an object whose ConfigMap is gone."""
    manifest, facts = guarded(None)
    off = changed(manifest, {"spec.guardrails.enabled": False})
    assert said(off, facts) == []
    assert said(manifest, facts, manifest) == []
    assert (
        said(changed(manifest, {"spec.inferenceService.contextWindowSize": 5}), facts, manifest)
        == []
    )
    assert len(said(manifest, facts, off)) == 1
    unnamed = changed(manifest, {"spec.guardrails.configMapRef": _ABSENT})
    assert said(unnamed, facts) == [], "the release's own"


def test_scanners_that_nobody_knows_are_warned_of() -> None:
    """R-6."""
    scanners = ", ".join(f"{{type: {name}}}" for name in container.RAG_SCANNERS)
    assert warned(*guarded(f"scanners: [{scanners}]")) == []
    assert warned(*guarded("scanners: [{type: ban-substrings, substrings: [a]}]")) == []
    (one, two) = warned(*guarded("scanners: [{type: regexp, patterns: [a]}, word]"))
    assert 'scanners[0] makes the policy void: type "regexp" is not one of' in one
    assert one.endswith('; did you mean "regex"?')
    assert "scanners[1] makes the policy void" in two
    (nothing,) = warned(*guarded("action: block"))
    assert nothing.endswith("has no scanners, so nothing is looked for")


@pytest.mark.parametrize(
    ("manifest", "path", "words"),
    [
        pytest.param(engine(storage=_ABSENT), "spec.storage", "end with the pod", id="no storage"),
        pytest.param(
            storage(vectorDB={"engine": "faiss", "url": ""}),
            "spec.storage",
            "end with the pod",
            id="faiss alone",
        ),
        pytest.param(
            engine(storage__vectorDB={"engine": "qdrant", "url": "http://q:6333"}),
            "spec.storage.persistentVolume",
            "is not used: qdrant keeps the indexes",
            id="both",
        ),
        pytest.param(
            engine(storage__vectorDB={"engine": "faiss", "url": "http://q:6333"}),
            "spec.storage.vectorDB.url",
            "is not looked at with engine faiss",
            id="URL of faiss",
        ),
        pytest.param(
            engine(storage__mountPath="/mnt/x"),
            "spec.storage.mountPath",
            "is not looked at without persistentVolumeClaim",
            id="path alone",
        ),
        pytest.param(engine(compute__count=2), "spec.compute.count", "one node runs", id="count"),
        pytest.param(
            engine(compute__labelSelector={"matchLabels": {"a": "b", "kaito.sh/ragengine": "c"}}),
            "spec.compute.labelSelector",
            "kaito.sh/ragengine is not looked at",
            id="reserved key",
        ),
        pytest.param(
            embedding(modelID="a/b", imagePullSecret="s"),
            "spec.embedding.local.imagePullSecret",
            "without image",
            id="pull secret",
        ),
        pytest.param(
            embedding(image="a/b:1", modelAccessSecret="s"),
            "spec.embedding.local.modelAccessSecret",
            "without modelID",
            id="token",
        ),
        pytest.param(
            engine(inferenceService__contextWindowSize=_ABSENT),
            "spec.inferenceService.contextWindowSize",
            "taken for 64000",
            id="R-4 left out",
        ),
        pytest.param(
            engine(inferenceService__url=_ABSENT),
            "spec.inferenceService.accessSecret",
            "without url",
            id="key of no service",
        ),
        pytest.param(
            engine(inferenceService__url="http://phi-4/v1/completions"),
            "spec.inferenceService.url",
            "end it with /v1/chat/completions",
            id="no chat",
        ),
        pytest.param(
            engine(inferenceService__url="http://localhost:8000/v1"),
            "spec.inferenceService.url",
            "the pod of the RAGEngine itself",
            id="loopback",
        ),
        pytest.param(
            engine(queryServiceName="query"), "spec.queryServiceName", "named after", id="query"
        ),
        pytest.param(
            engine(indexServiceName="index"), "spec.indexServiceName", "named after", id="index"
        ),
        pytest.param(
            annotated(engine(embedding={"remote": {"url": "http://e/"}}), use_local_weights="true"),
            "metadata.annotations[kaito.sh/use-local-weights]",
            "without spec.embedding.local.modelID",
            id="local weights of nothing",
        ),
        pytest.param(
            annotated(engine(storage=_ABSENT), rag_object_store="s3://bucket/a"),
            "metadata.annotations[kaito.sh/rag-object-store]",
            "an edit replaces the pod in place",
            id="an object store alone",
        ),
        pytest.param(
            annotated(ASKING, rag_object_store_secret="keys"),
            "metadata.annotations[kaito.sh/rag-object-store-secret]",
            "is not looked at without kaito.sh/rag-object-store",
            id="keys of no object store",
        ),
        pytest.param(
            annotated(ASKING, model_weights="hf://a/b"),
            "metadata.annotations[kaito.sh/model-weights]",
            "is for Workspaces",
            id="weights of Workspaces",
        ),
    ],
)
def test_what_is_taken_without_effect_is_told(manifest: Manifest, path: str, words: str) -> None:
    (warning,) = warned(typed(manifest))
    assert warning.startswith(f"{path}: ")
    assert words in warning
    assert warned(typed(manifest), FACTS, typed(manifest)) == [], "our own writes are not"
    if not path.startswith("spec.compute"):  # which may not change
        assert warning in warned(typed(manifest), FACTS, ASKED)


@pytest.mark.parametrize(
    "url",
    [
        "http://phi-4",
        "http://phi-4/",
        "http://phi-4/v1",
        "http://phi-4/v1/chat/completions",
        "https://e.openai.azure.com/openai/deployments/a/chat/completions?api-version=1",
    ],
)
def test_addresses_of_chat(url: str) -> None:
    assert warned(typed(engine(inferenceService__url=url))) == []


@pytest.mark.parametrize(
    ("new", "words"),
    [
        pytest.param(embedding(modelID="a/other"), "embedded anew", id="model"),
        pytest.param(embedding(image="a/b:1"), "embedded anew", id="image"),
        pytest.param(engine(embedding={"remote": {"url": "http://e/"}}), "embedded anew", id="far"),
        pytest.param(
            storage(persistentVolume={"persistentVolumeClaim": "other"}),
            "not carried over",
            id="claim",
        ),
        pytest.param(database(), "not carried over", id="database"),
    ],
)
def test_what_a_change_brings_about(new: Manifest, words: str) -> None:
    (warning,) = warned(
        typed(
            changed(
                ASKED,
                {
                    "spec.embedding": new["spec"]["embedding"],
                    "spec.storage": new["spec"]["storage"],
                },
            )
        ),
        FACTS,
        ASKED,
    )
    assert words in warning
    assert "unless its vectors are the same" in warning or "embedded" not in warning


def test_what_another_model_does_to_a_database() -> None:
    """Nothing is embedded anew there."""
    before = typed(database())
    model = embedding(modelID="a/other")["spec"]["embedding"]
    (warning,) = warned(typed(changed(database(), {"spec.embedding": model})), FACTS, before)
    assert "every index in the database refuses the new pod" in warning


def test_another_token_is_no_other_model() -> None:
    new = engine(embedding__local__modelAccessSecret="token")
    assert warned(typed(new), FACTS, ASKED) == []


INVALID = changed(
    ASKING,
    {
        "metadata.name": "1.rag",
        "spec.embedding.remote": {"url": "nowhere"},
        "spec.inferenceService.url": "nowhere",
        "spec.storage.persistentVolume.mountPath": "/",
        "spec.guardrails": {"enabled": True, "configMapRef": {"name": "gone"}},
        "spec.compute.partition": {"mode": "mig", "count": 2},
    },
)


def test_what_has_become_invalid_can_be_mended_elsewhere() -> None:
    facts = dataclasses.replace(FACTS, config_map=lambda _: None)
    assert len(said(INVALID, facts)) >= 6
    edited = changed(INVALID, {"spec.inferenceService.contextWindowSize": 7})
    assert said(edited, facts, INVALID) == []
    going: dict[str, Any] = changed(INVALID, {"metadata.deletionTimestamp": "2026-01-01T00:00:00Z"})
    asked = AdmissionRequest(uid="u", operation="UPDATE", object=going, old_object=ASKED)
    assert admission.validate(asked, facts).allowed


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        pytest.param(
            {"embeding": {}}, 'spec.embeding: unknown field; did you mean "embedding"?', id="root"
        ),
        pytest.param({"embedding.local.modelId": "a/b"}, 'did you mean "modelID"?', id="case"),
        pytest.param({"storage.vectorDb": {}}, 'did you mean "vectorDB"?', id="vectorDb"),
    ],
)
def test_misspelt_fields_come_alone(fields: dict[str, Any], words: str) -> None:
    (error,) = said(changed(ASKED, {f"spec.{path}": value for path, value in fields.items()}))
    assert words in error


def test_v1alpha1_needs_a_url_and_knows_every_field() -> None:
    old = {**ASKED, "apiVersion": "kaito.sh/v1alpha1"}
    assert said(old) == []
    assert said(changed(old, {"spec.inferenceService.url": _ABSENT})) == [
        "spec.inferenceService.url: must be set"
    ]
    assert said({**ASKED, "apiVersion": "kaito.sh/v1"}) == [
        'apiVersion: "kaito.sh/v1" is none of kaito.sh/v1alpha1, kaito.sh/v1beta1'
    ]
