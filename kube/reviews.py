"""AdmissionReview (admission.k8s.io/v1): request in, response out. Pure."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kube.meta import Manifest

API_VERSION = "admission.k8s.io/v1"


class MalformedReviewError(ValueError):
    """What came is no AdmissionReview of a version that we speak."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionRequest:
    """What somebody wants to do. `object` is empty on DELETE, `old_object` on CREATE."""

    uid: str
    operation: str
    name: str = ""
    namespace: str = ""
    subresource: str = ""
    user: str = ""
    dry_run: bool = False
    object: Manifest
    old_object: Manifest

    @property
    def deleting(self) -> bool:
        """The object is already going; what remains is to take its finalizers off."""
        return bool(self.object.get("metadata", {}).get("deletionTimestamp"))


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionResponse:
    """The verdict. `patch` is an RFC 6902 patch, for mutating webhooks only."""

    allowed: bool
    message: str = ""
    warnings: tuple[str, ...] = ()
    patch: tuple[Manifest, ...] = ()

    @classmethod
    def allow(cls, *, warnings: tuple[str, ...] = ()) -> AdmissionResponse:
        return cls(allowed=True, warnings=warnings)

    @classmethod
    def deny(cls, message: str) -> AdmissionResponse:
        """The API server shows the message to the user, as 422 Invalid."""
        return cls(allowed=False, message=message)

    @classmethod
    def mutate(cls, before: Manifest, after: Manifest) -> AdmissionResponse:
        """Allowed, as `after`."""
        return cls(allowed=True, patch=tuple(json_patch(before, after)))


def read(review: Any) -> AdmissionRequest:
    """The request of a review; raises MalformedReviewError."""
    if not isinstance(review, dict) or review.get("apiVersion") != API_VERSION:
        raise MalformedReviewError(f"expected an AdmissionReview of {API_VERSION}")
    request = review.get("request")
    if not isinstance(request, dict) or not request.get("uid"):
        raise MalformedReviewError("the AdmissionReview has no request with a uid")
    return AdmissionRequest(
        uid=request["uid"],
        operation=request.get("operation", ""),
        name=request.get("name", ""),
        namespace=request.get("namespace", ""),
        subresource=request.get("subResource", ""),
        user=(request.get("userInfo") or {}).get("username", ""),
        dry_run=bool(request.get("dryRun")),
        object=request.get("object") or {},
        old_object=request.get("oldObject") or {},
    )


def write(request: AdmissionRequest, response: AdmissionResponse) -> Manifest:
    """The review that answers the request."""
    answer: Manifest = {"uid": request.uid, "allowed": response.allowed}
    if not response.allowed:
        answer["status"] = {"code": 422, "reason": "Invalid", "message": response.message}
    if response.warnings:
        answer["warnings"] = list(response.warnings)
    if response.patch:
        encoded = json.dumps(list(response.patch)).encode()
        answer |= {"patchType": "JSONPatch", "patch": base64.b64encode(encoded).decode()}
    return {"apiVersion": API_VERSION, "kind": "AdmissionReview", "response": answer}


def json_patch(before: Manifest, after: Manifest, path: str = "") -> Iterator[Manifest]:
    """RFC 6902 operations that make `after` of `before`; lists are replaced whole."""
    for key in before.keys() - after.keys():
        yield {"op": "remove", "path": f"{path}/{_escaped(key)}"}
    for key, value in after.items():
        below = f"{path}/{_escaped(key)}"
        if key not in before:
            yield {"op": "add", "path": below, "value": value}
        elif isinstance(value, dict) and isinstance(before[key], dict):
            yield from json_patch(before[key], value, below)
        elif value != before[key]:
            yield {"op": "replace", "path": below, "value": value}


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
