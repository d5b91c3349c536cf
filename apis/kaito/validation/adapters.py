"""Rules on the adapters that are served beside a model."""

from __future__ import annotations

from collections import Counter

from apis.errors import Errors, FieldError
from apis.kaito import grammar, messages
from apis.kaito.v1beta1.workspace import AdapterSpec, DataSource, Workspace
from apis.kaito.validation.facts import Facts
from apis.kaito.validation.sources import hugging_face_errors, image_errors

_PATH = "inference.adapters"


def adapters(workspace: Workspace, _: Facts) -> Errors:
    """W-C22, and W-U10 already at creation: later would be too late to mend it."""
    given = workspace.inference.adapters if workspace.inference else ()
    if len(given) > grammar.MAX_ADAPTERS:
        yield FieldError(_PATH, messages.MANY_ADAPTERS)
    names = Counter(adapter.source.name for adapter in given if adapter.source)
    if any(times > 1 for times in names.values()):
        yield FieldError(_PATH, messages.ADAPTER_NAMES)
    for at, adapter in enumerate(given):
        yield from _adapter(f"{_PATH}[{at}]", adapter)


def adapters_changed(old: Workspace, new: Workspace, facts: Facts) -> Errors:
    """W-U10."""
    if old.inference and new.inference and old.inference.adapters != new.inference.adapters:
        yield from adapters(new, facts)


def _adapter(path: str, adapter: AdapterSpec) -> Errors:
    if adapter.source is None:
        yield FieldError(f"{path}.source", messages.ADAPTER_SOURCE)
    else:
        yield from _source(f"{path}.source", adapter.source)
    if adapter.strength is not None and not _share(adapter.strength):
        yield FieldError(f"{path}.strength", messages.STRENGTH)


def _source(path: str, source: DataSource) -> Errors:
    if not grammar.is_subdomain(source.name):
        yield FieldError(f"{path}.name", messages.ADAPTER_NAME)
    given = (bool(source.image), source.volume_source is not None, bool(source.hugging_face))
    if source.urls:
        yield FieldError(f"{path}.urls", messages.ADAPTER_URLS)
    elif given.count(True) != 1:
        yield FieldError(path, messages.ADAPTER_ONE)
    yield from image_errors(f"{path}.image", source.image)
    yield from hugging_face_errors(f"{path}.huggingFace", source.hugging_face)


def _share(text: str) -> bool:
    return grammar.is_(grammar.UNSIGNED_NUMBER, text) and float(text) <= 1.0
