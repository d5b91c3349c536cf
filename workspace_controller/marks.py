"""The labels by which a thing tells whose it is, for each kind that has things made for it. Pure.

Names are unique within a kind only: a Workspace and a RAGEngine may be namesakes, so that whoever
asks "whose is it" asks for one kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from apis.kaito.v1beta1 import labels
from kube.meta import Key, ObjectMeta
from kube.store import Object

Whose = Callable[[Object], Iterable[Key]]


class Owner(Protocol):
    """What things are made for: a Workspace, a RAGEngine."""

    @property
    def api_version(self) -> str: ...

    @property
    def kind(self) -> str: ...

    @property
    def metadata(self) -> ObjectMeta: ...


@dataclass(frozen=True, slots=True)
class Marks:
    """`child` is on what lies in the owner's namespace, and is its name. The others are name and
    namespace: `claim` on NodeClaims that stand alone, `pool` on NodePools and their claims; nodes
    have those of their claim."""

    kind: str
    child: str
    claim: tuple[str, str]
    pool: tuple[str, str]

    def on_child(self, owner: Owner) -> dict[str, str]:
        return {self.child: owner.metadata.name}

    def on_claim(self, owner: Owner) -> dict[str, str]:
        return self._named(self.claim, owner)

    def on_pool(self, owner: Owner) -> dict[str, str]:
        return self._named(self.pool, owner)

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """On what has no namespace of its own."""
        return tuple(dict.fromkeys((self.claim, self.pool)))

    @property
    def keys(self) -> tuple[str, ...]:
        """Those whose presence alone says that a node is one of theirs."""
        return tuple(name for name, _ in self.pairs)

    def of_cluster_scoped(self, found: Object) -> tuple[Key, ...]:
        """The owner of a claim, node or pool; none where the labels name none of this kind."""
        said = found.metadata.labels
        for key, of_namespace in self.pairs:
            name, namespace = said.get(key, ""), said.get(of_namespace, "")
            if name and namespace:
                return (Key(namespace, name),)
        return ()

    def of_child(self, found: Object) -> tuple[Key, ...]:
        """The owner of a pod, Service or the like."""
        return by_label(self.child)(found)

    @staticmethod
    def _named(pair: tuple[str, str], owner: Owner) -> dict[str, str]:
        return {pair[0]: owner.metadata.name, pair[1]: owner.metadata.namespace}


WORKSPACE = Marks(
    kind="Workspace",
    child=labels.WORKSPACE_LABEL,
    claim=(labels.WORKSPACE_LABEL, labels.WORKSPACE_NAMESPACE_LABEL),
    pool=(labels.KARPENTER_WORKSPACE_LABEL, labels.KARPENTER_WORKSPACE_NAMESPACE_LABEL),
)
RAG_ENGINE = Marks(
    kind="RAGEngine",
    child=labels.RAGENGINE_LABEL,
    claim=(labels.RAGENGINE_LABEL, labels.RAGENGINE_NAMESPACE_LABEL),
    pool=(labels.RAGENGINE_LABEL, labels.RAGENGINE_NAMESPACE_LABEL),
)
ALL = (WORKSPACE, RAG_ENGINE)

_OF_KIND = {each.kind: each for each in ALL}


def of(owner: Owner) -> Marks:
    """Those of its kind."""
    return _OF_KIND[owner.kind]


def by_label(label: str) -> Callable[[Object], tuple[Key, ...]]:
    """Of what lies in its owner's namespace: the label tells the name."""

    def named(found: Object) -> tuple[Key, ...]:
        name = found.metadata.labels.get(label, "")
        return (Key(found.metadata.namespace, name),) if name else ()

    return named


def index(whose: Whose) -> Callable[[Object], tuple[str, ...]]:
    """The same as an index of a Store."""
    return lambda found: tuple(map(str, whose(found)))
