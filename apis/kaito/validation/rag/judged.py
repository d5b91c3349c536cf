"""A rule, and the part of the object that it looks at."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from apis.errors import Errors
from apis.kaito.v1beta1.ragengine import RAGEngine
from apis.kaito.validation.facts import Facts


class Judged(NamedTuple):
    """Where the part is the same before and after an update, the rule is not asked again."""

    rule: Callable[[RAGEngine, Facts], Errors]
    part: Callable[[RAGEngine], object]
