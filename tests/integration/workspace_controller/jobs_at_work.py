"""Those who make the pods of a Job, find them a place, run them and judge the Job by their end,
played on a real API server, which has none of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import kubelet
from workspace_cluster import Cluster, eventually

from kube.meta import Manifest
from kube.objects import JOBS, PODS, Pod, Unstructured
from tests import tuning_worlds

NAME = "falcon"


class JobAtWork:
    """One Job and its pods; each step is for a test to take."""

    def __init__(self, cluster: Cluster, node: str = "machine") -> None:
        self.cluster = cluster
        self.node = node
        self.made = 0

    async def job(self) -> Unstructured | None:
        return await self.cluster.client.get(JOBS, NAME, self.cluster.namespace)

    async def there(self) -> Unstructured:
        await eventually(self.job)
        found = await self.job()
        assert found is not None
        return found

    async def pods(self) -> list[Pod]:
        found = (await self.cluster.client.list(PODS, namespace=self.cluster.namespace)).items
        return [pod for pod in found if pod.metadata.name.startswith(f"{NAME}-run-")]

    async def start_pod(self) -> str:
        """The Job controller and the scheduler: a pod of the template, as it is, with a node."""
        job = await self.there()
        await self.cluster.allow_pods()
        self.made += 1
        name = f"{NAME}-run-{self.made}"
        template = job.spec["template"]
        controller = {
            "apiVersion": JOBS.api_version,
            "kind": "Job",
            "name": NAME,
            "uid": job.metadata.uid,
            "controller": True,
            "blockOwnerDeletion": True,
        }
        await self.cluster.client.create(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "name": name,
                    "namespace": self.cluster.namespace,
                    "labels": template["metadata"]["labels"],
                    "ownerReferences": [controller],
                },
                "spec": template["spec"],
            }
        )
        started = {} if "startTime" in job.status else {"startTime": _now()}
        await self._status({**started, "active": 1})
        await self.cluster.place_pod(name, self.node)
        return name

    async def run_pod(self, name: str) -> None:
        """The kubelet, once the init containers are through."""
        done = kubelet.terminated(0, "Completed")
        init = tuple(kubelet.container(done, each, ready=True) for each in ("check", "data"))
        running = kubelet.pod(kubelet.container(kubelet.RUNNING), init=init, phase="Running")
        await self.cluster.set_pod(name, running)

    async def end_pod(self, name: str, code: int, message: str = "", *, why: str = "") -> None:
        """The kubelet: the container has ended. `why`: who had the pod taken away."""
        reason = "Completed" if code == 0 else "OOMKilled" if code == 137 else "Error"
        ended = kubelet.container(kubelet.terminated(code, reason, message))
        status = kubelet.pod(ended, phase="Failed" if code else "Succeeded")
        if why:
            status["conditions"].append(
                {"type": "DisruptionTarget", "status": "True", "reason": why, "message": why}
            )
        await self.cluster.set_pod(name, status)
        await self.judge()

    async def judge(self) -> None:
        """The Job controller: by the policy that the Job has, and its limit."""
        job = await self.there()
        pods = await self.pods()
        failed = [pod for pod in pods if pod.status.phase == "Failed"]
        succeeded = sum(pod.status.phase == "Succeeded" for pod in pods)
        counted = [pod for pod in failed if _action(job.spec, pod) != "Ignore"]
        status: Manifest = {
            "active": len(pods) - len(failed) - succeeded,
            "failed": len(counted),
            "succeeded": succeeded,
        }
        if succeeded:
            status["completionTime"] = _now()
            status["conditions"] = _ended("SuccessCriteriaMet", "Complete", "CompletionsReached")
        elif any(_action(job.spec, pod) == "FailJob" for pod in failed):
            status["conditions"] = _ended("FailureTarget", "Failed", "PodFailurePolicy")
        elif len(counted) > job.spec["backoffLimit"]:
            status["conditions"] = _ended("FailureTarget", "Failed", "BackoffLimitExceeded")
        await self._status(status)

    async def collect(self) -> None:
        """The garbage collector: a Job that is deleted in the foreground goes after its pods."""
        job = await self.job()
        assert job is not None
        assert job.metadata.deletion_timestamp is not None
        assert job.metadata.finalizers == ("foregroundDeletion",)
        for pod in await self.pods():
            await self.cluster.end_pod(pod.metadata.name)
        free = {"metadata": {"finalizers": None}}
        await self.cluster.client.patch(JOBS, NAME, free, namespace=self.cluster.namespace)

    async def is_going(self) -> bool:
        job = await self.job()
        return job is not None and job.metadata.deletion_timestamp is not None

    async def _status(self, status: Manifest) -> None:
        await self.cluster.client.patch(
            JOBS,
            NAME,
            {"status": status},
            namespace=self.cluster.namespace,
            subresource="status",
        )


async def create_tuning(cluster: Cluster, **given: Any) -> None:
    manifest = tuning_worlds.a_tuning_manifest(**given)
    manifest["metadata"]["namespace"] = cluster.namespace
    await cluster.client.create(manifest)


def _action(spec: Manifest, pod: Pod) -> str:
    """The first rule that matches; without one the failure counts."""
    for rule in spec["podFailurePolicy"]["rules"]:
        for asked in rule.get("onPodConditions") or ():
            told = {(each.type, each.status) for each in pod.status.conditions}
            if (asked["type"], asked["status"]) in told:
                return str(rule["action"])
        asked = rule.get("onExitCodes") or {}
        statuses = (*pod.status.init_container_statuses, *pod.status.container_statuses)
        codes = {each.state.terminated.exit_code for each in statuses if each.state.terminated}
        if codes & set(asked.get("values", ())):
            return str(rule["action"])
    return "Count"


def _ended(before: str, kind: str, reason: str) -> list[Manifest]:
    return [
        {
            "type": each,
            "status": "True",
            "reason": reason,
            "message": f"the Job is {kind}",
            "lastProbeTime": _now(),
            "lastTransitionTime": _now(),
        }
        for each in (before, kind)
    ]


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
