"""Where the weights come from: the node itself, or the Hugging Face hub. Pure."""

from __future__ import annotations

from apis.container import local_weights_directory
from apis.kaito.v1beta1.labels import USE_LOCAL_WEIGHTS_ANNOTATION
from apis.kaito.v1beta1.workspace import Workspace


def local_directory(workspace: Workspace) -> str:
    """The directory on the node that holds the preset's weights; empty where they are to be
    downloaded. Named by the preset as the user wrote it, alias or not, as upstream does."""
    preset = workspace.inference.preset if workspace.inference else None
    asked = workspace.metadata.annotations.get(USE_LOCAL_WEIGHTS_ANNOTATION)
    if preset is None or asked != "true":
        return ""
    return local_weights_directory(preset.name)


def access_secret(workspace: Workspace) -> str:
    """The Secret with the user's token for the hub; empty where there is none."""
    preset = workspace.inference.preset if workspace.inference else None
    return preset.preset_options.model_access_secret if preset else ""
