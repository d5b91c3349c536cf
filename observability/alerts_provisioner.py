"""Alerts on GPU machines: those that do not come, those that do nothing, those that do not go."""

from __future__ import annotations

from observability import alerts_common, scope
from observability.alert import PAGE, TICKET, Alert, Group

_DEPLOYMENT = "gpu-provisioner"
_OF_CLAIM = 'group="karpenter.sh",kind="NodeClaim",name="ws1"'
_AGE = "operator_status_condition_current_status_seconds"
_CALLS = "karpenter_cloudprovider_duration_seconds_count"
_ERRORS = "karpenter_cloudprovider_errors_total"
_MINE = scope.of(scope.PROVISIONER)
_NO_FAULT = "NodeClaimNotFoundError|InsufficientCapacityError|OfferingRefusedError"

_MACHINES = (
    Alert(
        name="KaitoNodeClaimNotReady",
        expr=f'max by (name, reason) ({_AGE}{{kind="NodeClaim",type="Ready",status!="True"}})'
        " > 1800 unless on (name) operator_termination_current_time_seconds"
        '{kind="NodeClaim"}',
        wait="1m",
        severity=PAGE,
        summary="NodeClaim {{ $labels.name }} is not ready for"
        " {{ $value | humanizeDuration }}: {{ $labels.reason }}",
        meaning="A machine was asked for half an hour ago, or has been lost since, and there is no"
        " ready node. It may cost money already. A claim whose node never came is given up after 15"
        " minutes by itself: so this is a node without its GPUs, or one that broke.",
        steps=(
            "Read the three conditions, Launched, Registered, Initialized; the first that is not"
            " True has the reason: `kubectl describe nodeclaim NAME`",
            "Launched: the cloud; its words are in the message. See the alert on its calls:"
            " `kubectl get events -A --field-selector involvedObject.name=NAME`",
            "Registered: the machine runs and does not join. Look at its console in the cloud;"
            " mostly the network, or the node's credentials.",
            "Initialized: the Node is there without its GPUs; see driver and device plugin:"
            " `kubectl get pods -A -o wide --field-selector spec.nodeName=NODE`",
            "To give it up and get another one, which is safe at any time:"
            " `kubectl delete nodeclaim NAME`",
        ),
        fires={f'{_AGE}{{{_OF_CLAIM},type="Ready",status="Unknown",reason="x"}}': "0+60x120"},
        rests={
            f'{_AGE}{{{_OF_CLAIM},type="Ready",status="True",reason="x"}}': "0+60x120",
            f'{_AGE}{{{_OF_CLAIM},type="Drifted",status="False",reason="x"}}': "0+60x120",
        },
    ),
    Alert(
        name="KaitoInsufficientCapacity",
        expr="sum(increase(karpenter_nodeclaims_disrupted_total"
        f'{{reason="insufficient_capacity"}}[30m]) {_MINE}) > 3',
        severity=TICKET,
        summary="The cloud had no machine for {{ $value | humanize }} claims in 30 minutes",
        meaning="The cloud refuses for want of machines or of quota. Claims are deleted and made"
        " anew with growing pauses; their Workspaces say WaitingForQuota.",
        steps=(
            "See who waits for which instance type: `kubectl get workspaces -A -o wide`",
            "Read the cloud's own words: `kubectl get events -A --field-selector"
            " reason=InsufficientCapacityError`",
            "Quota: ask the cloud for more, in that region and family.",
            "Capacity: another zone, or another instance type; a Workspace is made anew for it.",
        ),
        **scope.trial(
            scope.PROVISIONER,
            fires={
                'karpenter_nodeclaims_disrupted_total{reason="insufficient_capacity"}': "0+1x120"
            },
            rests={
                'karpenter_nodeclaims_disrupted_total{reason="insufficient_capacity"}': "0x80 1x40",
                'karpenter_nodeclaims_disrupted_total{reason="drifted"}': "0+1x120",
            },
        ),
    ),
    Alert(
        name="KaitoGPUNodesIdle",
        expr='sum by (instance_type) (kaito_nodeclaims_gpus{phase="idle"}) > 0',
        wait="1h",
        severity=TICKET,
        summary="{{ $value }} GPUs of {{ $labels.instance_type }} have had no pod for an hour",
        meaning="Nodes are ready and nobody's pod is on them. Their owner waits for something that"
        " does not come (weights, a quota, an image), or a Workspace was taken down by hand.",
        steps=(
            "See whose they are: `kubectl get nodeclaims -L kaito.sh/workspace,"
            "kaito.sh/workspacenamespace`",
            "Ask why that Workspace does not use them: `kaito explain WORKSPACE -n NAMESPACE`",
            "A claim that nobody owns any more can go, and takes its machine along:"
            " `kubectl delete nodeclaim NAME`",
        ),
        fires={'kaito_nodeclaims_gpus{phase="idle",instance_type="a100"}': "8x120"},
        rests={
            'kaito_nodeclaims_gpus{phase="idle",instance_type="a100"}': "0x60 8x20 0x40",
            'kaito_nodeclaims_gpus{phase="busy",instance_type="a100"}': "8x120",
        },
    ),
    Alert(
        name="KaitoInstancesLeaked",
        expr="max(kaito_instances_without_claim) > 0",
        wait="30m",
        severity=PAGE,
        summary="{{ $value }} machines cost money and belong to no claim",
        meaning="Garbage collection finds machines that nobody asked for, and cannot end them. They"
        " cost by the hour, until somebody does.",
        steps=(
            "Read which, and why the cloud does not end them: `kubectl -n $NAMESPACE logs"
            ' deploy/gpu-provisioner --all-pods --since=1h | grep "has no claim"`',
            "End them in the cloud's own console or command line; their tags name the claim they"
            " were for.",
            "See that the provisioner may delete: the cloud's audit log has the refusal.",
        ),
        fires={"kaito_instances_without_claim": "2x120"},
        rests={"kaito_instances_without_claim": "0x60 2x10 0x50"},
    ),
    Alert(
        name="KaitoNodeClaimStuckDeleting",
        expr="max by (kind, name) (operator_termination_current_time_seconds"
        '{kind=~"NodeClaim|NodePool"}) > 3600',
        wait="1m",
        severity=TICKET,
        summary="{{ $labels.kind }} {{ $labels.name }} was deleted"
        " {{ $value | humanizeDuration }} ago and is still there",
        meaning="The machine runs, and costs, until its claim is gone: a pod may not be evicted (a"
        " PodDisruptionBudget, do-not-disrupt), a volume does not come off, or the cloud refuses.",
        steps=(
            "Read what it waits for: `kubectl describe nodeclaim NAME`",
            "See which pods are left: `kubectl get pods -A -o wide --field-selector"
            " spec.nodeName=NODE`",
            "See which budgets hold them: `kubectl get pdb -A`",
            "Where their loss is fine: `kubectl delete pod POD -n NAMESPACE`",
            "Do not take the finalizer off by hand: the machine would run on, and nobody would"
            " know.",
        ),
        fires={f"operator_termination_current_time_seconds{{{_OF_CLAIM}}}": "0+60x120"},
        rests={f"operator_termination_current_time_seconds{{{_OF_CLAIM}}}": "_x60 0+60x50"},
    ),
    Alert(
        name="KaitoNodesUnhealthy",
        expr="sum by (condition) (increase("
        f"karpenter_nodeclaims_unhealthy_disrupted_total[1h]) {_MINE}) > 2",
        severity=TICKET,
        summary="{{ $value | humanize }} nodes were replaced within an hour:"
        " {{ $labels.condition }}",
        meaning="Repair replaces nodes that stay sick. One is chance; several at once are an image,"
        " a driver, or a zone.",
        steps=(
            "Read which, and what they said: `kubectl get events -A --field-selector"
            " involvedObject.kind=NodeClaim --sort-by=.lastTimestamp | tail -30`",
            "See whether they share a zone, an image or an instance type: `kubectl get nodeclaims"
            " -o wide`",
            "Until the cause is known, repair can be switched off; the chart's README has the"
            " value.",
        ),
        **scope.trial(
            scope.PROVISIONER,
            fires={
                'karpenter_nodeclaims_unhealthy_disrupted_total{condition="ready"}': "0x60 0+1x60"
            },
            rests={
                'karpenter_nodeclaims_unhealthy_disrupted_total{condition="ready"}': "0x70 1x50"
            },
        ),
    ),
)

