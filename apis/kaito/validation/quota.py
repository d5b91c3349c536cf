"""How many GPUs a namespace may ask for, and what is said where that is too few. Pure.

Webhook and controller say it in the same words: who is refused by the one would be by the other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from apis.kaito.v1beta1.labels import GPU_QUOTA_ANNOTATION
from kube import quantity

_MOST_DIGITS = 9
_SHOWN = 6
"""Of those who have GPUs; a namespace may hold hundreds."""
_UNBORN = datetime.max.replace(tzinfo=UTC)


class QuotaError(ValueError):
    """The annotation holds no number; the message names it, and what to do."""


@dataclass(frozen=True, slots=True)
class Share:
    """What one object of the namespace has of it. `asks`: the GPUs that it should have, none once
    it ends; `holds`: those of nodes that are there for it, or on their way in or out. `waits`: what
    it asks for and does not hold is still meant to come."""

    kind: str
    name: str
    asks: int = 0
    holds: int = 0
    born: datetime | None = None
    ending: bool = False
    waits: bool = False

    @property
    def counts(self) -> int:
        return max(self.asks, self.holds)

    @property
    def seniority(self) -> tuple[datetime, str, str]:
        return self.born or _UNBORN, self.name, self.kind

    def __str__(self) -> str:
        until = " until its nodes are gone" if self.ending else ""
        return f"{self.kind} {self.name} {self.counts}{until}"


@dataclass(frozen=True, slots=True)
class Account:
    """A namespace's quota, and who has what of it."""

    namespace: str
    limit: int
    origin: str
    """Who says so: the annotation, or the installation's default."""
    shares: tuple[Share, ...] = ()

    def refuses(self, kind: str, name: str, asked: int) -> str:
        """Why that object may not be stored, which asks for so many; empty where it may. Whoever
        was let in counts with all that it asks for: it may be on its way still."""
        others = [each for each in self.shares if (each.kind, each.name) != (kind, name)]
        if asked <= 0 or asked + sum(each.counts for each in others) <= self.limit:
            return ""
        return self._words(others, asked, sum(each.counts for each in others))

    def withholds(self, kind: str, name: str, more: int) -> str:
        """Why that object gets no nodes with so many GPUs more now; empty where it does.

        What is there counts for everybody. Of what is left the elder are served first; one that
        could never be served holds up nobody.
        """
        held = sum(each.holds for each in self.shares)
        earlier = [
            each
            for each in self._before(kind, name)
            if each.waits and each.asks > each.holds and each.asks <= self.limit
        ]
        kept = sum(each.asks - each.holds for each in earlier)
        if more <= 0 or held + kept + more <= self.limit:
            return ""
        has = [each for each in self.shares if each.holds or each in earlier]
        return self._words(has, more, held + kept)

    def _before(self, kind: str, name: str) -> list[Share]:
        ordered = sorted(self.shares, key=lambda each: each.seniority)
        at = [(each.kind, each.name) for each in ordered]
        return ordered[: at.index((kind, name))] if (kind, name) in at else ordered

    def _words(self, others: Iterable[Share], asked: int, used: int) -> str:
        users = sorted((each for each in others if each.counts), key=lambda each: -each.counts)
        by = ", ".join(map(str, users[:_SHOWN]))
        if len(users) > _SHOWN:
            by += f" and {len(users) - _SHOWN} more"
        used_by = f"{used} are used ({by})" if used else "none is used"
        return (
            f'namespace "{self.namespace}" may have {_gpus(self.limit)} ({self.origin}): {used_by},'
            f" and {asked} more are asked for; ask for fewer, delete what is not needed, or have"
            f" the quota raised: {raising(self.namespace, used + asked)}"
        )

    def unknown(self, instance_type: str) -> str:
        """Why a machine that nobody can count is not to be had."""
        return (
            f'nobody knows how many GPUs instance type "{instance_type}" has, and namespace'
            f' "{self.namespace}" may have {_gpus(self.limit)} ({self.origin}); choose a type of'
            " the catalogue"
        )


def limit(
    namespace: str, annotations: Mapping[str, str], default: int | None
) -> tuple[int, str] | None:
    """The quota and where it comes from; None where there is none. Raises QuotaError."""
    given = annotations.get(GPU_QUOTA_ANNOTATION)
    if given is None:
        return None if default is None else (default, "the installation's gpuQuota.default")
    text = given.strip()
    found = quantity.count(text) if len(text) <= _MOST_DIGITS else None
    if found is None:
        raise QuotaError(
            f'namespace "{namespace}": annotation {GPU_QUOTA_ANNOTATION} is "{given[:40]}", which'
            " is no whole number, so nobody knows how many GPUs it may have; correct it:"
            f" {raising(namespace, 8)}"
        )
    return found, f"annotation {GPU_QUOTA_ANNOTATION}"


def raising(namespace: str, to: float) -> str:
    """The command for whoever may edit the namespace."""
    number = math.ceil(to)
    return f"kubectl annotate namespace {namespace} {GPU_QUOTA_ANNOTATION}={number} --overwrite"


def _gpus(count: int) -> str:
    return "no GPU" if count == 0 else "1 GPU" if count == 1 else f"{count} GPUs"
