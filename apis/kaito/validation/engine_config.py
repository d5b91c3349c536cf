"""Rules on the content of the ConfigMap that `inference.config` names (W-C23, and ours).

The rules themselves are `apis.engineoptions`, which the serving images carry too; here they meet
YAML and the preset.
"""

from __future__ import annotations

from collections.abc import Iterator

import yaml

from apis import container, engineoptions
from apis.errors import Errors, FieldError
from apis.kaito.v1beta1 import labels
from apis.kaito.v1beta1.workspace import Workspace
from apis.kaito.validation.facts import Facts

PATH = "inference.config"


def engine_config(workspace: Workspace, engine: str, text: str, facts: Facts) -> Errors:
    """`text` is the value of the key inference_config.yaml; `engine` the one that will serve."""
    inference = workspace.inference
    if inference is None:
        return
    where = f'key {container.CONFIG_KEY} of ConfigMap "{inference.config}"'
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        document = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        yield FieldError(PATH, f"{where} is no YAML{line}")
        return
    disaggregated = labels.INFERENCE_ROLE_LABEL in workspace.metadata.labels
    found = [
        *engineoptions.repeated(node),
        *engineoptions.complaints(document, disaggregated=disaggregated),
        *_nested(document),
    ]
    if not found and inference.preset is not None:
        limit = facts.max_model_len(inference.preset.name)
        found += _too_long(document, engine, limit, inference.preset.name)
    for sentence in found:
        yield FieldError(PATH, f"{where}: {sentence}")


def _nested(document: object) -> Iterator[str]:
    """Upstream's images would take them for Python's spelling of a map."""
    for engine in engineoptions.ENGINES:
        for key, value in engineoptions.section(document, engine).items():
            if isinstance(value, dict | list):
                yield f"{engine}.{key} must be a single value; quote JSON as a string"


def _too_long(document: object, engine: str, limit: int | None, preset: str) -> Iterator[str]:
    option = engineoptions.CONTEXT.get(engine, "")
    asked = engineoptions.tokens(engineoptions.section(document, engine).get(option))
    if limit is not None and asked is not None and asked > limit:
        yield (
            f'{engine}.{option} {asked} exceeds the {limit} tokens of preset "{preset}"; lower it'
        )
