"""Object stores that a RAGEngine's indexes are kept in (annotation kaito.sh/rag-object-store).

The one home of which there are, and of what a Secret may say of them: each key is a variable that
the service's client reads by itself, and no other variable of the pod can be set by way of it.
"""

from __future__ import annotations

import re

from apis import container
from apis.kaito.v1beta1 import labels
from apis.kaito.v1beta1.ragengine import RAGEngine

KEYS = {
    "s3": (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_REGION",
        "AWS_ENDPOINT_URL",
        "AWS_ALLOW_HTTP",
        "AWS_VIRTUAL_HOSTED_STYLE_REQUEST",
    ),
    "gs": ("GOOGLE_SERVICE_ACCOUNT_KEY",),
    "az": (
        "AZURE_STORAGE_ACCOUNT_NAME",
        "AZURE_STORAGE_ACCOUNT_KEY",
        "AZURE_STORAGE_SAS_KEY",
        "AZURE_CLIENT_ID",
        "AZURE_CLIENT_SECRET",
        "AZURE_TENANT_ID",
    ),
}
"""By the scheme of the URL. The service takes file:// too, which in a pod keeps nothing."""

_STEP = r"[A-Za-z0-9!_*'()=+-][A-Za-z0-9!_.*'()=+-]*"
_URL = re.compile(rf"({'|'.join(KEYS)})://[A-Za-z0-9][A-Za-z0-9._-]{{1,221}}(/{_STEP})*/?")


def is_url(text: str) -> bool:
    """Scheme, bucket (of Azure: container), and a prefix or none; nobody's name or password."""
    return _URL.fullmatch(text) is not None


def keys(url: str) -> tuple[str, ...]:
    """What a Secret for the store may hold."""
    scheme = url.partition("://")[0]
    return (*KEYS.get(scheme, ()), container.ENV_RAG_OBJECT_STORE_OPTIONS)


def asked(engine: RAGEngine) -> str | None:
    """The URL as it is written; None where none is."""
    return engine.metadata.annotations.get(labels.RAG_OBJECT_STORE_ANNOTATION)


def place(engine: RAGEngine) -> str:
    """Where its snapshots go; empty where nowhere. Two in one place would each prune the other's,
    and a manifest is soon copied: so each has a prefix of its own, as in a database."""
    url, meta = asked(engine), engine.metadata
    return f"{url.rstrip('/')}/{meta.namespace}/{meta.name}" if url else ""


def alone(engine: RAGEngine) -> bool:
    """Whether nothing else outlives the pod."""
    storage = engine.spec.storage if engine.spec else None
    kept = storage is not None and bool(storage.external or storage.volume)
    return asked(engine) is not None and not kept
