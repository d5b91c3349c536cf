"""llama.cpp: which adapter a request is for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from serving.llamacpp import selection
from serving.llamacpp.files import Adapter

KNOWN = (Adapter("legal", Path("legal.gguf")), Adapter("style", Path("style.gguf"), 0.5))


@pytest.mark.parametrize(
    ("asked", "lora"),
    [
        pytest.param({"model": "legal"}, [{"id": 0, "scale": 1.0}], id="an-adapter"),
        pytest.param({"model": "style"}, [{"id": 1, "scale": 0.5}], id="with-its-strength"),
        pytest.param({"model": "gemma"}, [{"id": 0, "scale": 0.0}], id="the-model"),
        pytest.param({}, [{"id": 0, "scale": 0.0}], id="no-name"),
        pytest.param({"lora": []}, [{"id": 0, "scale": 0.0}], id="says-nothing"),
        pytest.param(
            {"model": "legal", "lora": [{"id": 1, "scale": 2}]},
            [{"id": 1, "scale": 2}],
            id="llamacpps-own-words-win",
        ),
    ],
)
def test_the_name_selects(asked: dict[str, Any], lora: list[Any]) -> None:
    """Each request says it: llama.cpp keeps an adapter's keys and values for one that does not."""
    found = json.loads(selection.selected(json.dumps({"prompt": "a", **asked}).encode(), KNOWN))
    assert found == {"prompt": "a", **asked, "lora": lora}


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"\xff"])
def test_what_is_no_object_is_left_alone(body: bytes) -> None:
    assert selection.selected(body, KNOWN) == body


def test_adapters_are_listed_behind_their_model() -> None:
    model = {"id": "gemma", "object": "model", "created": 5, "owned_by": "llamacpp", "meta": {}}
    found = selection.listed({"object": "list", "data": [model], "models": []}, KNOWN)
    assert [(each["id"], each.get("parent")) for each in found["data"]] == [
        ("gemma", None),
        ("legal", "gemma"),
        ("style", "gemma"),
    ]
    assert (found["object"], found["data"][1]["object"]) == ("list", "model")
