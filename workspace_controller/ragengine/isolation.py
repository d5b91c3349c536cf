"""Step: who reaches the service. Pure."""

from __future__ import annotations

from apis.kaito.v1beta1.ragengine import RAGEngine
from workspace_controller import tenancyisolation
from workspace_controller.plan import Plan
from workspace_controller.ragengine import conditions as c
from workspace_controller.ragengine.observed import Observed
from workspace_controller.settings import Settings


def isolation(engine: RAGEngine, seen: Observed, settings: Settings) -> Plan:
    """Nothing where the installation asks for no NetworkPolicies."""
    return tenancyisolation.isolated(engine, seen.network_policy, settings, c.SERVICE_READY)
