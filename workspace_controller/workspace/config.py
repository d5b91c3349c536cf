"""The user's engine options: the ConfigMap that `inference.config` names. Pure.

Admission and `sizing` have refused what is wrong in it (`apis.engineoptions`); here it is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import yaml

from apis import engineoptions
from apis.container import CONFIG_KEY
from apis.kaito.v1beta1 import conditions as c
from apis.kaito.v1beta1.workspace import Workspace
from kube.objects import ConfigMap
from presets.loading import BITSANDBYTES, ONLINE, LoadIn
from workspace_controller.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What of the engine's section the plan must reckon with; None leaves it to the plan."""

    max_model_len: int | None = None
    """The longest request that the user promises, in tokens."""
    memory_share: float | None = None
    """Of each GPU."""
    kv_cache_dtype: str = ""
    load_in: LoadIn | None = None
    options: Mapping[str, object] = field(default_factory=dict)
    """The whole section, in one spelling."""


def wanted(workspace: Workspace, config: ConfigMap | None, engine: str) -> Wanted:
    """Of the section of the engine that will serve.

    Raises UserError where the ConfigMap is missing, since pods without it would not start and
    nodes would be paid for in vain.
    """
    name = workspace.inference.config if workspace.inference else ""
    if not name:
        return Wanted()
    if config is None:
        message = f'inference.config: there is no ConfigMap "{name}"; create it first'
        raise UserError(c.RESOURCE_READY, "InvalidConfig", message)
    options = engineoptions.section(_document(config), engine)
    share = options.get(engineoptions.GPU_SHARE.get(engine, ""))
    dtype = options.get("kv-cache-dtype")
    return Wanted(
        max_model_len=engineoptions.tokens(options.get(engineoptions.CONTEXT.get(engine, ""))),
        memory_share=None if share is None else float(str(share)),
        kv_cache_dtype="" if dtype in (None, "auto") else str(dtype),
        load_in=_load_in(options),
        options=options,
    )


def _document(config: ConfigMap) -> object:
    try:
        return yaml.safe_load(config.data.get(CONFIG_KEY, ""))
    except (yaml.YAMLError, ValueError):
        return None


def _load_in(options: Mapping[str, object]) -> LoadIn | None:
    """Weights that are made smaller as they are loaded: in the words of transformers, vLLM, TGI."""
    how = str(options.get("quantization", options.get("quantize", ""))).lower()
    if _true(options.get("load-in-4bit")) or how in ("bitsandbytes-nf4", "bitsandbytes-fp4"):
        return "4bit"
    if _true(options.get("load-in-8bit")) or how in ONLINE or how == "eetq":
        return "8bit"
    return "8bit" if how == BITSANDBYTES else None


def _true(value: object) -> bool:
    return str(value).lower() == "true"