_CLOUD = Alert(
    name="KaitoCloudCallsFail",
    expr=f'sum by (method, error) (rate({_ERRORS}{{error!~"{_NO_FAULT}"}}[15m]) {_MINE})'
    f" > on (method) group_left () 0.2 * sum by (method) (rate({_CALLS}[15m]) {_MINE})",
    wait="15m",
    severity=PAGE,
    summary="{{ $labels.method }} of the cloud fails: {{ $labels.error }}",
    meaning="More than a fifth of a kind of call fails for half an hour, for other reasons than"
    " want of machines. Nothing new is bought; where Delete fails nothing is given back.",
    steps=(
        "Read the cloud's words: `kubectl -n $NAMESPACE logs deploy/gpu-provisioner --all-pods"
        " --since=30m | grep -i cloud`",
        "CloudUnavailableError: the cloud's status page; throttling passes by itself.",
        "CreateError and empty: mostly credentials that have run out, or a role that lost a right:"
        " try the same with the cloud's command line under the provisioner's identity.",
    ),
    **scope.trial(
        scope.PROVISIONER,
        fires={
            f'{_ERRORS}{{method="Create",error="CreateError"}}': "0+6x120",
            f'{_CALLS}{{method="Create"}}': "0+10x120",
        },
        rests={
            f'{_ERRORS}{{method="Delete",error="NodeClaimNotFoundError"}}': "0+9x120",
            f'{_ERRORS}{{method="Create",error="CreateError"}}': "0+1x120",
            f'{_CALLS}{{method="Delete"}}': "0+10x120",
            f'{_CALLS}{{method="Create"}}': "0+10x120",
        },
    ),
)

GROUP = Group(
    "gpu-provisioner",
    "kaito-gpu-provisioner",
    (
        *alerts_common.process(
            "KaitoProvisioner",
            build_info=scope.PROVISIONER,
            deployment=_DEPLOYMENT,
        ),
        *_MACHINES,
        _CLOUD,
        *alerts_common.work(
            "KaitoProvisioner",
            build_info=scope.PROVISIONER,
            example="nodeclaim.lifecycle",
            deployment=_DEPLOYMENT,
        ),
        alerts_common.requests(
            "KaitoProvisioner", build_info=scope.PROVISIONER, deployment=_DEPLOYMENT
        ),
    ),
    "`NAMESPACE` is the release's: `export NAMESPACE=gpu-provisioner`.",
)
