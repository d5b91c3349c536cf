"""What holds a secret does not print it: reprs end up in logs, tracebacks and failed asserts."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
import re
from collections.abc import Iterator
from typing import Any

import pytest
from rag import settings as rag_settings

from gpu_provisioner import settings as provisioner_settings
from hub.repository import Snapshot
from kube.certificates import Certificate
from kube.credentials import Fixed
from kube.meta import ObjectMeta
from kube.objects import Secret
from oci.credentials import Credentials, Entry
from oci.download import Blob

PACKAGES = (
    *("apis", "cloudproviders", "gpu_provisioner", "hub", "kaito", "kube", "oci", "presets"),
    *("rag", "serving", "tuning", "workspace_controller"),
)
SUSPECT = re.compile(
    r"(^|_)(key|token|secret|secrets|password|credential|credentials|basic|authorization|headers"
    r"|environment|cloud_settings)$",
    re.IGNORECASE,
)
HOLDS = re.compile(r"\b(str|bytes|Mapping|dict)\b")
ENGINES = {"torch", "peft", "xllamacpp", "vllm", "transformers"}
"""They are in their images alone, and so are the modules that import them."""
NO_SECRETS = {
    ("SecretUse", "key"): "the key within a Secret, not what it says",
    ("Question", "secret"): "the name of a Secret",
    ("Bringer", "token_secret"): "the name of a Secret",
    ("Source", "token_secret"): "the name of a Secret",
    ("Source", "pull_secrets"): "names of Secrets",
    ("Volumes", "pull_secrets"): "names of Secrets",
    ("Process", "webhook_cert_secret"): "the name of a Secret",
    ("Observed", "secrets"): "which keys Secrets have, not what they say",
    ("EngineProfile", "environment"): "a function",
    ("Leaf", "key"): "of JSON",
    ("RemoteSnapshot", "key"): "of an object store: a path",
    ("Answer", "headers"): "of an answer of ours",
    ("Stream", "headers"): "of an answer of ours",
    ("_Prepared", "headers"): "of an answer of ours",
}
"""Fields that look like a secret and are none, and why."""


def _modules() -> Iterator[Any]:
    for package in PACKAGES:
        root = importlib.import_module(package)
        names = [each.name for each in pkgutil.walk_packages(root.__path__, f"{package}.")]
        for name in [package, *names]:
            if name.endswith("__main__"):
                continue
            try:
                yield importlib.import_module(name)
            except ModuleNotFoundError as error:
                if error.name not in ENGINES:
                    raise


def _printed() -> Iterator[tuple[str, str, str]]:
    """Module, class and field of each dataclass that would print what looks like a secret."""
    for module in _modules():
        for kind in list(vars(module).values()):
            own = isinstance(kind, type) and kind.__module__ == module.__name__
            if not own or not dataclasses.is_dataclass(kind) or _prints_itself(kind):
                continue
            for field in dataclasses.fields(kind):
                if field.repr and SUSPECT.search(field.name) and HOLDS.search(str(field.type)):
                    yield module.__name__, kind.__name__, field.name


def _prints_itself(kind: type) -> bool:
    """A __repr__ of its own, as oci.credentials.Entry has."""
    code = getattr(kind.__repr__, "__code__", None)
    wrapped = getattr(kind.__repr__, "__wrapped__", None)
    return wrapped is None and code is not None and not code.co_filename.startswith("<")


def test_no_class_prints_what_looks_like_a_secret() -> None:
    printed = [each for each in _printed() if each[1:] not in NO_SECRETS]
    assert printed == [], "give them field(repr=False), or a reason in NO_SECRETS"


def test_every_exception_is_still_needed() -> None:
    assert set(NO_SECRETS) <= {each[1:] for each in _printed()}


SECRET = "s3cr3t-Planted-91"


@pytest.mark.parametrize(
    "holder",
    [
        pytest.param(Fixed(f"Bearer {SECRET}"), id="token of a kubeconfig"),
        pytest.param(Credentials((Entry("a", SECRET),)), id="registry"),
        pytest.param(Snapshot("a/b", "c", [], "https://h", {"A": SECRET}), id="hub"),
        pytest.param(Blob("a", "https://h", 1, "d", {"A": SECRET}), id="blob"),
        pytest.param(Certificate(b"", SECRET.encode(), b""), id="certificate"),
        pytest.param(
            Secret(metadata=ObjectMeta(name="a", namespace="b"), data={"HF_TOKEN": SECRET}),
            id="Secret",
        ),
    ],
)
def test_holders_do_not_print_what_they_hold(holder: object) -> None:
    assert SECRET not in repr(holder)
    assert SECRET not in str([holder])


def test_settings_of_the_provisioner() -> None:
    told = {
        "CLOUD_PROVIDER": "azure",
        "AZURE_CLIENT_SECRET": SECRET,
        "ARM_CLIENT_SECRET": SECRET,
    }
    found = provisioner_settings.from_environment(told)
    assert SECRET in found.cloud_settings["AZURE_CLIENT_SECRET"]
    assert SECRET not in repr(found)


def test_settings_of_the_retrieval_service() -> None:
    """Every variable that is declared secret is set, and none is printed."""
    told = {each.name: SECRET for each in rag_settings.VARIABLES if each.secret}
    told["RAG_OBJECT_STORE_OPTIONS"] = f'{{"aws_secret_access_key": "{SECRET}"}}'
    told |= {
        "VECTOR_DB_TYPE": "qdrant",
        "VECTOR_DB_URL": "http://qdrant:6333",
        "EMBEDDING_SOURCE_TYPE": "remote",
        "REMOTE_EMBEDDING_URL": "http://embedder/v1",
        "LLM_INFERENCE_URL": "http://llm/v1",
    }
    names = {each.name for each in rag_settings.VARIABLES}
    found = rag_settings.read({name: value for name, value in told.items() if name in names})
    assert found.chat.key == SECRET
    assert SECRET not in repr(found)
