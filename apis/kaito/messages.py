"""What users are told, for the rules that both the CRD (CEL) and `validation` check.

The same words in both places, so that an answer does not depend on who gave it. Each is the
predicate of the field whose path stands before it.
"""

from __future__ import annotations

KEPT = "cannot be changed after creation; create another object instead"
PRESENCE_KEPT = "cannot be added or removed after creation; create another object instead"

NAME = (
    "the name must be a DNS-1123 label: at most 63 characters, lower-case letters, digits and"
    " '-', starting and ending with a letter or digit"
)
AT_ROOT = "a Workspace has no spec; put resource, inference and tuning at the root of the object"
ONE_WORKLOAD = "exactly one of inference and tuning must be set"
ONE_SOURCE = "exactly one of preset and template must be set"
PRIVATE_IMAGE = 'must be set with accessMode "private": name the image that serves the preset'

SELECTOR_PLAIN = (
    "cannot be turned into a label of a node; use operator In with one value, or matchLabels"
)
SELECTOR_RESERVED = (
    "has only keys that mark whose a node is (kaito.sh/workspace and the like), which are not"
    " looked at; add a label of your own"
)

MIG_COUNT = 'must not be set with mode "mig"'
MIG_PROFILE = 'must name a MIG profile with mode "mig", as "1g.10gb"'
ACCELERATOR_PROFILE = 'must not be set with mode "accelerator"'
ACCELERATOR_COUNT = 'must be set with mode "accelerator"'

MANY_ADAPTERS = "there are more than 10; at most 10 adapters can be served beside a model"
ADAPTER_NAMES = "two of them have the same source.name; each is served under its own"
ADAPTER_SOURCE = "must be set, with a name and one of image, volumeSource and huggingFace"
ADAPTER_NAME = 'must be a DNS-1123 subdomain, as "my-adapter": a volume is named so'
ADAPTER_URLS = "an adapter cannot come from urls; use image, volumeSource or huggingFace"
ADAPTER_ONE = "exactly one of image, volumeSource and huggingFace must be set"
HUGGING_FACE = (
    'must be a repository of Hugging Face, as "owner/repo" or "owner/repo@commit" with the'
    " commit's 40 hexadecimal digits"
)
STRENGTH = 'must be a number from "0" to "1"'

IMAGE = "is no image reference, as registry.example.com/name:tag in lower case"
IMAGE_LENGTH = "has more than 255 characters"

TUNING_NODE = "must be set: tuning needs a node"
TUNING_ONE_NODE = "must be 1: more nodes cannot tune one model"
TUNING_WHOLE = "cannot be used for tuning; leave it out"
TUNING_PRESET = "must be set: it names the model to tune"
TUNING_METHOD = 'must be "lora", "qlora" or "full"'
TUNING_INPUT = "exactly one of urls, volumeSource, image and huggingFace must be set"
TUNING_OUTPUT = "exactly one of volumeSource and image must be set"
PUSH_SECRET = "must be set with image: name the Secret to push with"  # noqa: S105
