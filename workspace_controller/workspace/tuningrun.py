"""Which run of a tuning is wanted, and what has become of the Job for it. Pure.

A run is told by what the user means: data, output, configuration, weights. What the release
decides (images, flags) is no part of it, or an upgrade would tune everything anew. The names of
Secrets are told apart: another one is worth another try, but nothing once it has succeeded.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec
import yaml

from apis.container import TUNING_CONFIG_KEY
from apis.kaito.v1beta1 import labels
from apis.kaito.v1beta1.workspace import Workspace
from kube.meta import Condition, find_condition
from kube.objects import Pod, Unstructured
from workspace_controller.manifests.tuning import RUN_ANNOTATION
from workspace_controller.workspace.observed import Observed

TUNED_ANNOTATION = "kaito.sh/tuned"
"""On the Workspace: the run that has succeeded, so that it counts without its Job, too. Ours."""

_OF_WEIGHTS = (labels.USE_LOCAL_WEIGHTS_ANNOTATION, labels.MODEL_WEIGHTS_ANNOTATION)
_SECRETS = frozenset({"imagePullSecrets", "imagePushSecret", "modelAccessSecret"})
"""Fields of a tuning, wherever they stand in it."""


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
        """Whether the Job is for it; one that is done, whatever Secrets it did it with."""
        if self.job is None or self.foreign:
            return False
        return same(self.wanted, self._of_job, secrets=self.ended("Complete") is None)

    @property
    def is_going(self) -> bool:
        return self.job is not None and self.job.metadata.deletion_timestamp is not None

    @property
    def succeeded(self) -> bool:
        """Also without its Job: by what is recorded, unless a Job for another run may have written
        over the result since."""
        if self.is_current:
            return self.ended("Complete") is not None
        untouched = self.job is None or self.foreign or self.ended("Failed") is not None
        return self.recorded and untouched

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
        recorded=bool(recorded) and same(wanted, recorded, secrets=False),
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


def same(wanted: str, other: str, *, secrets: bool) -> bool:
    """Whether both are one run, `secrets`: by the same Secrets. A configuration that is gone by now
    says nothing: whoever tidies up after a tuning does not ask for another."""
    spec, config, by = _parts(wanted)
    of_other, its_config, its_by = _parts(other)
    return spec == of_other and config in ("", its_config) and (by == its_by or not secrets)


def _parts(name: str) -> tuple[str, str, str]:
    spec, _, rest = name.partition(".")
    config, _, secrets = rest.partition(".")
    return spec, config, secrets


def _name(workspace: Workspace, seen: Observed) -> str:
    """Three hashes: of the Workspace's words, of the configuration and of the Secrets that they
    name."""
    work = workspace.tuning
    said: dict[str, Any] = {}
    if work is not None:
        said = work.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    annotations = workspace.metadata.annotations
    weights = {key: annotations[key] for key in _OF_WEIGHTS if key in annotations}
    pulled_by = annotations.get(labels.MODEL_WEIGHTS_PULL_SECRETS_ANNOTATION, "")
    secrets = [_taken_out(said), pulled_by]
    config = ""
    if work is not None and work.config and seen.config is not None:
        config = _of_config(seen.config.data.get(TUNING_CONFIG_KEY, ""))
    return f"{_of([said, weights])}.{config}.{_of(secrets)}"


def _taken_out(said: dict[str, Any]) -> list[list[Any]]:
    """The names of Secrets by their paths; `said` no longer has them then."""
    found: list[list[Any]] = [[key, said.pop(key)] for key in sorted(_SECRETS & said.keys())]
    parts = sorted((key, part) for key, part in said.items() if isinstance(part, dict))
    for key, part in parts:
        found += [[key, *each] for each in _taken_out(part)]
        if not part:
            del said[key]
    return found


@lru_cache(maxsize=256)
def _of_config(text: str) -> str:
    """By what YAML makes of it: a comment, or another indentation, is no other configuration."""
    try:
        events = [_told(event) for event in yaml.parse(text, Loader=yaml.SafeLoader)]
    except yaml.YAMLError:
        return _of(text)
    return _of(events)


def _told(event: yaml.Event) -> list[object]:
    """Without following aliases, of which a few lines can make gigabytes."""
    told = (getattr(event, key, None) for key in ("value", "tag", "implicit", "anchor"))
    return [type(event).__name__, *told]


def _of(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _age(pod: Pod) -> tuple[float, str]:
    born = pod.metadata.creation_timestamp
    return (born.timestamp() if born else 0.0, pod.metadata.name)
