"""Where a user asks for the weights to come from: the annotations, read. Pure.

`kaito.sh/model-weights` is a URL: `hf://owner/model@commit`, `oci://registry/name@sha256:…/path`,
`pvc://claim/path` or `node://`; `kaito.sh/use-local-weights: "true"` is the last by KAITO's name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from apis.errors import one_of
from apis.kaito import grammar
from apis.kaito.v1beta1.labels import (
    MODEL_WEIGHTS_ANNOTATION,
    MODEL_WEIGHTS_PULL_SECRETS_ANNOTATION,
    USE_LOCAL_WEIGHTS_ANNOTATION,
)
from oci import addresses

SCHEMES = ("hf://", "oci://", "pvc://", "node://")

_SEGMENT = re.compile(r"[A-Za-z0-9_@+=][A-Za-z0-9_.@+=-]*")
_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9][A-Za-z0-9_.-]*")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_NAME = re.compile(
    r"(?P<host>[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]{1,5})?)"
    r"(/[a-z0-9]+([._-]+[a-z0-9]+)*)+(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?"
)
_DIGEST = re.compile(r"(?P<digest>sha256:[0-9a-f]{64})(/(?P<path>.+))?")


class WeightsError(ValueError):
    """The annotation cannot be followed; `annotation` is its key."""

    def __init__(self, annotation: str, message: str) -> None:
        super().__init__(message)
        self.annotation = annotation


@dataclass(frozen=True, slots=True)
class Hub:
    """Hugging Face. Empty: the preset's own repository, at the preset's commit."""

    repository: str = ""
    commit: str = ""


@dataclass(frozen=True, slots=True)
class Image:
    """An image or artifact of a registry; `reference` has the digest in it."""

    reference: str
    digest: str
    path: str = ""
    """A directory in it; empty is all of it."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A PersistentVolumeClaim of the Workspace's namespace."""

    name: str
    path: str = ""


@dataclass(frozen=True, slots=True)
class OnNode:
    """The preset's directory under /opt/kaito/models."""


Asked: TypeAlias = Hub | Image | Claim | OnNode


def asked(annotations: Mapping[str, str]) -> Asked:
    """What the annotations say; WeightsError where they say nothing that holds."""
    url = annotations.get(MODEL_WEIGHTS_ANNOTATION, "")
    local = annotations.get(USE_LOCAL_WEIGHTS_ANNOTATION) == "true"
    if MODEL_WEIGHTS_ANNOTATION not in annotations:
        return OnNode() if local else Hub()
    found = _parse(url)
    if local and not isinstance(found, OnNode):
        raise WeightsError(
            MODEL_WEIGHTS_ANNOTATION,
            f'"{url}" contradicts annotation {USE_LOCAL_WEIGHTS_ANNOTATION}=true; keep one of both',
        )
    return found


def pull_secrets(annotations: Mapping[str, str]) -> tuple[str, ...]:
    """The Secrets that the annotation names."""
    given = annotations.get(MODEL_WEIGHTS_PULL_SECRETS_ANNOTATION, "")
    names = [name.strip() for name in given.split(",") if name.strip()]
    for name in names:
        if not grammar.is_subdomain(name):
            raise WeightsError(
                MODEL_WEIGHTS_PULL_SECRETS_ANNOTATION,
                f'"{name}" is no name of a Secret; write names separated by commas',
            )
    return tuple(dict.fromkeys(names))


def _parse(url: str) -> Asked:
    scheme, separator, rest = url.partition("://")
    if scheme == "hf" and separator:
        return _hub(url, rest)
    if scheme == "oci" and separator:
        return _image(url, rest)
    if scheme == "pvc" and separator:
        return _claim(url, rest)
    if url == "node://":
        return OnNode()
    if scheme == "node" and separator:
        raise _refusal(
            url, "names more than the node; node:// alone means /opt/kaito/models/<preset>"
        )
    raise _refusal(url, f"is no source of weights; it must start with {one_of(SCHEMES)}")


def _hub(url: str, rest: str) -> Hub:
    repository, _, commit = rest.partition("@")
    if not _REPOSITORY.fullmatch(repository):
        raise _refusal(url, "names no repository; write hf://owner/model@commit")
    if not _COMMIT.fullmatch(commit):
        raise _refusal(
            url,
            "pins no commit, so what is served could change from pod to pod; append @ and the 40"
            f" hexadecimal digits that `git ls-remote https://huggingface.co/{repository} main`"
            " prints",
        )
    return Hub(repository, commit)


def _image(url: str, rest: str) -> Image:
    name, _, pinned = rest.partition("@")
    named = _NAME.fullmatch(name)
    if named is None:
        raise _refusal(
            url, "names no image; write oci://registry/name:tag@sha256:…, the name in lower case"
        )
    host = named["host"]
    if "." not in host and ":" not in host and host != "localhost":
        raise _refusal(url, f'names no registry; write oci://docker.io/{name} if "{host}" is there')
    if addresses.is_metadata(host):
        raise _refusal(url, "leads to where the cloud tells its machines their secrets")
    match = _DIGEST.fullmatch(pinned)
    if match is None:
        raise _refusal(
            url,
            "names no digest, so what is served could change from pod to pod; append @sha256:… and"
            f" the 64 hexadecimal digits that `crane digest {name}` or `oras resolve {name}`"
            " prints",
        )
    return Image(f"{name}@{match['digest']}", match["digest"], _path(url, match["path"] or ""))


def _claim(url: str, rest: str) -> Claim:
    name, _, path = rest.partition("/")
    if not grammar.is_subdomain(name):
        raise _refusal(url, "names no PersistentVolumeClaim; write pvc://claim or pvc://claim/path")
    return Claim(name, _path(url, path))


def _path(url: str, path: str) -> str:
    """Relative, without empty or dotted parts: it becomes a subPath."""
    path = path.removesuffix("/")
    if path and not all(_SEGMENT.fullmatch(part) for part in path.split("/")):
        raise _refusal(
            url,
            f'has the path "{path}", whose parts must begin with a letter, a digit or one of _@+='
            " and may go on with . and -",
        )
    return path


def _refusal(url: str, why: str) -> WeightsError:
    return WeightsError(MODEL_WEIGHTS_ANNOTATION, f'"{url}" {why}')
