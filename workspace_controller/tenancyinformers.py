"""What is watched of a namespace's own rules, beside the objects in it.

ResourceQuotas and LimitRanges are a handful in each namespace, and read in part; NetworkPolicies
are ours alone. Of Namespaces there is one informer for all (`Informers.namespaces`): their metadata
is all that is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from apis.kaito.v1beta1 import labels
from apis.kaito.v1beta1.ragengine import RAGEngine
from kube.client import Client
from kube.clock import Clock
from kube.controller import Controller
from kube.informer import Informer
from kube.objects import (
    LIMIT_RANGES,
    NETWORK_POLICIES,
    RESOURCE_QUOTAS,
    LimitRange,
    ResourceQuota,
    Unstructured,
)
from kube.store import Object, Store
from workspace_controller import marks
from workspace_controller.quota import TenantStores
from workspace_controller.quotagate import QuotaGate
from workspace_controller.settings import Settings
from workspace_controller.tenancywaits import changes_share

if TYPE_CHECKING:
    from workspace_controller.informers import Informers
    from workspace_controller.raginformers import RagInformers

BY_NAMESPACE = "namespace"


def _namespace(found: Object) -> tuple[str, ...]:
    return (found.metadata.namespace,)


@dataclass(frozen=True)
class TenancyInformers:
    """Of all namespaces; and the gate by which both kinds of owners come to nodes."""

    quotas: Informer[ResourceQuota]
    ranges: Informer[LimitRange]
    policies: Informer[Unstructured]
    engine_policies: Informer[Unstructured]
    gate: QuotaGate

    @classmethod
    def of(cls, client: Client, clock: Clock) -> TenancyInformers:
        here = {BY_NAMESPACE: _namespace}

        def policies(label: str) -> Informer[Unstructured]:
            return Informer(client, NETWORK_POLICIES, labels=label, clock=clock)

        return cls(
            quotas=Informer(client, RESOURCE_QUOTAS, indexes=here, clock=clock),
            ranges=Informer(client, LIMIT_RANGES, indexes=here, clock=clock),
            policies=policies(labels.WORKSPACE_LABEL),
            engine_policies=policies(labels.RAGENGINE_LABEL),
            gate=QuotaGate(client),
        )

    def all(self) -> list[Informer[Any]]:
        return [self.quotas, self.ranges, self.policies, self.engine_policies]

    def quotas_in(self, namespace: str) -> tuple[ResourceQuota, ...]:
        return tuple(self.quotas.store.by_index(BY_NAMESPACE, namespace))

    def ranges_in(self, namespace: str) -> tuple[LimitRange, ...]:
        return tuple(self.ranges.store.by_index(BY_NAMESPACE, namespace))


def stores(informers: Informers, rag: RagInformers | None, settings: Settings) -> TenantStores:
    """What accounts are read from."""
    engines: Store[RAGEngine] = rag.engines.store if rag is not None else Store()
    own = rag.own_claims if rag is not None else None
    return TenantStores(
        facts=settings.facts,
        default=settings.gpu_quota,
        namespaces=informers.namespaces.store,
        workspaces=informers.workspaces.store,
        engines=engines,
        claims=(informers.node_claims.store, *((own.store,) if own is not None else ())),
        pools=informers.pooled.pools.store if informers.pooled else None,
        nodes=informers.nodes.store,
        config_maps=informers.config_maps.store,
        workloads={
            marks.WORKSPACE.kind: (informers.stateful_sets.store, informers.jobs.store),
            **({marks.RAG_ENGINE.kind: (rag.deployments.store,)} if rag is not None else {}),
        },
    )


def watch(
    controller: Controller[Any], kind: str, informers: Informers, rag: RagInformers | None
) -> None:
    """Wakes those of the kind that wait, once there may be room for them."""
    tenancy = informers.tenancy
    wakes = tenancy.gate.waiting.of_kind(kind)
    controller.watch(informers.namespaces, wakes.of_namespace)
    controller.watch(tenancy.quotas, wakes.of_rule)
    controller.watch(tenancy.ranges, wakes.of_rule)
    controller.watch(informers.workspaces, wakes.beside, stirs=changes_share)
    if not informers.byo:
        controller.watch(informers.node_claims, wakes.of_nodes)
    if informers.pooled is not None:
        controller.watch(informers.pooled.pools, wakes.of_nodes)
    if rag is not None:
        controller.watch(rag.engines, wakes.beside, stirs=changes_share)
        if rag.own_claims is not None:
            controller.watch(rag.own_claims, wakes.of_nodes)
    if kind == marks.WORKSPACE.kind:
        controller.watch(tenancy.policies, marks.WORKSPACE.of_child)
    else:
        controller.watch(tenancy.engine_policies, marks.RAG_ENGINE.of_child)
