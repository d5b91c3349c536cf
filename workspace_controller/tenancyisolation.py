"""The NetworkPolicy of an endpoint: there while the installation asks for one, and gone with that.

Pure. It comes before the pods do, so that there is no moment in which everybody reaches them.
"""

from __future__ import annotations

from kube.apply import needs_apply, with_applied_hash
from kube.objects import NETWORK_POLICIES, Unstructured, manifest_of
from workspace_controller import namesakes
from workspace_controller.errors import UserError
from workspace_controller.manifests import networkpolicy
from workspace_controller.marks import Owner
from workspace_controller.plan import Deletion, Plan
from workspace_controller.settings import Settings

_AGAIN_SECONDS = 30.0
"""No watch shows a policy without our label."""


def to_ask_for(owner: Owner, live: Unstructured | None, settings: Settings) -> str:
    """The policy to get from the API server, since the cache has none: a user's own carries no
    label of ours, and would be written over. Empty where there is no question."""
    if settings.endpoint_peers is None or live is not None:
        return ""
    return networkpolicy.name(owner)


def isolated(owner: Owner, live: Unstructured | None, settings: Settings, condition: str) -> Plan:
    """`live`: the policy of that name, whoever made it. Raises UserError, of that condition, where
    it is somebody else's: without it the endpoint would be open, so nothing is started."""
    beside = settings.endpoint_peers
    if beside is None:
        ours = live is not None and _is_ours(owner, live)
        return Plan(delete=(Deletion.of(NETWORK_POLICIES, live),) if live and ours else ())
    if live is not None and not _has_owner(owner, live):
        name = live.metadata.name
        raise UserError(
            condition,
            namesakes.REASON_NAME_TAKEN,
            f'NetworkPolicy "{name}" exists and is not this {owner.kind}\'s; delete it, or give'
            " its rules another name",
            look_again=_AGAIN_SECONDS,
        )
    wanted = networkpolicy.network_policy(owner, beside)
    there = None if live is None else manifest_of(live, NETWORK_POLICIES)
    return Plan(apply=(with_applied_hash(wanted),) if needs_apply(wanted, there) else ())


def _is_ours(owner: Owner, live: Unstructured) -> bool:
    """One that is going already is no longer."""
    going = live.metadata.deletion_timestamp is not None
    return not going and _has_owner(owner, live)


def _has_owner(owner: Owner, live: Unstructured) -> bool:
    return any(each.uid == owner.metadata.uid for each in live.metadata.owner_references)
