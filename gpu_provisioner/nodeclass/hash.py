"""The names under which a class and the claims made from it carry the hash of its fields.

Names as Karpenter's providers write them (`karpenter.k8s.aws/ec2nodeclass-hash`); the version is
ours, since the hash is: who finds another version stamps anew and does not replace a machine.
"""

from __future__ import annotations

from cloudproviders.provider import GroupKind

HASH_VERSION = "kaito-v1"


def hash_annotation(kind: GroupKind) -> str:
    return f"{kind.label}-hash"


def version_annotation(kind: GroupKind) -> str:
    return f"{kind.label}-hash-version"
