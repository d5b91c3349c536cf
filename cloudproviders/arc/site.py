"""Which machine sizes a site has."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

from cloudproviders.instancetype import InstanceType
from kube.clock import Clock

BELIEVED_SECONDS = 60 * 60.0


class Site:
    """The catalogue, with `available` False on what this site does not have."""

    def __init__(
        self,
        sizes: Callable[[], Awaitable[Sequence[str]]],
        types: Mapping[str, InstanceType],
        clock: Clock,
    ) -> None:
        self._sizes = sizes
        self._types = types
        self._clock = clock
        self._known: Sequence[InstanceType] = ()
        self._until = float("-inf")

    async def types(self) -> Sequence[InstanceType]:
        """Asked of the site once an hour; what asking raises is raised."""
        if self._clock.monotonic() >= self._until:
            here = {size.casefold() for size in await self._sizes()}
            self._known = tuple(
                each if each.name.casefold() in here else _not_here(each)
                for each in self._types.values()
            )
            self._until = self._clock.monotonic() + BELIEVED_SECONDS
        return self._known


def _not_here(each: InstanceType) -> InstanceType:
    offerings = tuple(replace(offering, available=False) for offering in each.offerings)
    return replace(each, offerings=offerings)
