"""Admission of Workspaces: what is asked for is completed and judged before it is stored."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from apis.kaito import admission
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
from kube.objects import CONFIG_MAPS, Node
from kube.store import Store
from workspace_controller.settings import Process

VALIDATING = "validation.workspace.kaito.sh"
MUTATING = "defaulting.workspace.kaito.sh"
"""Names of the webhook configurations, which the chart installs; upstream has only the first."""


class WorkspaceAdmission:
    """Judges with the facts of the installation, and those of the object's namespace."""

    def __init__(self, facts: Facts, client: Client, nodes: Store[Node]) -> None:
        self._facts = facts
        self._client = client
        self._nodes = nodes

    async def default(self, request: AdmissionRequest) -> AdmissionResponse:
        return admission.mutate(request)

    async def validate(self, request: AdmissionRequest) -> AdmissionResponse:
        facts = self._facts
        if request.operation == "CREATE":
            facts = await self._facts_for(request)
        return admission.validate(request, facts)

    async def _facts_for(self, request: AdmissionRequest) -> Facts:
        """The ConfigMap is asked for, not looked up in a cache: users create both at once."""
        name = _field(request.object, "inference", "config")
        found = None
        if isinstance(name, str) and name:
            found = await self._client.get(CONFIG_MAPS, name, request.namespace)
        data = None if found is None else found.data
        nodes = self._matching(request.object) if self._facts.byo else None
        return dataclasses.replace(self._facts, config_map=lambda _: data, nodes=nodes)

    def _matching(self, manifest: Manifest) -> tuple[Mapping[str, str], ...]:
        wanted = _field(manifest, "resource", "labelSelector", "matchLabels")
        if not isinstance(wanted, dict):
            wanted = {}
        labels = (node.metadata.labels for node in self._nodes.list())
        return tuple(each for each in labels if wanted.items() <= each.items())


def server(
    told: Process, facts: Facts, client: Client, nodes: Store[Node], clock: Clock
) -> AdmissionServer:
    """The HTTPS server for both webhooks, with the certificate given or one made by itself."""
    judge = WorkspaceAdmission(facts, client, nodes)
    return AdmissionServer(
        [
            Webhook("/validate/workspace.kaito.sh", judge.validate),
            Webhook("/default/workspace.kaito.sh", judge.default),
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
        WebhookTrust(client, validating=[VALIDATING], mutating=[MUTATING]),
        clock,
    )


def _field(manifest: Manifest, *path: str) -> object:
    """The value at a path; None where the object is not shaped so, which the schema will tell."""
    value: object = manifest
    for name in path:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value
