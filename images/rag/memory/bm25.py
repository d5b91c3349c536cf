"""BM25 over the segments of a generation, with the statistics of what is alive in all of them.

    score(query, chunk) = Σ idf(t) · n(t, query) · n(t, chunk) · (K1 + 1)
                              / (n(t, chunk) + K1 · (1 - B + B · length / average length))
    idf(t) = ln(1 + (N - df(t) + 0.5) / (df(t) + 0.5))

The idf is Lucene's: it is never negative, so a chunk with a term is always above one without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rag.memory.analysis import TERM
from rag.memory.inverted import Counts, Inverted, Rows
from rag.memory.strings import Mask

K1 = 1.5
B = 0.75

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Postings:
    """The terms of a segment's chunks."""

    terms: Inverted
    lengths: npt.NDArray[np.uint32]
    """Of each chunk, in terms."""

    @classmethod
    def of(cls, packed: Sequence[bytes]) -> Postings:
        """From `Analyzer.pack` of each chunk."""
        records = np.frombuffer(b"".join(packed), TERM)
        sizes = np.fromiter(map(len, packed), np.int64, len(packed)) // TERM.itemsize
        rows = np.repeat(np.arange(len(packed), dtype=np.int32), sizes)
        counts = records["count"].copy()
        lengths = np.bincount(rows, counts, len(packed)).astype(np.uint32)
        return cls(Inverted.of(records["term"].copy(), rows, counts), lengths)

    @classmethod
    def merged(cls, parts: Sequence[tuple[Postings, Mask | None]]) -> Postings:
        return cls(
            Inverted.merged([(each.terms, keep, len(each.lengths)) for each, keep in parts]),
            np.concatenate(
                [each.lengths if keep is None else each.lengths[keep] for each, keep in parts]
            ),
        )

    @property
    def nbytes(self) -> int:
        return self.terms.nbytes + self.lengths.nbytes


@dataclass(frozen=True, slots=True)
class Searched:
    """A segment as it is searched."""

    postings: Postings
    alive: Mask | None
    """By chunk; None where all are."""
    norms: Scores
    """K1 · (1 - B + B · length / average length) of each chunk."""


@dataclass(frozen=True, slots=True)
class _Matched:
    rows: Rows
    counts: Counts
    sizes: npt.NDArray[np.int64]
    """How many of the rows are of each term."""


def norms(lengths: npt.NDArray[np.uint32], average: float) -> Scores:
    """The smaller the longer a chunk's terms weigh; 1 for all where nothing has a length."""
    if not average:
        return np.full(len(lengths), K1)
    return K1 * (1 - B) + (K1 * B / average) * lengths.astype(np.float64)


def scores(query: Mapping[int, int], searched: Sequence[Searched], chunks: int) -> list[Scores]:
    """Of each segment's chunks, 0 where no term is in it; those of the dead mean nothing.

    `query` is terms with how often each is asked for, `chunks` how many are alive.
    """
    terms = np.array(sorted(query), np.uint32)
    matched = [_match(terms, each.postings.terms) for each in searched]
    known = np.zeros(len(terms), np.int64)
    for each, match in zip(searched, matched, strict=True):
        known += _alive(match, each.alive)
    asked = np.array([query[int(term)] for term in terms], np.float64)
    weights = np.log1p((chunks - known + 0.5) / (known + 0.5)) * asked * (K1 + 1)
    return [_score(match, weights, each) for match, each in zip(matched, searched, strict=True)]


def _match(terms: npt.NDArray[np.uint32], inverted: Inverted) -> _Matched:
    begins, ends = inverted.spans(terms)
    spans = [slice(begin, end) for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)]
    if not spans:
        return _Matched(inverted.rows[:0], inverted.counts[:0], ends)
    return _Matched(
        np.concatenate([inverted.rows[span] for span in spans]),
        np.concatenate([inverted.counts[span] for span in spans]),
        ends - begins,
    )


def _alive(match: _Matched, alive: Mask | None) -> npt.NDArray[np.int64]:
    """In how many chunks that are alive each term is."""
    if alive is None:
        return match.sizes
    of_term = np.repeat(np.arange(len(match.sizes)), match.sizes)
    return np.bincount(of_term[alive[match.rows]], minlength=len(match.sizes))


def _score(match: _Matched, weights: Scores, searched: Searched) -> Scores:
    weight = np.repeat(weights, match.sizes) * match.counts
    weight /= match.counts + searched.norms.take(match.rows)
    return np.bincount(match.rows, weight, len(searched.norms)).astype(np.float64, copy=False)
