"""Which adapter a request is for: our name for it in `model`, llama.cpp's in `lora`. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from serving.llamacpp.files import Adapter

MODELS = frozenset({"/v1/models", "/models"})
FORBIDDEN = ("POST", "/lora-adapters")
"""Changes the answers to everybody's requests."""


def selected(body: bytes, adapters: Sequence[Adapter]) -> bytes:
    """The body with `lora` for what `model` names, an adapter or the model itself.

    Also the model is named, by a scale of 0: llama.cpp compares the adapters of a request with
    those of the cached prompt only where the request has some, and else goes on with keys and
    values that an adapter has made. A `lora` that says something already wins; what is no JSON
    object llama.cpp refuses itself.
    """
    try:
        document = json.loads(body)
    except ValueError:
        return body
    if not isinstance(document, dict) or document.get("lora"):
        return body
    chosen = {"id": 0, "scale": 0.0}
    for number, adapter in enumerate(adapters):
        if adapter.name == document.get("model"):
            chosen = {"id": number, "scale": adapter.strength}
    return json.dumps({**document, "lora": [chosen]}).encode()


def listed(answer: Mapping[str, Any], adapters: Sequence[Adapter]) -> dict[str, Any]:
    """The answer to /v1/models with the adapters behind the model, which is their `parent` as in
    vLLM's."""
    models = list(answer.get("data", []))
    shown = {key: models[0].get(key) for key in ("object", "created", "owned_by")} if models else {}
    parent = models[0].get("id") if models else None
    more = [{"id": adapter.name, **shown, "parent": parent} for adapter in adapters]
    return {**answer, "data": models + more}
