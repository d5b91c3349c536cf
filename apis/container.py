"""The contract between the workspace controller and a serving image. Standard library only:
each image carries a copy of this file, since images import nothing else of ours.

The paths are KAITO's, so that its images and ConfigMaps fit.
"""

from __future__ import annotations

PORT = 5000
"""Where the OpenAI-compatible server listens; the Service maps 80 to it."""
SERVICE_PORT = 80
HEALTH_PATH = "/health"
"""200 once the model answers; anything else before."""
METRICS_PATH = "/metrics"

WEIGHTS_DIR = "/workspace/weights"
"""Downloaded weights; a volume, so that a restart of the container need not load them anew."""
WEIGHTS_CREDENTIALS_DIR = "/var/run/kaito/registry"
"""Registry credentials, one directory a Secret, each with a Docker `config.json`."""
LOCAL_WEIGHTS_ROOT = "/opt/kaito/models"
"""On the node: one directory a preset, named by `local_weights_directory`."""
CONFIG_DIR = "/mnt/config"
CONFIG_FILE = "/mnt/config/inference_config.yaml"
ADAPTERS_DIR = "/mnt/adapter"
ADAPTERS_CREDENTIALS_DIR = "/var/run/kaito/adapters"
"""Registry credentials for adapters, as WEIGHTS_CREDENTIALS_DIR has them for weights."""
ADAPTERS_TOKEN_DIR = "/run/kaito/adapters"  # noqa: S105  # a path
ADAPTERS_TOKEN_FILE = "/run/kaito/adapters/token"  # noqa: S105  # a path
"""Who shows what is in it may add and remove adapters of a running server."""
DATA_DIR = "/mnt/data"
DATA_CREDENTIALS_DIR = "/var/run/kaito/data"
"""Registry credentials for the data, as WEIGHTS_CREDENTIALS_DIR has them for weights."""
RESULTS_DIR = "/mnt/results"
"""Where a tuned adapter and its checkpoints are written, where nothing else is configured."""
PUSH_CREDENTIALS_DIR = "/var/run/kaito/push"
"""Registry credentials for the result."""
API_KEYS_DIR = "/var/run/kaito/api-keys"
"""Whoever asks the server must show what is in one of its files; without it nobody must."""
DOWNLOAD_SECONDS_FILE = ".kaito-download-seconds"
"""Under WEIGHTS_DIR: how long the last download took that brought anything."""
DRAIN_SECONDS = 40
"""How long requests in work may go on after SIGTERM."""
SHM_DIR = "/dev/shm"  # noqa: S108  # the shared memory of the pod, not a temporary file

CONFIG_KEY = "inference_config.yaml"
"""Data key of the inference ConfigMap, and the file's name under CONFIG_DIR."""
TUNING_CONFIG_KEY = "training_config.yaml"
"""Data key of the tuning ConfigMap, and the file's name under CONFIG_DIR."""
TUNING_CONFIG_FILE = "/mnt/config/training_config.yaml"
TOKEN_SECRET_KEY = "HF_TOKEN"  # noqa: S105  # the key in the Secret, not its value

ENV_TOKEN = "HF_TOKEN"  # noqa: S105
ENV_ENDPOINT = "HF_ENDPOINT"
"""A mirror of huggingface.co."""
ENV_INSECURE_REGISTRIES = "KAITO_INSECURE_REGISTRIES"
"""Registries without TLS, as host:port, separated by commas; those on loopback never have it."""
ENV_POD_NAME = "POD_NAME"
ENV_POD_INDEX = "POD_INDEX"
ENV_LEADER_ADDRESS = "KAITO_LEADER_ADDRESS"
ENV_NODES = "KAITO_NODES"
ENV_MODEL = "KAITO_MODEL"
ENV_MODEL_REVISION = "KAITO_MODEL_REVISION"
ENV_SERVED_MODEL_NAME = "KAITO_SERVED_MODEL_NAME"
ENV_WEIGHTS = "KAITO_WEIGHTS"
ENV_CONFIG_FILE = "KAITO_CONFIG_FILE"
ENV_ADAPTERS_DIR = "KAITO_ADAPTERS_DIR"
ENV_API_KEYS_DIR = "KAITO_API_KEYS_DIR"
ENV_TUNING_CONFIG_FILE = "YAML_FILE_PATH"
"""KAITO's name; as are the next two."""
ENV_DATA_DIR = "DATASET_FOLDER_PATH"
ENV_TARGET_MODULES = "DEFAULT_TARGET_MODULES"
"""Modules that LoRA changes, where the user names none; separated by commas."""
ENV_TUNING_METHOD = "KAITO_TUNING_METHOD"
"""lora, qlora or full."""
ENV_TUNING_OUTPUT = "KAITO_TUNING_OUTPUT"
"""The reference that the result is pushed as; empty where a volume keeps it."""
ENV_DATA_URLS = "DATA_URLS"
"""KAITO's name: the URLs to download data from, separated by spaces."""
ENV_DATA_IMAGE = "KAITO_DATA_IMAGE"
ENV_DATA_REPOSITORY = "KAITO_DATA_REPOSITORY"
"""A data set of Hugging Face, as owner/name or owner/name@commit."""
ENV_ADAPTER = "KAITO_ADAPTER"
"""Of the containers that bring one: its name, where it comes from, where it goes, how strong."""
ENV_ADAPTER_SOURCE = "KAITO_ADAPTER_SOURCE"
ENV_ADAPTER_DIR = "KAITO_ADAPTER_DIR"
ENV_ADAPTER_STRENGTH = "KAITO_ADAPTER_STRENGTH"
ADAPTER_STRENGTH_FILE = "kaito-strength"
"""In an adapter's directory: what it is multiplied with, where that is not 1."""

