"""A labelled set of public text that two Debian packages ship: definitions of words, in two
dictionaries that were written a lifetime apart.

Passages are entries of GCIDE (dict-gcide: Webster's of 1913, GPL-3+). Queries are definitions of
WordNet 3.0 (wordnet-base, Princeton's licence) of words that both have once; the one right passage
is GCIDE's entry of that word. The query never contains the word.
"""

from __future__ import annotations

import gzip
import random
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGES = ("dict-gcide", "wordnet-base")
_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_PARTS = ("noun", "verb", "adj", "adv")
_SHORTEST, _LONGEST = 220, 520
"""Characters: about 100 tokens of MiniLM's."""


@dataclass(frozen=True, slots=True)
class Labelled:
    passages: tuple[str, ...]
    queries: tuple[str, ...]
    """The n-th asks for the n-th passage; there are more passages than queries."""


def labelled(cache: Path, passages: int, queries: int) -> Labelled:
    """The same choice at every call; passages beyond what there is once are cut from the longer
    entries."""
    root = _unpacked(cache)
    entries, all_texts = _entries(root)
    asked = _asked(root, entries)
    order = random.Random(1913)
    words = sorted(asked)
    order.shuffle(words)
    words = words[:queries]
    right = [entries[each] for each in words]
    fill = sorted({part for text in all_texts for part in _parts(text)} - set(right))
    order.shuffle(fill)
    texts = right + fill[: passages - len(words)]
    if len(texts) < passages:
        raise ValueError(f"the dictionaries have {len(texts)} passages, not {passages}")
    return Labelled(tuple(texts), tuple(asked[each] for each in words))


def _unpacked(cache: Path) -> Path:
    """By apt, whose packages are signed."""
    place = cache / "dictionaries"
    if not place.exists():
        with tempfile.TemporaryDirectory(dir=cache, prefix=".dictionaries-") as scratch:
            apt = ["apt-get", "-o", "APT::Sandbox::User=root", "download", *PACKAGES]
            subprocess.run(apt, cwd=scratch, check=True, capture_output=True)
            for package in Path(scratch).glob("*.deb"):
                subprocess.run(["dpkg-deb", "-x", package, f"{scratch}/all"], check=True)
            shutil.move(f"{scratch}/all/usr/share", place)
    return place


def _entries(root: Path) -> tuple[dict[str, str], set[str]]:
    """Words that have one entry, with its text, no text twice; and all texts."""
    data = gzip.decompress((root / "dictd/gcide.dict.dz").read_bytes())
    found: dict[str, set[tuple[int, int]]] = {}
    for line in (root / "dictd/gcide.index").read_text(errors="replace").splitlines():
        word, start, length = line.split("\t")[:3]
        found.setdefault(word.lower(), set()).add((_number(start), _number(length)))
    texts: dict[str, str] = {}
    known: set[str] = set()
    for word, places in found.items():
        for start, length in places:
            raw = data[start : start + length].decode(errors="replace")
            text = _clean(raw)
            # GCIDE took some entries from WordNet: they would answer themselves.
            if "WordNet" in raw or len(text) < _SHORTEST or text in known:
                continue
            known.add(text)
            if len(places) == 1:
                texts[word] = text
    return texts, known


def _asked(root: Path, entries: dict[str, str]) -> dict[str, str]:
    """WordNet's definition of each word that has just one, and a passage of the right size."""
    senses: dict[str, set[str]] = {}
    for part in _PARTS:
        for line in (root / f"wordnet/data.{part}").read_text().splitlines():
            if line.startswith("  "):
                continue
            head, _, gloss = line.partition(" | ")
            fields = head.split(" ")
            for at in range(int(fields[3], 16)):
                word = fields[4 + 2 * at].partition("(")[0].lower().replace("_", " ")
                senses.setdefault(word, set()).add(gloss.partition('; "')[0].strip())
    return {
        word: gloss
        for word, text in entries.items()
        if len(text) <= _LONGEST and len(senses.get(word, ())) == 1
        for gloss in senses[word]
        if word not in gloss.lower() and len(gloss) > 30
    }


def _parts(text: str) -> Iterator[str]:
    """Of the usual size, at the ends of words."""
    while len(text) > _LONGEST:
        cut = text.rfind(" ", 0, 370)
        yield text[:cut]
        text = text[cut + 1 :]
    if len(text) >= _SHORTEST:
        yield text


def _clean(text: str) -> str:
    text = re.sub(r"\[[^\]]*(Webster|PJC)[^\]]*\]|\\[^\\]*\\|[{}]", "", text)
    return re.sub(r"\s+", " ", text).strip()


def _number(digits: str) -> int:
    value = 0
    for digit in digits:
        value = value * 64 + _DIGITS.index(digit)
    return value
