"""What the user reads: conditions, state, worker nodes, in upstream's words. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

import msgspec

from apis.kaito.v1beta1 import conditions as shared
from apis.kaito.v1beta1.ragengine import RAGEngine, RAGEngineStatus
from kube.meta import Condition, find_condition, with_condition
from workspace_controller.plan import Plan
from workspace_controller.ragengine import conditions as c

_NODE_CONDITIONS = frozenset({shared.NODE_CLAIM_READY, shared.NODES_READY})
_LONGEST_ERROR = 1024


def ragengine_status(
    engine: RAGEngine, plan: Plan, *, error: str = "", now: datetime
) -> RAGEngineStatus:
    """The status after a round. `error` is what the API server refused in it."""
    now = now.replace(microsecond=0)
    told = tuple(_completed(plan, _cut(error)))
    conditions = _without_stale(engine.status.conditions, told)
    for each in told:
        dated = msgspec.structs.replace(each, observed_generation=engine.metadata.generation)
        conditions = with_condition(conditions, dated, now)
    before = engine.status
    return before.model_copy(
        update={
            **plan.status,
            "conditions": conditions,
            "state": _state(engine, told),
            "worker_nodes": before.worker_nodes if plan.worker_nodes is None else plan.worker_nodes,
        }
    )


def deleting_status(engine: RAGEngine, message: str, now: datetime) -> RAGEngineStatus:
    """While it ends, only that it ends is said; the rest stays as it was last."""
    ending = Condition(
        type=c.RAGENGINE_DELETING,
        status="True",
        reason=c.REASON_DELETED,
        message=_cut(message),
        observed_generation=engine.metadata.generation,
    )
    conditions = with_condition(engine.status.conditions, ending, now.replace(microsecond=0))
    return engine.status.model_copy(update={"conditions": conditions})


def _without_stale(
    conditions: Iterable[Condition], told: Iterable[Condition]
) -> tuple[Condition, ...]:
    """A word on nodes replaces all earlier words on them; a failure that is over is no more."""
    now = {each.type for each in told}
    stale = {c.RAGENGINE_SERVICE_READY}
    if shared.RESOURCE_READY in now:
        stale |= _NODE_CONDITIONS
    return tuple(each for each in conditions if each.type in now or each.type not in stale)


def _completed(plan: Plan, error: str) -> Iterator[Condition]:
    """What the steps said in upstream's words, that of the service where none came that far, the
    failure under its own type, and the sum of it all."""
    said = [_translated(each) for each in plan.conditions]
    nodes_came = find_condition(said, shared.RESOURCE_READY)
    waits = nodes_came is not None and nodes_came.status != "True"
    if error and waits:
        said = [_not_created(each) for each in said]
    if find_condition(said, c.SERVICE_READY) is None:
        said.append(_pending(said))
    told = [_with_error(each, error) for each in said]
    service = find_condition(told, c.SERVICE_READY)
    yield from told
    if service is None:
        return
    failed = service.status != "True" and service.reason != c.REASON_SERVICE_PENDING
    if failed:
        yield Condition(
            type=c.RAGENGINE_SERVICE_READY,
            status="False",
            reason=c.REASON_SERVICE_FAILED,
            message=f"{service.reason}: {service.message}",
        )
    yield _succeeded(plan, told, service, failed=failed, refused=bool(error) and not waits)


def _translated(said: Condition) -> Condition:
    """The provisioners speak of Workspaces; upstream has other words for the same of a RAGEngine.
    The provisioner's own reason then stands before its message."""
    if said.type == shared.RESOURCE_READY:
        if said.status == "True":
            message = said.message if not said.reason else "ragengine resource is ready"
            return _as(said, "True", c.REASON_RESOURCE_SUCCESS, message)
        return _as(said, "False", c.REASON_RESOURCE_FAILED, _because(said))
    if said.type == shared.NODE_CLAIM_READY:
        if said.status == "True":
            return _as(said, "True", c.REASON_CLAIM_READY, said.message)
        if said.reason == shared.REASON_NODE_CLAIM_NOT_READY:
            return _as(said, "Unknown", c.REASON_CLAIM_PENDING, said.message)
        return _as(said, "False", c.REASON_CLAIM_STATUS_FAILED, _because(said))
    return said


def _because(said: Condition) -> str:
    plain = ("", shared.REASON_NODE_CLAIM_NOT_READY, shared.REASON_RESOURCE_NOT_READY)
    return said.message if said.reason in plain else f"{said.reason}: {said.message}"


def _not_created(said: Condition) -> Condition:
    """What a node hangs on could not be made."""
    if said.type != shared.NODE_CLAIM_READY:
        return said
    return _as(said, "False", c.REASON_CLAIM_CREATION_FAILED, said.message)


def _as(said: Condition, status: str, reason: str, message: str) -> Condition:
    words = {"reason": reason, "message": message}
    return msgspec.structs.replace(said, status=status, **words)


def _pending(told: Iterable[Condition]) -> Condition:
    first = next((each for each in told if each.status != "True"), None)
    return Condition(
        type=c.SERVICE_READY,
        status="False",
        reason=c.REASON_SERVICE_PENDING,
        message=f"waiting for resources: {first.message if first else 'nodes'}",
    )


def _succeeded(
    plan: Plan, told: Iterable[Condition], service: Condition, *, failed: bool, refused: bool
) -> Condition:
    """Whether what is asked for is there. Only what the user must mend is called failed."""
    if refused:
        return _sum("False", c.REASON_CREATION_FAILED, service.message)
    if plan.blocked is not None:
        return _sum("False", c.REASON_FAILED, plan.blocked.message)
    if service.status == "True":
        return _sum("True", c.REASON_SUCCEEDED, "ragengine succeeds")
    if failed:
        return _sum("False", c.REASON_FAILED, service.message)
    first = next((each for each in told if each.status != "True"), service)
    return _sum("False", c.REASON_PENDING, first.message)


def _sum(status: str, reason: str, message: str) -> Condition:
    return Condition(
        type=c.RAGENGINE_SUCCEEDED,
        status="True" if status == "True" else "False",
        reason=reason,
        message=message,
    )


def _with_error(said: Condition, error: str) -> Condition:
    if not error or error in said.message:
        return said
    message = f"{said.message} (last reconcile error: {error})"
    return msgspec.structs.replace(said, message=message)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_ERROR else f"{text[: _LONGEST_ERROR - 3]}..."


def _state(engine: RAGEngine, told: Iterable[Condition]) -> str:
    """Never Pending again once it has been more."""
    ready = find_condition(tuple(told), c.SERVICE_READY)
    if ready is not None and ready.status == "True":
        return shared.STATE_READY
    was = engine.status.state
    been = was in (shared.STATE_READY, shared.STATE_NOT_READY)
    return shared.STATE_NOT_READY if been else shared.STATE_PENDING
