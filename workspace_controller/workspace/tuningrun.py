"""Which run of a tuning is wanted, and what has become of the Job for it. Pure.

A run is told by what the user means: data, output, configuration, weights. What the release
decides (images, flags) is no part of it, or an upgrade would tune everything anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from apis.container import TUNING_CONFIG_KEY
from apis.kaito.v1beta1 import labels
from apis.kaito.v1beta1.workspace import Workspace
from kube.meta import Condition, find_condition
from kube.objects import Pod, Unstructured
from workspace_controller.manifests.tuning import RUN_ANNOTATION
from workspace_controller.workspace.observed import Observed

TUNED_ANNOTATION = "kaito.sh/tuned"
"""On the Workspace: the run that has succeeded, so that it counts without its Job, too. Ours."""

_OF_WEIGHTS = (
    labels.USE_LOCAL_WEIGHTS_ANNOTATION,
    labels.MODEL_WEIGHTS_ANNOTATION,
    labels.MODEL_WEIGHTS_PULL_SECRETS_ANNOTATION,
)


@dataclass(frozen=True, slots=True)
class Run:
    """The run that is wanted, and the Job of the Workspace's name, if there is one. `foreign`: it
    is somebody else's, an earlier Workspace's perhaps."""

    wanted: str
    job: Unstructured | None = None
    foreign: bool = False
    recorded: bool = False
    """Whether the Workspace says that this run has succeeded."""

    @property
    def is_current(self) -> bool:
        """Whether the Job is for it."""
        return self.job is not None and not self.foreign and same(self.wanted, self._of_job)

    @property
    def is_going(self) -> bool:
        return self.job is not None and self.job.metadata.deletion_timestamp is not None

    @property
    def succeeded(self) -> bool:
        if self.job is None:
            return self.recorded
        return self.is_current and self.ended("Complete") is not None

    @property
    def failure(self) -> Condition | None:
        """Why the Job for it was given up. One that somebody deletes is to be made anew."""
        return self.ended("Failed") if self.is_current and not self.is_going else None

    @property
    def at_work(self) -> bool:
        """Whether a Job of ours may have pods that train, for this run or an earlier one."""
        if self.job is None or self.foreign:
            return False
        return self.ended("Complete") is None and self.ended("Failed") is None

    def ended(self, kind: str) -> Condition | None:
        """The Job's condition of that type (Complete, Failed), where it is True."""
        told = self.job.status.get("conditions") or [] if self.job is not None else []
        found = find_condition(msgspec.convert(told, list[Condition]), kind)
        return found if found is not None and found.status == "True" else None

    def ended_at(self) -> datetime | None:
        found = self.ended("Complete") or self.ended("Failed")
        return None if found is None else found.last_transition_time

    def count(self, kind: str) -> int:
        """Pods of the Job that are active, have succeeded, have failed."""
        return int(self.job.status.get(kind) or 0) if self.job is not None else 0

    @property
    def _of_job(self) -> str:
        return self.job.metadata.annotations.get(RUN_ANNOTATION, "") if self.job else ""


def of(workspace: Workspace, seen: Observed) -> Run:
    wanted = _name(workspace, seen)
    recorded = workspace.metadata.annotations.get(TUNED_ANNOTATION, "")
    owners = {each.uid for each in seen.job.metadata.owner_references} if seen.job else set()
    return Run(
        wanted=wanted,
        job=seen.job,
        foreign=seen.job is not None and workspace.metadata.uid not in owners,
        recorded=bool(recorded) and same(wanted, recorded),
    )


def pods(run: Run, seen: Observed) -> Sequence[Pod]:
    """The Job's, the newest first."""
    if run.job is None:
        return ()
    uid = run.job.metadata.uid
    own = [
        pod for pod in seen.pods if any(owner.uid == uid for owner in pod.metadata.owner_references)
    ]
    return sorted(own, key=_age, reverse=True)


def same(wanted: str, other: str) -> bool:
    """Whether both are one run. A configuration that is gone by now says nothing: whoever tidies
    up after a tuning does not ask for another."""
    spec, _, config = wanted.partition(".")
    of_other, _, its_config = other.partition(".")
    return spec == of_other and config in ("", its_config)


def _name(workspace: Workspace, seen: Observed) -> str:
    """Two hashes: of the Workspace's words, and of the configuration that they name."""
    work = workspace.tuning
    said: dict[str, Any] = {}
    if work is not None:
        said = work.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    annotations = workspace.metadata.annotations
    weights = {key: annotations[key] for key in _OF_WEIGHTS if key in annotations}
    text = json.dumps([said, weights], sort_keys=True, separators=(",", ":"))
    if work is None or not work.config or seen.config is None:
        return f"{_hash(text)}."
    return f"{_hash(text)}.{_hash(seen.config.data.get(TUNING_CONFIG_KEY, ''))}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _age(pod: Pod) -> tuple[float, str]:
    born = pod.metadata.creation_timestamp
    return (born.timestamp() if born else 0.0, pod.metadata.name)
