"""What a namespace may have: nodes are asked for only where its quotas have room. Pure.

Two lines. Its own GPU quota (annotation kaito.sh/gpu-quota) is admission's first, whose caches may
lag behind two users at once; here it is looked at again, when a node is to be asked for. And the
ResourceQuotas of Kubernetes, which would refuse the pods once their node is paid for.

Nothing that runs is taken away by either: a quota that is lowered says what may come.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from apis.kaito.v1beta1 import conditions as c
from apis.kaito.validation.quota import Account, QuotaError
from apis.karpenter.v1.nodeclaim import NODE_CLAIMS
from kube.meta import Condition, Manifest
from kube.objects import LimitRange, ResourceQuota, Unstructured
from workspace_controller.manifests.nodepool import POOLS
from workspace_controller.nodes.asking import NodeOwner, NodesSeen
from workspace_controller.plan import Event, Plan
from workspace_controller.quota import Tenant, template_of
from workspace_controller.settings import Settings
from workspace_controller.tenancyidle import idle_since
from workspace_controller.tenancyquotas import Lack, Wanted, lack

GRACE = timedelta(minutes=15)
"""How long nodes that are there already wait for pods which a quota may admit still."""
_SHORT_GRACE = timedelta(minutes=1)
"""And for those that it never will as it stands: whoever rewrites a quota may take a moment."""
LOOK_AGAIN_SECONDS = 300.0
"""Whoever waits looks again, in case that no watch ever tells what has ended the wait."""

WAITS = frozenset(
    {
        c.REASON_GPU_QUOTA_EXCEEDED,
        c.REASON_INVALID_GPU_QUOTA,
        c.REASON_RESOURCE_QUOTA_EXCEEDED,
    }
)
"""Reasons that end when somebody else in the namespace has less, or its quotas are raised."""


class TenantSeen(NodesSeen, Protocol):
    """What a round has seen of its namespace."""

    @property
    def tenant(self) -> Tenant | None: ...

    @property
    def resource_quotas(self) -> tuple[ResourceQuota, ...]: ...

    @property
    def limit_ranges(self) -> tuple[LimitRange, ...]: ...

    @property
    def workload(self) -> Unstructured | None: ...


@dataclass(frozen=True, slots=True)
class _Asking:
    """One owner, and the plan of its nodes."""

    owner: NodeOwner
    seen: TenantSeen
    plan: Plan
    settings: Settings

    @property
    def manifests(self) -> tuple[Manifest, ...]:
        """The claims, or the pool, by which the plan gets more nodes than there are."""
        claims = (each for each in self.plan.create if each["kind"] == NODE_CLAIMS.kind)
        pools = (each for each in self.plan.apply if each["kind"] == POOLS.kind)
        return (*claims, *(each for each in pools if _more_of(each, self.seen.pool) > 0))

    @property
    def begins(self) -> bool:
        """Whether it is about to take nodes: to have them made, or those that are there."""
        brought = self.settings.facts.byo and self.plan.waits_for is None
        return bool(self.manifests) or (brought and self.seen.workload is None)


def limited(
    owner: NodeOwner,
    seen: TenantSeen,
    plan: Plan,
    settings: Settings,
    wanted: Callable[[], Wanted | None],
) -> Plan:
    """The plan of its nodes, as far as the namespace's quotas have room. `wanted`: the pods that
    are to run on them and are not there; asked for only where there are quotas of Kubernetes."""
    asking = _Asking(owner, seen, plan, settings)
    found = short_of(seen, wanted)
    if found is not None and asking.begins:
        return _withheld(asking, c.REASON_RESOURCE_QUOTA_EXCEEDED, found.message)
    if found is not None:
        return _kept_for_nothing(asking, found)
    if not asking.begins or seen.tenant is None:
        return plan
    try:
        account = seen.tenant.account()
    except QuotaError as error:
        return _withheld(asking, c.REASON_INVALID_GPU_QUOTA, str(error))
    if account is None or not (refusal := _refusal(asking, seen.tenant, account)):
        return plan
    return _withheld(asking, c.REASON_GPU_QUOTA_EXCEEDED, refusal)


def short_of(seen: TenantSeen, wanted: Callable[[], Wanted | None]) -> Lack | None:
    """What ResourceQuotas object to; None where nothing is wanted, or there are none."""
    asked = wanted() if seen.resource_quotas else None
    return None if asked is None else lack(asked, seen.resource_quotas, seen.limit_ranges)


def asks_for_nodes(plan: Plan) -> bool:
    """Whether the plan may make nodes: it is looked at once more before it is carried out."""
    made = {each["kind"] for each in (*plan.create, *plan.apply)}
    return bool(made & {NODE_CLAIMS.kind, POOLS.kind})


def _refusal(asking: _Asking, tenant: Tenant, account: Account) -> str:
    owner, stores = asking.owner, tenant.stores
    kind, name = owner.kind, owner.metadata.name
    if asking.settings.facts.byo:
        return account.withholds(kind, name, stores.asks(tenant.owner) or 0)
    type_ = owner.resource.instance_type if owner.resource else ""
    if stores.facts.instance_type(type_) is None:
        return account.unknown(type_)
    return account.withholds(kind, name, sum(_more(each, tenant) for each in asking.manifests))


def _more(manifest: Manifest, tenant: Tenant) -> int:
    """GPUs that it brings beyond what the account has of it already."""
    name, shown = manifest["metadata"]["name"], tenant.shown
    if manifest["kind"] == NODE_CLAIMS.kind:
        there = shown is not None and any(each.metadata.name == name for each in shown.claims)
        return 0 if there else tenant.stores.gpus(manifest["spec"])
    pools = shown.pools if shown is not None else ()
    if shown is None and tenant.stores.pools is not None:
        found = tenant.stores.pools.get(name)
        pools = () if found is None else (found,)
    live = next((each for each in pools if each.metadata.name == name), None)
    return max(0, _more_of(manifest, live)) * tenant.stores.gpus(template_of(manifest["spec"]))


def _more_of(pool: Manifest, live: Unstructured | None) -> int:
    has = 0 if live is None else int(live.spec.get("replicas") or 0)
    return int(pool["spec"]["replicas"]) - has


def _withheld(asking: _Asking, reason: str, message: str) -> Plan:
    """The plan without what it would ask for, and why."""
    plan, owner = asking.plan, asking.owner
    asked = asking.manifests
    told = [
        each for each in plan.conditions if each.type not in (c.NODE_CLAIM_READY, c.RESOURCE_READY)
    ]
    kinds = (c.NODE_CLAIM_READY, c.RESOURCE_READY) if asked else (c.RESOURCE_READY,)
    told += [Condition(type=kind, status="False", reason=reason, message=message) for kind in kinds]
    event = Event("Warning", reason, message)
    return dataclasses.replace(
        plan,
        create=tuple(each for each in plan.create if each not in asked),
        apply=tuple(each for each in plan.apply if each not in asked),
        conditions=tuple(told),
        events=plan.events if _is_told(owner, reason) else (*plan.events, event),
        waits_for=reason,
        look_again=LOOK_AGAIN_SECONDS,
    )


def _is_told(owner: NodeOwner, reason: str) -> bool:
    """Whether the status says so already; a RAGEngine's has the reason before the message."""
    told = getattr(owner, "status").conditions  # noqa: B009 - both kinds have one
    return any(each.reason == reason or each.message.startswith(reason) for each in told)


