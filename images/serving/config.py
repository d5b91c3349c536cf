"""The user's `inference_config.yaml`: one map of options an engine, each option a flag.

The options come after the command line, so that the file wins, as it does with KAITO's images.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from apis import engineoptions

_SWITCHES = {"true": True, "false": False}


class ConfigError(Exception):
    """The file cannot be used; the message is for the user, in one line."""


def load(path: Path, *, disaggregated: bool = False) -> Mapping[str, Any]:
    """The whole file, keys at the top in one spelling; empty where it holds nothing.

    ConfigError where it is no map of YAML, and for all that admission refuses: without the
    webhook, and when the file changes later, this is the last place to say so.
    """
    try:
        text = path.read_text()
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        found = yaml.safe_load(text)
    except OSError as error:
        raise ConfigError(f"cannot read the config file {path}: {error.strerror}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"the config file {path} is not YAML: {_one_line(error)}") from error
    wrong = [
        *engineoptions.repeated(node),
        *engineoptions.complaints(found, disaggregated=disaggregated),
    ]
    if wrong:
        raise ConfigError(f"the config file {path}: {'; '.join(wrong)}")
    return {engineoptions.top(key): value for key, value in (found or {}).items()}


def section(config: Mapping[str, Any], engine: str) -> Mapping[str, Any]:
    """The engine's own map, such as `vllm:`; empty where there is none."""
    found = config.get(engine)
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise ConfigError(f"`{engine}` in the config file must be a map of options")
    return found


def flags(options: Mapping[str, Any]) -> list[str]:
    """Options as flags: `--key=value`; a switch as `--key` or `--no-key`; maps and lists as JSON.

    ConfigMaps hold strings, so the texts true and false switch as well. Under a dotted key they
    stay values: `compilation-config.level` sets a field of a map.
    """
    found = []
    for key, value in options.items():
        name = str(key).strip().lstrip("-").replace("_", "-") if "." not in str(key) else str(key)
        switch = value if isinstance(value, bool) else _SWITCHES.get(str(value).strip().lower())
        if "." not in name and switch is not None:
            found.append(f"--{name}" if switch else f"--no-{name}")
        elif value is None or value == "":
            found.append(f"--{name}")
        elif isinstance(value, Mapping | list):
            found.append(f"--{name}={json.dumps(value, separators=(',', ':'))}")
        else:
            found.append(f"--{name}={value}")
    return found


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
