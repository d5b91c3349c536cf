"""Alerts that both controllers have: that it runs, leads, gets on, and reaches the API server."""

from __future__ import annotations

from observability import scope
from observability.alert import PAGE, TICKET, Alert


def lease(deployment: str) -> str:
    """That of the release named like its chart; another release has its own full name before it."""
    return f"{deployment}-leader-election"


def leader(deployment: str) -> str:
    """The pod that leads, for kubectl: the holder's name is the pod's."""
    holder = f"get lease {lease(deployment)} -o jsonpath='{{.spec.holderIdentity}}'"
    return f"pod/$(kubectl -n $NAMESPACE {holder} | cut -d_ -f1)"


def process(prefix: str, *, build_info: str, deployment: str) -> tuple[Alert, ...]:
    """Of the process. `prefix`: of the alerts' names."""
    leads = f'leader_election_master_status{{name="{lease(deployment)}"}}'
    pods = f"`kubectl -n $NAMESPACE get pods -l app.kubernetes.io/name={deployment} -o wide`"
    logs = f"`kubectl -n $NAMESPACE logs deploy/{deployment} --all-pods --tail=200`"
    return (
        Alert(
            name=f"{prefix}Down",
            expr=f"absent({build_info})",
            wait="5m",
            severity=PAGE,
            summary=f"No replica of {deployment} answers Prometheus",
            meaning="No replica is scraped. Either none runs, or Prometheus no longer finds them"
            " (labels of the ServiceMonitor or PodMonitor, a NetworkPolicy). What runs on nodes"
            " goes on; nothing new is made, and nothing is ended: deleted claims go on to cost.",
            steps=(
                f"See whether replicas run: {pods}",
                "Where they restart, read why the last one ended:"
                f" `kubectl -n $NAMESPACE logs deploy/{deployment} --previous --tail=100`",
                "Where none can be scheduled, see why:"
                f" `kubectl -n $NAMESPACE describe pods -l app.kubernetes.io/name={deployment}`",
                "Where they run, it is the way from Prometheus to them: read"
                f" the targets' page of Prometheus, or ask one yourself:"
                f" `kubectl -n $NAMESPACE port-forward deploy/{deployment} 8080 & sleep 2; curl -s"
                " localhost:8080/metrics | head`",
            ),
            fires={"karpenter_build_info": "1x120", "up": "0x120"},
            rests={f'{build_info}{{version="1"}}': "1x120"},
        ),
        Alert(
            name=f"{prefix}WithoutLeader",
            expr="max by (namespace, name) (leader_election_master_status"
            f" {scope.of(build_info)}) == 0",
            wait="3m",
            severity=PAGE,
            summary=f"Replicas of {deployment} run, and none of them has the lease"
            " {{ $labels.name }}",
            meaning="A take-over lasts 20 seconds. After minutes without a leader no replica gets"
            " the lease: the API server refuses the write, or none of them can reach it.",
            steps=(
                "See who held it last, and when it was renewed:"
                " `kubectl -n $NAMESPACE get leases -o wide`",
                f"Read what the replicas say of it: {logs}",
                "See that they may write it, by the lease's name, as the role has it: `kubectl auth"
                f" can-i patch leases.coordination.k8s.io/{lease(deployment)} -n $NAMESPACE"
                f" --as=system:serviceaccount:$NAMESPACE:{deployment}`",
                "A lease held by a pod that is gone runs out by itself; where it does not (a clock"
                " that is wrong by minutes), delete it, which is safe while nobody leads:"
                " `kubectl -n $NAMESPACE delete lease LEASE`",
            ),
            **scope.trial(
                build_info,
                fires={leads: "0x120"},
                rests={leads: "1x120"},
                standby={leads: "0x120"},
            ),
        ),
    )


def work(prefix: str, *, build_info: str, example: str, deployment: str) -> tuple[Alert, ...]:
    """Of what it does. `example`: the name of one of its controllers."""
    told = (prefix, build_info, example, deployment)
    return _reconcile_errors(*told), _queue_stuck(*told)