LORA_RANK = 32
"""The largest adapter that a running vLLM takes, where it was started with no larger one."""
LORA_SLOTS = 2
"""Adapters at work at once, where it was not started with more; others wait their turn."""
LORA_KEPT = 10
"""Adapters that are kept in RAM: as many as the API allows."""

RAG_DATA_DIR = "/mnt/data"
"""Where a RAGEngine's volume is mounted, where its spec does not say; KAITO's default."""
RAG_GUARDRAILS_KEY = "guardrails.yaml"
"""Data key of the guardrails ConfigMap."""
RAG_GUARDRAILS_FILE = "/etc/ragengine/guardrails/guardrails.yaml"
RAG_MODEL_DIR = "/workspace/embedding"
"""The embedding model's files, where something brought them: an image, or the node."""
RAG_LIVE_PATH = "/livez"
"""200 while the process can answer at all; HEALTH_PATH once indexes are restored too."""
ENV_RAG_EMBEDDING_SOURCE = "EMBEDDING_SOURCE_TYPE"
"""local or remote. These are the names that KAITO's service reads; its controller sets others
(EMBEDDING_TYPE, MODEL_ID), and the service takes those too."""
ENV_RAG_LOCAL_MODEL = "LOCAL_EMBEDDING_MODEL_ID"
ENV_RAG_LOCAL_IMAGE = "LOCAL_EMBEDDING_IMAGE"
"""Ours: an image that holds the model; it is pulled into RAG_MODEL_DIR, with the credentials of
WEIGHTS_CREDENTIALS_DIR."""
ENV_RAG_REMOTE_URL = "REMOTE_EMBEDDING_URL"
ENV_RAG_REMOTE_SECRET = "REMOTE_EMBEDDING_ACCESS_SECRET"  # noqa: S105  # a name, and the Secret's key
ENV_RAG_LLM_URL = "LLM_INFERENCE_URL"
ENV_RAG_LLM_SECRET = "LLM_ACCESS_SECRET"  # noqa: S105
ENV_RAG_LLM_WINDOW = "LLM_CONTEXT_WINDOW"
ENV_RAG_STORE = "VECTOR_DB_TYPE"
"""faiss or qdrant."""
ENV_RAG_STORE_URL = "VECTOR_DB_URL"
ENV_RAG_STORE_SECRET = "VECTOR_DB_ACCESS_SECRET"  # noqa: S105
ENV_RAG_STORE_PREFIX = "RAG_QDRANT_PREFIX"
ENV_RAG_DIRECTORY = "DEFAULT_VECTOR_DB_PERSIST_DIR"
ENV_RAG_OBJECT_STORE = "RAG_OBJECT_STORE_URL"
ENV_RAG_OBJECT_STORE_OPTIONS = "RAG_OBJECT_STORE_OPTIONS"
ENV_RAG_RERANKER_SECRET = "RAG_RERANKER_ACCESS_SECRET"  # noqa: S105
ENV_RAG_GUARDRAILS = "OUTPUT_GUARDRAILS_ENABLED"
ENV_RAG_GUARDRAILS_FILE = "OUTPUT_GUARDRAILS_POLICY_PATH"
RAG_STORES = ("faiss", "qdrant")
RAG_STORE_PREFIX = "kaito-rag."
"""What names of our collections in a database begin with."""
RAG_SCANNERS = (
    "regex",
    "ban_substrings",
    "json",
    "reading_time",
    "secrets",
    "sensitive",
    "invisible_text",
    "token_limit",
)
"""What a guardrails policy may look for, as KAITO's service names it."""

BENCHMARK_RESULT_MARKER = "KAITO_BENCHMARK_RESULT"
BENCHMARK_CONFIG_MARKER = "KAITO_BENCHMARK_CONFIG"


def local_weights_directory(preset: str) -> str:
    """Where on a node the weights of a preset lie: the name in lower case, slashes as dashes."""
    return f"{LOCAL_WEIGHTS_ROOT}/{preset.lower().replace('/', '-').replace(chr(92), '-')}"


def snapshot_directory(revision: str) -> str:
    """Where downloaded weights of a commit or digest lie; without one, those of the branch main
    as it was when this directory was first filled."""
    return f"{WEIGHTS_DIR}/snapshots/{revision.rpartition(':')[2] or 'main'}"
