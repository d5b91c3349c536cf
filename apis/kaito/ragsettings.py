"""What a RAGEngine's settings (annotation kaito.sh/rag-settings) may say: variables of its service,
and what fits each. The service's own table is the image's, which nothing here imports; a test
compares both, name by name and bound by bound.

What is not here is somebody's: a field's of the spec, a Secret's, or the controller's own, on which
probes, mounts and the time to end rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from apis.errors import did_you_mean
from apis.kaito.v1beta1 import labels
from oci import addresses

Form: TypeAlias = Callable[[str], str]
"""Of a value that is not empty: what would fit in its place; nothing where it fits."""


@dataclass(frozen=True, slots=True)
class Number:
    least: float
    most: float | None = None
    whole: bool = False

    def __call__(self, text: str) -> str:
        try:
            value = int(text) if self.whole else float(text)
        except ValueError:
            return self._fitting
        most = float("inf") if self.most is None else self.most
        return "" if self.least <= value <= most and value != float("inf") else self._fitting

    @property
    def _fitting(self) -> str:
        kind = "a whole number" if self.whole else "a number"
        bounds = f"from {self.least} to {self.most}"
        return f"{kind} of at least {self.least}" if self.most is None else f"{kind} {bounds}"


@dataclass(frozen=True, slots=True)
class Choice:
    words: tuple[str, ...]

    def __call__(self, text: str) -> str:
        return "" if text.lower() in self.words else " or ".join(self.words)


def _flag(text: str) -> str:
    known = ("true", "1", "yes", "false", "0", "no")
    return "" if text.lower() in known else "true or false"


def _text(_: str) -> str:
    return ""


def _service(text: str) -> str:
    """As of the URLs of services in the spec: no cloud's metadata."""
    try:
        leads_away = not addresses.target(text).metadata
    except addresses.NoTargetError:
        return "a URL of http or https, without user and password"
    return "" if leads_away else "a service: a cloud's metadata is none"


_AT_LEAST_ONE = Number(1, whole=True)
_COUNT = Number(0, whole=True)
_SECONDS = Number(0)
_TIMEOUT = Number(1)
_LANGUAGES = (
    *("none", "arabic", "armenian", "basque", "catalan", "czech", "danish", "dutch"),
    *("dutch_porter", "english", "esperanto", "estonian", "finnish", "french", "german", "greek"),
    *("hindi", "hungarian", "indonesian", "irish", "italian", "lithuanian", "nepali", "norwegian"),
    *("persian", "polish", "porter", "portuguese", "romanian", "russian", "serbian", "sesotho"),
    *("spanish", "swedish", "tamil", "turkish", "yiddish"),
)

CHAT_TOKENIZER = "RAG_CHAT_TOKENIZER"
RERANKER_MODEL = "RAG_RERANKER_MODEL"
RERANKER_URL = "RAG_RERANKER_URL"

SETTINGS: Mapping[str, Form] = {
    "RAG_CORS_ORIGINS": _text,
    "RAG_ACCESS_LOG": _flag,
    "RAG_LOG_LEVEL": Choice(("debug", "info", "warning", "error")),
    "RAG_MAX_BODY_BYTES": _AT_LEAST_ONE,
    "RAG_MAX_BODY_BYTES_AT_ONCE": _AT_LEAST_ONE,
    "RAG_BODY_TIMEOUT_SECONDS": _SECONDS,
    "RAG_MAX_REQUESTS": _COUNT,
    "RAG_REQUESTS_PER_MINUTE": _COUNT,
    "RAG_MAX_TOP_K": Number(1, 10_000, whole=True),
    "RAG_EMBEDDING_BACKEND": Choice(("auto", "onnx", "torch")),
    "REMOTE_EMBEDDING_MODEL": _text,
    "RAG_EMBEDDING_BATCH_TOKENS": _AT_LEAST_ONE,
    "RAG_EMBEDDING_TIMEOUT_SECONDS": _TIMEOUT,
    "RAG_EMBEDDING_RETRIES": _COUNT,
    RERANKER_MODEL: _text,
    RERANKER_URL: _service,
    "LLM_RERANKER_BATCH_SIZE": _AT_LEAST_ONE,
    "RAG_RERANKER_TIMEOUT_SECONDS": _TIMEOUT,
    "RAG_QDRANT_TIMEOUT_SECONDS": Number(0.1),
    "RAG_QDRANT_EXACT": _flag,
    "RAG_LANGUAGE": Choice(_LANGUAGES),
    "RAG_SYNC": _flag,
    "RAG_SNAPSHOTS_KEPT": _AT_LEAST_ONE,
    "RAG_UPLOAD_QUIET_SECONDS": _SECONDS,
    "RAG_UPLOAD_SECONDS": _SECONDS,
    "RAG_WRITE_WAIT_SECONDS": _SECONDS,
    "RAG_CHUNK_TOKENS": Number(32, whole=True),
    "RAG_CHUNK_OVERLAP_TOKENS": _COUNT,
    "RAG_MAX_DOCUMENTS": _AT_LEAST_ONE,
    "RAG_MAX_TEXT_BYTES": _AT_LEAST_ONE,
    "RAG_MAX_METADATA_BYTES": Number(2, whole=True),
    "RAG_CONTEXT_TOKEN_FILL_RATIO": Number(0.2, 0.8),
    "RAG_SIMILARITY_THRESHOLD": Number(0),
    "RAG_CHAT_TOP_K": _AT_LEAST_ONE,
    "RAG_DOCUMENT_NODE_TOKEN_APPROXIMATION": _TIMEOUT,
    CHAT_TOKENIZER: _text,
    "RAG_CHAT_REQUIRE_CONTEXT": _flag,
    "RAG_LLM_TIMEOUT_SECONDS": _TIMEOUT,
    "OUTPUT_GUARDRAILS_HOT_RELOAD_ENABLED": _flag,
    "RAG_GUARDRAILS_FAIL_OPEN": _flag,
}
"""Both names of paths are looked at once more, beside the volume that the pod has."""

