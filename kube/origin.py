"""Where an object comes from: which round of which controller asked for it, and in which trace.

Controllers talk only through objects, so an object carries its story in two annotations: the
reconcileID of the round that made it, and the W3C trace context of the span that made it. Whoever
reconciles the object later logs and traces under both. They are put on where an object is written,
never where it is planned: no hash, comparison or golden file knows of them, and an object of
another origin simply has none.
"""

from __future__ import annotations

import re
from contextvars import ContextVar
from dataclasses import dataclass

from kube import log
from kube.meta import Manifest, ObjectMeta

_RECONCILE_ID = re.compile(r"[0-9A-Za-z-]{1,64}")
_TRACE_PARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


@dataclass(frozen=True, slots=True)
class Annotations:
    """What the two are called; a library knows no names of ours. Empty: not handed on."""

    reconcile_id: str = ""
    trace_parent: str = ""


_names: ContextVar[Annotations] = ContextVar("origin", default=Annotations())  # noqa: B039


@dataclass(frozen=True, slots=True)
class Origin:
    """What an object says of it; both empty where it says nothing, or what nobody can read."""

    reconcile_id: str = ""
    trace_parent: str = ""

    @classmethod
    def of(cls, metadata: ObjectMeta) -> Origin:
        """Annotations are anybody's text: only what has the right form is believed."""
        names, told = _names.get(), metadata.annotations
        reconcile_id = told.get(names.reconcile_id, "")
        trace_parent = told.get(names.trace_parent, "")
        return cls(
            reconcile_id if _RECONCILE_ID.fullmatch(reconcile_id) else "",
            trace_parent if _TRACE_PARENT.fullmatch(trace_parent) else "",
        )

    @property
    def fields(self) -> dict[str, str]:
        """For the log: under one more key than the round's own ID, so that either can be found."""
        return {log.ORIGIN: self.reconcile_id} if self.reconcile_id else {}


def handed_on(annotations: Annotations) -> None:
    """Use these names in all that this task starts from now on."""
    _names.set(annotations)


def stamped(manifest: Manifest, trace_parent: str = "") -> Manifest:
    """The same manifest with the origin that it has here and now: this round, unless the round's
    own object came from another, which then began the story. What it carries already stays."""
    names, known = _names.get(), log.fields()
    told = {
        names.reconcile_id: known.get(log.ORIGIN) or known.get(log.RECONCILE_ID, ""),
        names.trace_parent: trace_parent,
    }
    added = {name: value for name, value in told.items() if name and value}
    if not added:
        return manifest
    metadata = manifest["metadata"]
    annotations = {**added, **(metadata.get("annotations") or {})}
    return {**manifest, "metadata": {**metadata, "annotations": annotations}}