def _reconcile_errors(prefix: str, build_info: str, example: str, deployment: str) -> Alert:
    mine = scope.of(build_info)
    errors = "controller_runtime_reconcile_errors_total"
    logs = _recent_logs(deployment)
    failed = f'{errors}{{controller="{example}"}}'
    tried = f'controller_runtime_reconcile_total{{controller="{example}",result="error"}}'
    done = f'controller_runtime_reconcile_total{{controller="{example}",result="success"}}'
    return Alert(
        name=f"{prefix}ReconcileErrors",
        expr=f"sum by (controller) (rate({errors}[15m]) {mine})"
        f" > 0.2 * sum by (controller) (rate(controller_runtime_reconcile_total[15m]) {mine})"
        f" and sum by (controller) (increase({errors}[15m]) {mine}) > 5",
        wait="15m",
        severity=TICKET,
        summary="{{ $labels.controller }}: {{ $value | humanize }} failed reconciles a second",
        meaning="More than a fifth of a controller's looks fail, for half an hour. What fails"
        " is tried again with pauses up to minutes; the objects behind it do not move.",
        steps=(
            f"Read the errors; each line names the object and the round: {logs}"
            ' | grep "Reconciler error"`',
            f"Follow one round by its ID through both controllers: {logs} | grep RECONCILE_ID`",
            "Forbidden: a role is missing after an upgrade; render the chart again and compare:"
            f" `helm -n $NAMESPACE get manifest {deployment} | kubectl diff -f -`",
            "Errors of the cloud: see the alert on its calls, and the cloud's status page.",
        ),
        **scope.trial(
            build_info,
            fires={failed: "0+30x120", done: "0+10x120", tried: "0+30x120"},
            rests={failed: "0+1x120", done: "0+100x120"},
        ),
    )


def _queue_stuck(prefix: str, build_info: str, example: str, deployment: str) -> Alert:
    mine = scope.of(build_info)
    logs = _recent_logs(deployment)
    depth = f'workqueue_depth{{name="{example}"}}'
    return Alert(
        name=f"{prefix}QueueStuck",
        expr="max by (name) (workqueue_longest_running_processor_seconds"
        f" {mine}) > 300 or max by (name) (min_over_time(workqueue_depth[15m]) {mine}) > 50",
        wait="5m",
        severity=TICKET,
        summary="{{ $labels.name }} does not get on with its work",
        meaning="Either one object has been worked on for five minutes (a call that does not"
        " come back), or the queue has not been below 50 objects for a quarter of an hour.",
        steps=(
            "See what is in the queue, and what is worked on; the replica that leads has the"
            " queues, and the lease names it:"
            f" `kubectl -n $NAMESPACE port-forward {leader(deployment)} 8082 & sleep 2; curl -s"
            " localhost:8082/debug/queues`",
            f"Read what the slow object is about: {logs} | grep NAME`",
            "Nothing is lost by a restart; it begins anew with everything:"
            f" `kubectl -n $NAMESPACE rollout restart deploy/{deployment}`",
        ),
        **scope.trial(
            build_info,
            fires={depth: "60x120"},
            rests={
                depth: "0 200 80 10 0x116",
                f'workqueue_longest_running_processor_seconds{{name="{example}"}}': "2x120",
            },
            standby={depth: "0x120"},
        ),
    )


def _recent_logs(deployment: str) -> str:
    """The beginning of a command, to which a filter is added."""
    return f"`kubectl -n $NAMESPACE logs deploy/{deployment} --all-pods --since=15m"


def requests(prefix: str, *, build_info: str, deployment: str) -> Alert:
    """Of the way to the API server."""
    mine = scope.of(build_info)
    answered = 'rest_client_requests_total{code="200"}'
    refused = 'rest_client_requests_total{code="503"}'
    return Alert(
        name=f"{prefix}APIRequestsFail",
        expr=f'sum(rate(rest_client_requests_total{{code=~"5..|429|<error>"}}[10m]) {mine})'
        f" > 0.1 * sum(rate(rest_client_requests_total[10m]) {mine})",
        wait="10m",
        severity=TICKET,
        summary=f"{{{{ $value | humanize }}}} requests of {deployment} a second fail",
        meaning="More than a tenth of the requests to the API server get no answer, 429 or 5xx. It"
        " is mostly the API server's distress, not the controller's.",
        steps=(
            "Ask the API server how it is: `kubectl get --raw '/readyz?verbose'`",
            "See whether it throttles this client: `kubectl get --raw /metrics | grep"
            " apiserver_flowcontrol_rejected_requests_total`",
            "Read which requests fail:"
            f" `kubectl -n $NAMESPACE logs deploy/{deployment} --all-pods --since=15m | grep -i"
            " warning`",
        ),
        **scope.trial(
            build_info,
            fires={refused: "0+60x120", answered: "0+60x120"},
            rests={refused: "0+1x120", answered: "0+600x120"},
        ),
    )
