"""Admission of Workspaces and RAGEngines: what is asked for is completed and judged before it is
stored."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from apis.kaito import admission
from apis.kaito.v1beta1 import labels
from apis.kaito.v1beta1.workspace import Workspace
from apis.kaito.validation import Facts
from kube.admission import AdmissionRequest, AdmissionResponse, AdmissionServer, Webhook
from kube.certificate_sources import (
    CertificateSource,
    GivenCertificates,
    SelfMadeCertificates,
    WebhookTrust,
)
from kube.client import Client
from kube.clock import Clock
from kube.meta import Key, Manifest
from kube.objects import CONFIG_MAPS, CSI_DRIVERS, Node
from kube.store import Store
from workspace_controller.nodes import byo
from workspace_controller.quota import TenantStores
from workspace_controller.quotaadmission import QuotaAdmission
from workspace_controller.settings import Process

KINDS = ("workspace", "ragengine")
VALIDATING = tuple(f"validation.{kind}.kaito.sh" for kind in KINDS)
MUTATING = tuple(f"defaulting.{kind}.kaito.sh" for kind in KINDS)
"""Names of the webhook configurations, which the chart installs; upstream has only the first ones.
"""


class Admission:
    """Judges with the facts of the installation, and those of the object's namespace."""

    def __init__(
        self, facts: Facts, client: Client, nodes: Store[Node], quota: QuotaAdmission | None = None
    ) -> None:
        self._facts = facts
        self._client = client
        self._nodes = nodes
        self._quota = quota

    async def default(self, request: AdmissionRequest) -> AdmissionResponse:
        return admission.mutate(request, byo=self._facts.byo)

    async def validate(self, request: AdmissionRequest) -> AdmissionResponse:
        facts = self._facts
        if not request.subresource and not request.deleting:
            facts = await self._facts_for(request)
        verdict = admission.validate(request, facts)
        if self._quota is None or not verdict.allowed:
            return verdict
        refused = await self._quota.refusal(request, facts.config_map or _unknown)
        return verdict if refused is None else AdmissionResponse.deny(str(refused))

    async def _facts_for(self, request: AdmissionRequest) -> Facts:
        """What is asked of the API server is only what a rule will look at: our own writes to an
        object cost nothing more."""
        found = {
            name: await self._config_map(name, request.namespace)
            for name in _config_names(request.object) - _config_names(request.old_object)
        }
        created = request.operation == "CREATE" and request.object.get("kind") == "Workspace"
        drivers = await self._csi_drivers() if created else frozenset()
        nodes = self._matching(request.object) if created and self._facts.byo else None
        return dataclasses.replace(
            self._facts, config_map=found.get, csi_driver=drivers.__contains__, nodes=nodes
        )

    async def _config_map(self, name: str, namespace: str) -> Mapping[str, str] | None:
        """Asked for, not looked up in a cache: users create it together with the object."""
        found = await self._client.get(CONFIG_MAPS, name, namespace)
        return None if found is None else found.data

    async def _csi_drivers(self) -> frozenset[str]:
        """Those that streaming needs, and the cluster has; not asked for without that gate."""
        if not self._facts.gate("ModelStreaming"):
            return frozenset()
        found = await self._client.get(CSI_DRIVERS, labels.BLOB_CSI_DRIVER)
        return frozenset() if found is None else frozenset({labels.BLOB_CSI_DRIVER})

    def _matching(self, manifest: Manifest) -> tuple[Mapping[str, str], ...]:
        """Labels of the nodes that the Workspace would take; none where it is not shaped like
        one, which the schema will tell."""
        try:
            asked = Workspace.model_validate({"resource": _field(manifest, "resource")})
        except ValidationError:
            return ()
        return tuple(each.metadata.labels for each in byo.selected(asked, self._nodes.list()))


def _unknown(_: str) -> None:
    """Of ConfigMaps that nobody was asked for."""


def server(
    told: Process, facts: Facts, client: Client, tenants: TenantStores, clock: Clock
) -> AdmissionServer:
    """The HTTPS server for all webhooks, with the certificate given or one made by itself."""
    judge = Admission(facts, client, tenants.nodes, QuotaAdmission(client, tenants))
    return AdmissionServer(
        [
            *(Webhook(f"/validate/{kind}.kaito.sh", judge.validate) for kind in KINDS),
            *(Webhook(f"/default/{kind}.kaito.sh", judge.default) for kind in KINDS),
        ],
        _certificates(told, client, clock),
        port=told.webhook_port,
        clock=clock,
    )


def _certificates(told: Process, client: Client, clock: Clock) -> CertificateSource:
    if told.webhook_cert_dir:
        return GivenCertificates(Path(told.webhook_cert_dir))
    service = told.webhook_service
    within = f"{service}.{told.namespace}"
    return SelfMadeCertificates(
        client,
        Key(told.namespace, told.webhook_cert_secret),
        (f"{within}.svc", f"{within}.svc.cluster.local", within, service),
        WebhookTrust(client, validating=VALIDATING, mutating=MUTATING),
        clock,
    )


def _config_names(manifest: Manifest) -> set[str]:
    """The ConfigMaps that an object names, and that are looked at."""
    if manifest.get("kind") == "RAGEngine":
        asked = _field(manifest, "spec", "guardrails", "enabled") is True
        named = [_field(manifest, "spec", "guardrails", "configMapRef", "name")] if asked else []
        named += [_field(manifest, "metadata", "annotations", labels.RAG_SETTINGS_ANNOTATION)]
    else:
        named = [_field(manifest, part, "config") for part in ("inference", "tuning")]
    return {name for name in named if isinstance(name, str) and name}


def _field(manifest: Manifest, *path: str) -> object:
    """The value at a path; None where the object is not shaped so, which the schema will tell."""
    value: object = manifest
    for name in path:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value
