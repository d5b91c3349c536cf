"""A RAGEngine's volume in the forms of both versions, kept the same. Pure.

v1alpha1 has `storage.persistentVolumeClaim` and `mountPath`, v1beta1 has both in
`storage.persistentVolume`. There is no conversion, so that either may be written in either
version, and what is stored must be readable by who knows one form alone. On a change the form that
was changed wins; where both were, and differ, validation refuses it.
"""

from __future__ import annotations

from typing import NamedTuple

from kube.meta import Manifest

_CLAIM, _PATH, _NESTED = "persistentVolumeClaim", "mountPath", "persistentVolume"


class _Volume(NamedTuple):
    claim: str
    path: str


class _Forms(NamedTuple):
    flat: _Volume | None
    nested: _Volume | None


def one_volume(manifest: Manifest, old: Manifest | None) -> Manifest:
    """The manifest with `persistentVolume` wherever there is a claim, in place of what is stored
    (`old`). The flat form is not written where nobody has written it."""
    now, before = _forms(manifest), _forms(old or {})
    old_version = str(manifest.get("apiVersion", "")).endswith("/v1alpha1")
    meant = _meant(now, before, old_version=old_version)
    return manifest if meant == now else _written(manifest, now, meant)


def _meant(now: _Forms, before: _Forms, *, old_version: bool) -> _Forms:
    flat, nested = now
    if nested == before.nested:
        if flat is None and before.flat is None:
            return now
        # The flat form was changed, or nobody has looked at the object yet.
        return _Forms(flat, flat) if flat != before.flat or nested is None else now
    if flat is None or flat != before.flat:
        return now if flat is None or nested is not None else _Forms(flat, flat)
    if nested is None and old_version:
        return _Forms(flat, flat)  # written by a client that knows the flat form alone
    return _Forms(nested, nested)


def _forms(manifest: Manifest) -> _Forms:
    storage = _storage(manifest)
    nested = storage.get(_NESTED)
    return _Forms(_volume(storage), _volume(nested) if isinstance(nested, dict) else None)


def _storage(manifest: Manifest) -> Manifest:
    """Empty where the object is not shaped so, which the schema will tell."""
    spec = manifest.get("spec")
    storage = spec.get("storage") if isinstance(spec, dict) else None
    return storage if isinstance(storage, dict) else {}


def _volume(part: Manifest) -> _Volume | None:
    claim, path = part.get(_CLAIM), part.get(_PATH) or ""
    if not isinstance(claim, str) or not isinstance(path, str) or not claim:
        return None
    return _Volume(claim, path)


def _written(manifest: Manifest, now: _Forms, meant: _Forms) -> Manifest:
    storage = dict(_storage(manifest))
    if meant.flat != now.flat:
        storage = {key: value for key, value in storage.items() if key not in (_CLAIM, _PATH)}
        storage |= _fields(meant.flat)
    if meant.nested != now.nested:
        storage.pop(_NESTED, None)
        if meant.nested is not None:
            storage[_NESTED] = _fields(meant.nested)
    return {**manifest, "spec": {**manifest["spec"], "storage": storage}}


def _fields(volume: _Volume | None) -> Manifest:
    if volume is None:
        return {}
    return {_CLAIM: volume.claim, **({_PATH: volume.path} if volume.path else {})}
