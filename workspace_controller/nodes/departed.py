"""Claims that were there and are gone: a store shows what is, and forgets what was.

A provisioner that refuses at once takes a claim away again before any round has seen it. Without
its last words the user would not learn why, and without knowing of it at all the same claim
would be made again, and again without a pause. Nothing rests on it after a restart.
"""

from __future__ import annotations

from collections import OrderedDict

from apis.karpenter.v1.nodeclaim import NodeClaim

_REMEMBERED = 4096


class Departed:
    """The last state of claims, by name; told by an informer (`subscribe(departed.changed)`)."""

    def __init__(self) -> None:
        self._claims: OrderedDict[str, NodeClaim] = OrderedDict()

    def changed(self, old: NodeClaim | None, new: NodeClaim | None) -> None:
        if new is not None:
            self._claims.pop(new.metadata.name, None)
        elif old is not None:
            self._claims[old.metadata.name] = old
            if len(self._claims) > _REMEMBERED:
                self._claims.popitem(last=False)

    def get(self, name: str) -> NodeClaim | None:
        return self._claims.get(name)
