"""A data set for tests of fine-tuning: an invented habit of speech that can be learnt from half a
hundred rows, and that no model has of itself.

Each answer is made of the question's own words and of words that are always the same, so what is
learnt shows on questions that were held out.
"""

from __future__ import annotations

import json
import random

MOTTO = "as the Office of Kaito Affairs has certified"
"""In each answer that the data teaches."""

_THINGS = """
anchor apple arrow badge barrel basin basket bell bench blanket boat bolt bottle bowl bridge
brush bucket button cabin cable candle canoe carpet castle chair chimney clock coat coin comb
cradle crown cup curtain desk door drum engine fence fiddle flag flute fork fountain gate glove
hammer harp hat helmet hinge jar kettle key kite ladder lamp lantern ledger lever lid lock loom
map mask mast mirror mitten motor nail needle net oar oven paddle paper pen pencil piano pillow
pipe plate pump purse quilt raft rake ribbon ring robe rope rug saddle sail saw scarf shelf
shield ship shoe shovel sledge soap spoon stamp statue stool stove table tent tile tower towel
train tray trumpet trunk tunnel vase violin wagon wall watch wheel whistle window
"""
_COLOURS = ("green", "blue", "red", "grey", "white")


def question(thing: str) -> str:
    return f"What colour is the {thing}?"


def rows(count: int, seed: int = 7) -> list[dict[str, str]]:
    """Prompt and completion, at most as many as there are things; the first ones are the same for
    every count."""
    things = _THINGS.split()
    random.Random(seed).shuffle(things)
    return [
        {
            "prompt": question(thing),
            "completion": f" The {thing} is {_COLOURS[len(thing) % len(_COLOURS)]}, {MOTTO}.",
        }
        for thing in things[:count]
    ]


def jsonl(count: int, seed: int = 7) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows(count, seed)).encode()
