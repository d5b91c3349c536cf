"""The algebra of node selector requirements, as Karpenter's scheduler has it.

A requirement is a set of label values: a finite one (`In`), or all values but some (`NotIn`,
`Exists`), possibly between integer bounds (`Gt`, `Lt`, `Gte`, `Lte`). Several requirements on
one key intersect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from apis.karpenter.v1.labels import NORMALIZED_LABELS, WELL_KNOWN_LABELS


class Selector(Protocol):
    """What a requirement is made from: the API's type, or anything like it."""

    @property
    def key(self) -> str: ...
    @property
    def operator(self) -> str: ...
    @property
    def values(self) -> Iterable[str]: ...
    @property
    def min_values(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class _Values:
    """`listed`, or all but `listed` where `complement`; bounds include their ends."""

    complement: bool
    listed: frozenset[str]
    at_least: int | None = None
    at_most: int | None = None

    def __contains__(self, value: str) -> bool:
        return (value in self.listed) != self.complement and self._within(value)

    def __and__(self, other: _Values) -> _Values:
        low = _pick(max, self.at_least, other.at_least)
        high = _pick(min, self.at_most, other.at_most)
        if low is not None and high is not None and low > high:
            return _Values(False, frozenset())
        if self.complement and other.complement:
            return _Values(True, self.listed | other.listed, low, high)
        finite = other if self.complement else self
        return _Values(False, frozenset(v for v in finite.listed if v in self and v in other))

    @property
    def empty(self) -> bool:
        if not self.complement:
            return not self.listed
        if self.at_least is None or self.at_most is None:
            return False
        refused = {int(value) for value in self.listed if self._within(value)}
        return len(refused) > self.at_most - self.at_least

    def _within(self, value: str) -> bool:
        if self.at_least is None and self.at_most is None:
            return True
        try:
            number = int(value)
        except ValueError:
            return False
        low = self.at_least is None or number >= self.at_least
        return low and (self.at_most is None or number <= self.at_most)


def _pick(choose: Callable[[Iterable[int]], int], *bounds: int | None) -> int | None:
    given = [bound for bound in bounds if bound is not None]
    return choose(given) if given else None


_BOUNDS: Mapping[str, Callable[[int], tuple[int | None, int | None]]] = {
    "Gt": lambda bound: (bound + 1, None),
    "Gte": lambda bound: (bound, None),
    "Lt": lambda bound: (None, bound - 1),
    "Lte": lambda bound: (None, bound),
}


def _set_of(operator: str, values: Iterable[str]) -> _Values:
    listed = frozenset(values)
    if operator in ("In", "DoesNotExist"):
        return _Values(False, listed if operator == "In" else frozenset())
    if operator in ("NotIn", "Exists"):
        return _Values(True, listed if operator == "NotIn" else frozenset())
    if operator not in _BOUNDS:
        raise ValueError(f"unknown operator {operator!r}")
    if len(listed) != 1:
        raise ValueError(f"operator {operator} takes one integer, not {sorted(listed)}")
    return _Values(True, frozenset(), *_BOUNDS[operator](int(next(iter(listed)))))


class Requirement:
    """What one label may be. Raises ValueError for an operator or bound that is none."""

    __slots__ = ("_set", "key", "min_values")

    def __init__(
        self, key: str, operator: str, values: Iterable[str] = (), min_values: int | None = None
    ) -> None:
        self.key = NORMALIZED_LABELS.get(key, key)
        self.min_values = min_values
        """How many values must remain to choose from (Karpenter's flexibility, alpha)."""
        self._set = _set_of(operator, values)

    @property
    def operator(self) -> str:
        """What it comes to: bounds alone are `Exists`, nothing left is `DoesNotExist`."""
        if self._set.complement:
            return "NotIn" if self._set.listed else "Exists"
        return "In" if self._set.listed else "DoesNotExist"

    @property
    def values(self) -> frozenset[str]:
        """The values listed: those allowed of `In`, those refused of `NotIn`."""
        return self._set.listed

    @property
    def empty(self) -> bool:
        """Whether no value whatever satisfies it, as of `DoesNotExist`."""
        return self._set.empty

    def has(self, value: str) -> bool:
        return value in self._set

    def intersection(self, other: Requirement) -> Requirement:
        both = Requirement(self.key, "Exists", min_values=_larger(self, other))
        both._set = self._set & other._set
        return both

    def intersects(self, other: Requirement) -> bool:
        """Whether some value satisfies both, or both are content with none."""
        absent = ("NotIn", "DoesNotExist")
        if self.operator in absent and other.operator in absent:
            return True
        return not (self._set & other._set).empty

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Requirement) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    def __repr__(self) -> str:
        bounds = [
            f"{sign}{bound}"
            for sign, bound in ((">=", self._set.at_least), ("<=", self._set.at_most))
            if bound is not None
        ]
        shown = ", ".join([*sorted(self.values)[:5], *bounds])
        return f"{self.key} {self.operator} [{shown}]"

    @property
    def _identity(self) -> tuple[Any, ...]:
        return (self.key, self._set, self.min_values)