def _kept_for_nothing(asking: _Asking, found: Lack) -> Plan:
    """Nodes that are there, or on their way, for pods that nobody admits: at an end after a while,
    which begins once they are asked for and nothing runs on them."""
    seen, plan = asking.seen, asking.plan
    live = [each for each in seen.claims if not each.deleting]
    if any(not each.ended for each in seen.pods) or not live:
        return plan
    born = [each.metadata.creation_timestamp for each in live]
    newest = max((idle_since(asking.owner, seen.now), *(each for each in born if each is not None)))
    left = (_SHORT_GRACE if found.never else GRACE) - (seen.now - newest)
    if left > timedelta(0):
        return plan + Plan(look_again=left.total_seconds())
    given_back = asking.settings.nodes.release(asking.owner, seen)
    names = ", ".join(f"{each.resource.kind} {each.name}" for each in given_back.delete)
    event = Event(
        "Warning", c.REASON_RESOURCE_QUOTA_EXCEEDED, f"gives back {names}: {found.message}"
    )
    message = f"{found.message}; the nodes that waited for it were given back"
    withheld = _withheld(asking, c.REASON_RESOURCE_QUOTA_EXCEEDED, message)
    without = dataclasses.replace(withheld, annotations={}, events=(event,) if names else ())
    return without + given_back
