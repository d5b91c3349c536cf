"""A reason that a page tells people to look for is one that they may see, on that kind."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests import conditions
from tests.docs.pages import ROOT, Page

PAGES = [*sorted((ROOT / "docs/how-to").glob("*.md")), ROOT / "docs/troubleshooting.md"]
OTHERS = {
    "DisruptionInitiated": "an event of Karpenter itself",
    "StaticCapacity": "a feature gate of Karpenter",
}
"""Words that nothing of ours says."""
_WORD = re.compile(r"[A-Z]\w*[a-z]\w*[A-Z]\w*")
_RAG_ENGINES = re.compile("ServiceReady|RAGEngine.*")
_WORKSPACES = re.compile("InferenceReady|JobStarted|BenchmarkCompleted|NodesReady|Workspace.*")
_SOURCES = ("apis", "cloudproviders", "gpu_provisioner")


@dataclass(frozen=True)
class Told:
    """A word in back-ticks, and the sentences that it stands in."""

    where: str
    word: str
    context: str


def told(page: Page) -> Iterator[Told]:
    line = 0
    for token in page.tokens:
        line = token.map[0] + 1 if token.map else line
        for child in token.children or ():
            for word in re.split(r"[\s=:,]+", child.content if child.type == "code_inline" else ""):
                if _WORD.fullmatch(word):
                    yield Told(f"{page.path.name}:{line}", word, token.content)


def wrong(each: Told) -> str:
    """What is wrong with the word there; "" where nothing is, or nobody can tell."""
    table = conditions.table()
    kinds = [kind for row in table.conditions if row.said == each.word for kind in row.of]
    if kinds:
        for mine, name, other in (
            (_RAG_ENGINES, "RAGEngine", "Workspace"),
            (_WORKSPACES, "Workspace", "RAGEngine"),
        ):
            theirs = all(mine.fullmatch(kind) for kind in kinds)
            if theirs and other in each.context and name not in each.context:
                return f"{each.word} is said of a {name}, and never of a {other}"
        return ""
    known = {row.said for row in table.shown} | {kind for row in table.shown for kind in row.of}
    if each.word in known | conditions.of_provisioners() | OTHERS.keys() or _in_code(each.word):
        return ""
    return f"nothing says {each.word}"


def _in_code(word: str) -> bool:
    """An event of the provisioner, a code of a cloud, a kind: whatever is written there as such."""
    quoted = f'"{word}"'
    return any(
        quoted in path.read_text() for part in _SOURCES for path in (ROOT / part).rglob("*.py")
    )


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_every_reason_is_one_that_may_be_seen(path):
    assert not [f"{each.where}: {why}" for each in told(Page(path)) if (why := wrong(each))]


def test_there_are_reasons_on_these_pages():
    assert len({each.word for path in PAGES for each in told(Page(path))}) > 20


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("the Workspace says `PodCreationFailed`", "never of a Workspace"),
        ("a RAGEngine says `JobStarted=False TuningOutOfMemory`", "never of a RAGEngine"),
        ("the RAGEngine of a Workspace says `PodCreationFailed`", ""),
        ("it says `PodCreationFailed`", ""),
        ("the Workspace says `ResourceQuotaExceeded`", ""),
        ("it says `ResourceQuotaExeeded`", "nothing says ResourceQuotaExeeded"),
    ],
)
def test_what_is_not_so_is_told(text, said, tmp_path):
    file = tmp_path / "page.md"
    file.write_text(text)
    found = [why for each in told(Page(file)) if (why := wrong(each))]
    assert (said in found[0]) if said else not found
