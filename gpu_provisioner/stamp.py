"""A hash under a name, on what it was taken of and on the claims made from that. Pure.

Hashes are compared only where their versions are equal. Where they are not (the provisioner was
swapped, or ours has changed its mind about what counts), claims are stamped anew: nobody can tell
then whether a machine has drifted, and a guess would replace all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from apis.karpenter.v1.conditions import DRIFTED
from apis.karpenter.v1.nodeclaim import NodeClaim
from kube.meta import ObjectMeta


@dataclass(frozen=True, slots=True)
class Stamp:
    """`name` is the annotation with the hash; `<name>-version` tells how it was taken."""

    name: str
    hash: str
    version: str

    @classmethod
    def read(cls, metadata: ObjectMeta, name: str) -> Stamp | None:
        """None where either annotation is missing: then nothing can be compared."""
        value = metadata.annotations.get(name)
        version = metadata.annotations.get(f"{name}-version")
        return cls(name, value, version) if value and version else None

    @property
    def annotations(self) -> dict[str, str]:
        return {self.name: self.hash, f"{self.name}-version": self.version}

    def on(self, metadata: ObjectMeta) -> bool:
        return self.annotations.items() <= metadata.annotations.items()

    def contradicts(self, other: Stamp | None) -> bool:
        """The same kind of hash, and another value."""
        return other is not None and self.version == other.version and self.hash != other.hash

    def renewed(self, claim: NodeClaim) -> NodeClaim:
        """The claim in this stamp's version; the same object where it is already, or carries none.
        One that has drifted keeps its hash, and so goes on to differ."""
        worn = claim.metadata.annotations
        if worn.get(f"{self.name}-version", self.version) == self.version:
            return claim
        new = dict(self.annotations)
        if claim.is_true(DRIFTED) and self.name in worn:
            del new[self.name]
        metadata = msgspec.structs.replace(claim.metadata, annotations={**worn, **new})
        return claim.model_copy(update={"metadata": metadata})