_CONTROLLER = "the controller sets it itself"
_INSTALLATION = "it is the installation's: ask who runs the controller"
_EMBEDDING = "set spec.embedding instead"
_DATABASE = "set spec.storage.vectorDB instead"
_SERVICE = "set spec.inferenceService instead"
_GUARDRAILS = "set spec.guardrails instead"
_TOKEN = "name a Secret in spec.embedding.local.modelAccessSecret instead"  # noqa: S105

ELSEWHERE: Mapping[str, str] = {
    "RAG_HOST": _CONTROLLER,
    "RAG_PORT": _CONTROLLER,
    "RAG_STOP_DELAY_SECONDS": _CONTROLLER,
    "RAG_DRAIN_SECONDS": _CONTROLLER,
    "RAG_MODEL_DIR": _CONTROLLER,
    "HF_ENDPOINT": _INSTALLATION,
    "KAITO_INSECURE_REGISTRIES": _INSTALLATION,
    "KAITO_API_KEYS_DIR": f"set annotation {labels.API_KEY_SECRET_ANNOTATION} instead",
    "EMBEDDING_SOURCE_TYPE": _EMBEDDING,
    "EMBEDDING_TYPE": _EMBEDDING,
    "LOCAL_EMBEDDING_MODEL_ID": _EMBEDDING,
    "MODEL_ID": _EMBEDDING,
    "LOCAL_EMBEDDING_IMAGE": _EMBEDDING,
    "REMOTE_EMBEDDING_URL": _EMBEDDING,
    "REMOTE_EMBEDDING_ACCESS_SECRET": _EMBEDDING,
    "HF_TOKEN": _TOKEN,
    "ACCESS_SECRET": _TOKEN,
    "RAG_RERANKER_ACCESS_SECRET": f"set annotation {labels.RAG_RERANKER_SECRET_ANNOTATION} instead",
    "VECTOR_DB_TYPE": _DATABASE,
    "VECTOR_DB_URL": _DATABASE,
    "VECTOR_DB_ACCESS_SECRET": _DATABASE,
    "RAG_QDRANT_PREFIX": _CONTROLLER,
    "DEFAULT_VECTOR_DB_PERSIST_DIR": "set spec.storage.persistentVolume.mountPath instead",
    "RAG_OBJECT_STORE_URL": f"set annotation {labels.RAG_OBJECT_STORE_ANNOTATION} instead",
    "RAG_OBJECT_STORE_OPTIONS": "put it into the Secret that annotation"
    f" {labels.RAG_OBJECT_STORE_SECRET_ANNOTATION} names",
    "LLM_INFERENCE_URL": _SERVICE,
    "LLM_ACCESS_SECRET": _SERVICE,
    "LLM_CONTEXT_WINDOW": _SERVICE,
    "OUTPUT_GUARDRAILS_ENABLED": _GUARDRAILS,
    "OUTPUT_GUARDRAILS_POLICY_PATH": _GUARDRAILS,
}
"""What the service reads besides, with the place to say it in."""


def refusal(name: str, text: str) -> str:
    """What is wrong with setting it so, remedy included; nothing where it can be. An empty value is
    one that is not set."""
    if name in ELSEWHERE:
        return f"cannot be set there: {ELSEWHERE[name]}"
    if name not in SETTINGS:
        return f"is no setting of the service{did_you_mean(name, SETTINGS)}"
    given = text.strip()
    fitting = SETTINGS[name](given) if given else ""
    return f"{given!r} does not fit; set it to {fitting}" if fitting else ""


def fetches_reranker(data: Mapping[str, str]) -> bool:
    """Whether the pod brings a reranker of Hugging Face: no service's, and none that lies there."""
    model, url = (data.get(name, "").strip() for name in (RERANKER_MODEL, RERANKER_URL))
    return bool(model) and not model.startswith("/") and not url
