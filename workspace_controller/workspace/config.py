"""The user's engine options: the ConfigMap that `inference.config` names. Pure."""

from __future__ import annotations

from typing import Any

import yaml

from apis.container import CONFIG_KEY
from apis.kaito.v1beta1 import conditions as c
from apis.kaito.v1beta1.workspace import Workspace
from kube.objects import ConfigMap
from workspace_controller.errors import UserError


def max_model_len(workspace: Workspace, config: ConfigMap | None) -> int | None:
    """The context that the user promises, in tokens; None where the engine may choose.

    Raises UserError where the ConfigMap is missing, since pods without it would not start and
    nodes would be paid for in vain. What is wrong inside it the admission's rules have said;
    what they let pass for another engine is not a promise.
    """
    name = workspace.inference.config if workspace.inference else ""
    if not name:
        return None
    if config is None:
        message = f'inference.config: there is no ConfigMap "{name}"; create it first'
        raise UserError(c.RESOURCE_READY, "InvalidConfig", message)
    asked = str(_vllm(config).get("max-model-len", "")).strip()
    return int(asked) if asked.isascii() and asked.isdigit() else None


def _vllm(config: ConfigMap) -> dict[str, Any]:
    try:
        document = yaml.safe_load(config.data.get(CONFIG_KEY, ""))
    except yaml.YAMLError:
        return {}
    section = document.get("vllm") if isinstance(document, dict) else None
    return section if isinstance(section, dict) else {}
