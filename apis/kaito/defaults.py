"""What is filled in for the user, from manifest to manifest. Pure.

Defaults that need no other field stand in the schema, and the API server applies them. Here is
what a schema cannot say.
"""

from __future__ import annotations

from apis.kaito.v1alpha1.workspace import DEFAULT_INSTANCE_TYPE
from kube.meta import Manifest

_ROOT_FIELDS = ("resource", "inference", "tuning")


def default(manifest: Manifest, *, stored: bool = False, byo: bool = False) -> Manifest:
    """The manifest as it is meant.

    The first articles about KAITO put everything under `spec:`; that form is lifted to the root.
    Where something stands there already it is ambiguous and left to validation, unless that is
    what was `stored` before: then somebody applies the early form once more, on top of it. A
    v1alpha1 Workspace gets its instance type, but for nodes that are brought along (`byo`).
    """
    if manifest.get("kind") != "Workspace":
        return manifest
    lifted = _lift_spec(manifest, stored)
    if str(lifted.get("apiVersion", "")).endswith("/v1alpha1"):
        return lifted if byo else _with_instance_type(lifted)
    return lifted


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


def _with_instance_type(manifest: Manifest) -> Manifest:
    resource = manifest.get("resource")
    if not isinstance(resource, dict) or resource.get("instanceType"):
        return manifest
    return {**manifest, "resource": {**resource, "instanceType": DEFAULT_INSTANCE_TYPE}}
