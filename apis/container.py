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
LOCAL_WEIGHTS_ROOT = "/opt/kaito/models"
"""On the node: one directory a preset, named by `local_weights_directory`."""
CONFIG_DIR = "/mnt/config"
CONFIG_FILE = "/mnt/config/inference_config.yaml"
ADAPTERS_DIR = "/mnt/adapter"
DATA_DIR = "/mnt/data"
RESULTS_DIR = "/mnt/results"
SHM_DIR = "/dev/shm"  # noqa: S108  # the shared memory of the pod, not a temporary file

CONFIG_KEY = "inference_config.yaml"
"""Data key of the inference ConfigMap, and the file's name under CONFIG_DIR."""
TUNING_CONFIG_KEY = "training_config.yaml"
TOKEN_SECRET_KEY = "HF_TOKEN"  # noqa: S105  # the key in the Secret, not its value

ENV_TOKEN = "HF_TOKEN"  # noqa: S105
ENV_POD_NAME = "POD_NAME"
ENV_POD_INDEX = "POD_INDEX"
ENV_LEADER_ADDRESS = "KAITO_LEADER_ADDRESS"
ENV_NODES = "KAITO_NODES"
ENV_MODEL = "KAITO_MODEL"
ENV_SERVED_MODEL_NAME = "KAITO_SERVED_MODEL_NAME"
ENV_WEIGHTS = "KAITO_WEIGHTS"
ENV_CONFIG_FILE = "KAITO_CONFIG_FILE"

BENCHMARK_RESULT_MARKER = "KAITO_BENCHMARK_RESULT"
BENCHMARK_CONFIG_MARKER = "KAITO_BENCHMARK_CONFIG"


def local_weights_directory(preset: str) -> str:
    """Where on a node the weights of a preset lie: the name in lower case, slashes as dashes."""
    return f"{LOCAL_WEIGHTS_ROOT}/{preset.lower().replace('/', '-').replace(chr(92), '-')}"
