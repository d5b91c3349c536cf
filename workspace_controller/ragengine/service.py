"""Step: the pod that answers, its Service, and its policy. Pure.

A change of the spec is applied whole, and rolls: the next pod answers before the one before it
goes, which two pods on one volume allow since the second only follows until the first has ended.
"""

from __future__ import annotations

import msgspec

from apis import container
from apis.kaito import objectstores
from apis.kaito.v1beta1 import conditions as shared
from apis.kaito.v1beta1 import labels
from apis.kaito.v1beta1.ragengine import RAGEngine
from kube.meta import Condition
from kube.objects import DEPLOYMENTS, Unstructured, manifest_of
from workspace_controller import tenancy
from workspace_controller.errors import UserError
from workspace_controller.manifests import ragengine as manifests
from workspace_controller.manifests import ragenvironment
from workspace_controller.manifests.ragengine import Place
from workspace_controller.manifests.service import of_engine, url
from workspace_controller.plan import Event, Plan
from workspace_controller.ragengine import conditions as c
from workspace_controller.ragengine import effects, readiness
from workspace_controller.ragengine.nodes import shape, wanted
from workspace_controller.ragengine.observed import Observed
from workspace_controller.settings import Settings
from workspace_controller.workspace import foreignedits
from workspace_controller.workspace.children import Settled, settle

_ALONE = "ReadWriteOncePod"


def service(engine: RAGEngine, seen: Observed, settings: Settings) -> Plan:
    """Applies what differs, and says whether it answers."""
    place = _place(engine, seen, settings)
    live = None if seen.deployment is None else seen.deployment.spec
    wanted = manifests.deployment(engine, place, settings, live, seen.chosen)
    pods = settle(wanted, seen.deployment)
    endpoint = settle(of_engine(engine), seen.service)
    ready = _refused_by_quota(readiness.service_ready(seen, place.gap), engine, seen, settings)
    edits = (*pods.edits, *endpoint.edits)
    plan = Plan(
        conditions=(foreignedits.noted(ready, edits),),
        events=_events(pods, seen.deployment, place),
        status={"endpoint": url(engine)},
        worker_nodes=_workers(seen) or None,
    )
    return plan + _policy(engine, seen) + pods.plan + endpoint.plan


def availability(engine: RAGEngine, seen: Observed, settings: Settings) -> Plan:
    """What answers goes on answering while later steps wait for something."""
    ready = readiness.service_ready(seen)
    return Plan(conditions=(ready,)) if ready.status == "True" else Plan()


def _refused_by_quota(
    ready: Condition, engine: RAGEngine, seen: Observed, settings: Settings
) -> Condition:
    """The Deployment says it in the API server's words, and not what to do."""
    alive = any(not each.ended for each in seen.pods)  # those that have ended stay for long
    if alive and ready.reason not in (c.REASON_SERVICE_PENDING, c.REASON_POD_NOT_MADE):
        return ready
    short = tenancy.short_of(seen, lambda: wanted(engine, seen, settings))
    if short is None:
        return ready
    reason = shared.REASON_RESOURCE_QUOTA_EXCEEDED
    return msgspec.structs.replace(ready, reason=reason, message=short.message)


def _place(engine: RAGEngine, seen: Observed, settings: Settings) -> Place:
    found = shape(engine, seen, settings)
    claim = seen.volume_claim
    gap = ""
    if objectstores.alone(engine):
        gap = "the object store has all indexes only once the pod before has ended"
    elif engine.metadata.annotations.get(labels.SURGE_ANNOTATION) == "false":
        gap = f"annotation {labels.SURGE_ANNOTATION} is false"
    elif claim is not None and _ALONE in claim.spec.access_modes:
        gap = f"PersistentVolumeClaim {claim.metadata.name} is {_ALONE}"
    elif found is not None and manifests.gpu(engine, found) and found.gpu.count < 2:
        gap = "the node has one GPU"
    return Place(found, gap)


def _events(pods: Settled, live: Unstructured | None, place: Place) -> tuple[Event, ...]:
    if live is None or pods.apply is None:
        return ()
    return effects.events(manifest_of(live, DEPLOYMENTS), pods.effective, place.gap)


def _policy(engine: RAGEngine, seen: Observed) -> Plan:
    """The release's policy, for those who name none."""
    asked = ragenvironment.guardrails(engine)
    if not asked.enabled or asked.config_map_ref is not None or seen.config is None:
        return Plan()
    key = container.RAG_GUARDRAILS_KEY
    data = {key: seen.config.data[key]}
    if seen.policy is None:
        return Plan(apply=(manifests.policy(engine, data),))
    if not any(each.uid == engine.metadata.uid for each in seen.policy.metadata.owner_references):
        name = manifests.policy_name(engine)
        said = f'ConfigMap "{name}" is not this RAGEngine\'s; delete it, or name it in configMapRef'
        raise UserError(c.SERVICE_READY, c.REASON_POLICY_NOT_FOUND, said)
    return Plan(apply=(manifests.policy(engine, data),)) if seen.policy.data != data else Plan()


def _workers(seen: Observed) -> tuple[str, ...]:
    """Where its pods are."""
    live = (pod for pod in seen.pods if not pod.ended)
    return tuple(sorted({pod.spec.node_name for pod in live} - {""}))
