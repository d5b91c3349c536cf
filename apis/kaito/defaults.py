"""What is filled in for the user, from manifest to manifest. Pure.

Defaults that need no other field stand in the schema, and the API server applies them. Here is
what a schema cannot say.
"""

from __future__ import annotations

from apis.kaito import ragdefaults
from apis.kaito.v1alpha1.workspace import DEFAULT_INSTANCE_TYPE
from kube.meta import Manifest

_ROOT_FIELDS = ("resource", "inference", "tuning")


def default(manifest: Manifest, *, old: Manifest | None = None, byo: bool = False) -> Manifest:
    """The manifest as it is meant, in place of what is stored (`old`).

    The first articles about KAITO put everything under `spec:`; that form is lifted to the root.
    Where something stands there already it is ambiguous and left to validation, unless that is
    what was stored before: then somebody applies the early form once more, on top of it. In
    v1alpha1 there is an instance type always, but for nodes that are brought along (`byo`).
    """
    kind = manifest.get("kind")
    if kind == "RAGEngine":
        meant, *place = ragdefaults.one_volume(manifest, old), "spec", "compute"
    elif kind == "Workspace":
        meant, *place = _lift_spec(manifest, old is not None), "resource"
    else:
        return manifest
    if str(meant.get("apiVersion", "")).endswith("/v1alpha1") and not byo:
        return _with_instance_type(meant, *place)
    return meant


def _lift_spec(manifest: Manifest, stored: bool) -> Manifest:
    spec = manifest.get("spec")
    if not isinstance(spec, dict) or not spec or not set(spec).issubset(_ROOT_FIELDS):
        return manifest
    if not stored and any(name in manifest for name in _ROOT_FIELDS):
        return manifest
    return _merged({key: value for key, value in manifest.items() if key != "spec"}, spec)


def _merged(below: Manifest, above: Manifest) -> Manifest:
    merged = dict(below)
    for key, value in above.items():
        old = below.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            value = _merged(old, value)
        merged[key] = value
    return merged


def _with_instance_type(manifest: Manifest, first: str, *below: str) -> Manifest:
    """Of the part at that path, where it is there and names none."""
    part = manifest.get(first)
    if not isinstance(part, dict):
        return manifest
    if below:
        return {**manifest, first: _with_instance_type(part, *below)}
    if part.get("instanceType"):
        return manifest
    return {**manifest, first: {**part, "instanceType": DEFAULT_INSTANCE_TYPE}}