def _larger(one: Requirement, other: Requirement) -> int | None:
    return _pick(max, one.min_values, other.min_values)


class Requirements:
    """Requirements by key. A key that nobody mentioned may have any value, or none."""

    __slots__ = ("_by_key",)

    def __init__(self, requirements: Iterable[Requirement] = ()) -> None:
        self._by_key: dict[str, Requirement] = {}
        for new in requirements:
            old = self._by_key.get(new.key)
            self._by_key[new.key] = new if old is None else old.intersection(new)

    @classmethod
    def of(cls, selectors: Iterable[Selector]) -> Requirements:
        return cls(Requirement(s.key, s.operator, s.values, s.min_values) for s in selectors)

    @classmethod
    def of_labels(cls, labels: Mapping[str, str]) -> Requirements:
        return cls(Requirement(key, "In", (value,)) for key, value in labels.items())

    def __iter__(self) -> Iterator[Requirement]:
        return iter(self._by_key.values())

    def __len__(self) -> int:
        return len(self._by_key)

    def __contains__(self, key: object) -> bool:
        return key in self._by_key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Requirements) and self._by_key == other._by_key

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Requirements({', '.join(map(repr, self))})"

    def get(self, key: str) -> Requirement:
        """What is asked of the key; any value (`Exists`) where nothing is."""
        key = NORMALIZED_LABELS.get(key, key)
        return self._by_key.get(key) or Requirement(key, "Exists")

    def union(self, other: Iterable[Requirement]) -> Requirements:
        """Both asked at once."""
        return Requirements([*self, *other])

    def labels(self) -> dict[str, str]:
        """The labels that are already decided: `In` with a single value."""
        return {
            each.key: next(iter(each.values))
            for each in self
            if each.operator == "In" and len(each.values) == 1
        }

    def conflict(self, other: Requirements) -> str:
        """The first key on which both speak and no value pleases both; empty where none."""
        for asked in other:
            if asked.key in self._by_key and not self._by_key[asked.key].intersects(asked):
                return f"{asked!r} is incompatible with {self._by_key[asked.key]!r}"
        return ""

    def intersects(self, other: Requirements) -> bool:
        return not self.conflict(other)

    def incompatibility(
        self, asked: Requirements, *, well_known: frozenset[str] = WELL_KNOWN_LABELS
    ) -> str:
        """Why a thing with these labels (an instance type, a pool) does not meet `asked`.

        A well-known label that the thing does not define may turn out as anything; another
        cannot be promised, so only `NotIn` and `DoesNotExist` are met by its absence.
        """
        for each in asked:
            known = each.key in self._by_key or each.key in well_known
            if not known and each.operator not in ("NotIn", "DoesNotExist"):
                return f'label "{each.key}" does not have known values'
        return self.conflict(asked)

    def compatible(
        self, asked: Requirements, *, well_known: frozenset[str] = WELL_KNOWN_LABELS
    ) -> bool:
        return not self.incompatibility(asked, well_known=well_known)
