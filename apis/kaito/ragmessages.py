"""What users are told by the rules of RAGEngine that the CRD (CEL) and `validation.rag` share.

As `messages` has it for Workspaces; what the compute of a RAGEngine shares with a Workspace's
resource stands there.
"""

from __future__ import annotations

NAME = (
    "the name must be a DNS-1035 label: at most 63 characters, lower-case letters, digits and"
    " '-', starting with a letter and ending with a letter or digit; the Service is named so"
)
SPEC = "must be set: at least embedding, with local.modelID, local.image or remote.url"
EMBEDDING = "must be set, with local.modelID, local.image or remote.url"
ONE_EMBEDDING = "exactly one of local and remote must be set"
ONE_LOCAL = "exactly one of modelID and image must be set"
MODEL_ID = 'must name a model of Hugging Face as owner/model, as "BAAI/bge-small-en-v1.5"'
MODEL_PATH = (
    "is a path: name the model as owner/model, and for files that lie on the node set annotation"
    ' kaito.sh/use-local-weights to "true"'
)
URL = (
    "must be an http:// or https:// URL with a host, and without user and password: a key"
    " belongs into a Secret, which accessSecret names"
)
CONTEXT_WINDOW = "must be more than 0: how many tokens the model takes, prompt and answer together"

SECRET = (
    "is no name of a Secret (lower-case letters, digits, '-' and '.'); put the key itself into a"  # noqa: S105
    " Secret of this namespace, and its name here"
)
CLAIM = "must name a PersistentVolumeClaim of this namespace"
CONFIG_MAP = "must name a ConfigMap of this namespace"

ENGINE = 'must be "faiss" or "qdrant"'
MOUNT_PATH = 'must be an absolute path without ":", ".." and blanks, as /mnt/data'
OWN_PATH = "is where the pod has files of its own; choose another path, as /mnt/data"
ONE_VOLUME = (
    "contradicts persistentVolume, which is the same in the form of v1beta1; keep one of both"
)
