"""Where data may come from and go to: URLs that reach outside, and image references."""

from __future__ import annotations

import re

from apis.errors import Errors, FieldError
from apis.kaito import grammar, messages
from oci import addresses


def url_refusal(url: str) -> str:
    """Why data may not be fetched from there, or nothing. Names are not resolved."""
    try:
        target = addresses.target(url)
    except addresses.NoTargetError as error:
        return str(error)
    if target.internal or target.metadata:
        return f"points into the cluster's own network ({target.host})"
    return ""


def service_refusal(url: str) -> str:
    """Why no service of ours may send requests there, or nothing. Services of the cluster have
    private addresses; where a cloud tells its machines their secrets is no service."""
    try:
        target = addresses.target(url)
    except addresses.NoTargetError as error:
        return str(error)
    if target.metadata:
        return f"leads to where the cloud tells its machines their secrets ({target.host})"
    return ""


def registry_refusal(image: str) -> str:
    """Why no pod of ours may ask the registry of an image, or nothing. One on the node itself is
    some clusters' mirror."""
    host, slash, _ = image.partition("/")
    if slash and ("." in host or ":" in host) and addresses.is_metadata(host):
        return f"leads to where the cloud tells its machines their secrets ({host})"
    return ""


def shown(url: str) -> str:
    """For a message: without user and password, whatever else is wrong with it."""
    return re.sub(r"//[^/]*@", "//", url)


def image_errors(path: str, image: str) -> Errors:
    """What is wrong with an image reference; nothing where none is given."""
    if image and not grammar.is_(grammar.IMAGE, image):
        yield FieldError(path, messages.IMAGE)
    if len(image) > grammar.MAX_IMAGE:
        yield FieldError(path, messages.IMAGE_LENGTH)
    if refusal := registry_refusal(image):
        yield FieldError(path, f'"{image}" {refusal}')


def hugging_face_errors(path: str, repository: str) -> Errors:
    """What is wrong with a repository of Hugging Face; nothing where none is given."""
    if repository and not grammar.is_(grammar.HUGGING_FACE, repository):
        yield FieldError(path, messages.HUGGING_FACE)
