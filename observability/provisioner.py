"""The dashboard of gpu-provisioner: what GPUs do that are paid for, and how nodes come and go."""

from __future__ import annotations

from observability import processes, scope
from observability.panel import Board, Kind, Panel, Query, Row


def _quantile(quantile: float, metric: str, by: str, where: str = "") -> str:
    """Without what is not a number, where nothing happened."""
    return (
        f"histogram_quantile({quantile}, sum by (le, {by}) "
        f"(rate({metric}_bucket{where}[$__rate_interval]))) >= 0"
    )


_NOW = Row(
    "Now",
    (
        Panel(
            title="GPUs by what they do",
            about="waiting: their node boots. idle: the node is ready and nobody's pod is on it."
            " ending: the claim is deleted, the machine is not gone. All four are paid for.",
            queries=(Query("sum by (phase) (kaito_nodeclaims_gpus)", "{{phase}}"),),
            kind=Kind.NUMBER,
            width=8,
        ),
        Panel(
            title="Nodes by what they do",
            about="As the GPUs, counted in claims; nodes without a GPU count here.",
            queries=(Query("sum by (phase) (kaito_nodeclaims)", "{{phase}}"),),
            kind=Kind.NUMBER,
            width=8,
        ),
        Panel(
            title="Machines without a claim",
            about="The cloud has them, nobody asked for them, and they cost money. Garbage"
            " collection ends them after a grace period; above 0 for long it cannot.",
            queries=(Query("max(kaito_instances_without_claim)", "machines"),),
            kind=Kind.NUMBER,
            warn=1,
            width=4,
        ),
        processes.leader(scope.PROVISIONER),
    ),
)

_COST = Row(
    "What is paid for",
    (
        Panel(
            title="GPUs by what they do",
            about="Everything that is not busy is money for nothing.",
            queries=(Query("sum by (phase) (kaito_nodeclaims_gpus)", "{{phase}}"),),
            kind=Kind.STACK,
            width=12,
        ),
        Panel(
            title="Idle nodes by instance type",
            about="Ready, and without a pod but those that every node has.",
            queries=(
                Query(
                    'sum by (instance_type) (kaito_nodeclaims{phase="idle"})', "{{instance_type}}"
                ),
            ),
            width=6,
        ),
        Panel(
            title="Machines without a claim",
            about="Found by garbage collection, and ended by it.",
            queries=(
                Query("max(kaito_instances_without_claim)", "there now"),
                Query("sum(increase(kaito_instances_collected_total[$__range]))", "ended in range"),
            ),
            width=6,
        ),
        Panel(
            title="Nodes by instance type",
            about="Whatever they do.",
            queries=(Query("sum by (instance_type) (kaito_nodeclaims)", "{{instance_type}}"),),
            kind=Kind.STACK,
            width=8,
        ),
        Panel(
            title="Oldest claim that is not ready",
            about="Seconds since its Ready condition last changed. A GPU machine takes 3 to 10"
            " minutes; after 15 without a node a claim is given up.",
            queries=(
                Query(
                    "max(operator_status_condition_current_status_seconds"
                    '{kind="NodeClaim",type="Ready",status!="True"}) or vector(0)',
                    "oldest",
                ),
            ),
            unit="s",
        ),
        Panel(
            title="Node ages",
            about="Oldest and median.",
            queries=(
                Query("max(karpenter_nodes_current_lifetime_seconds)", "oldest"),
                Query("quantile(0.5, karpenter_nodes_current_lifetime_seconds)", "median"),
            ),
            unit="s",
        ),
    ),
)

_BIRTH = Row(
    "From claim to node",
    (
        Panel(
            title="Claims made, ended, given up within an hour",
            about="Given up: by the provisioner itself, with the reason. insufficient_capacity:"
            " the cloud has none; registration_timeout: the machine never joined.",
            queries=(
                Query("sum(increase(karpenter_nodeclaims_created_total[1h]))", "made"),
                Query("sum(increase(karpenter_nodeclaims_terminated_total[1h]))", "ended"),
                Query(
                    "sum by (reason) (increase(karpenter_nodeclaims_disrupted_total[1h]))",
                    "given up: {{reason}}",
                ),
            ),
            unit="short",
            width=12,
        ),
        Panel(
            title="Until Launched, Registered, Initialized (median)",
            about="How long the condition was Unknown before it became True.",
            queries=(
                Query(
                    _quantile(
                        0.5,
                        "operator_status_condition_transition_seconds",
                        "type",
                        '{kind="NodeClaim",status="Unknown",'
                        'type=~"Launched|Registered|Initialized"}',
                    ),
                    "{{type}}",
                ),
            ),
            unit="s",
            width=12,
        ),
    ),
)

_CLOUD = Row(
    "The cloud",
    (
        Panel(
            title="Calls",
            about="By method.",
            queries=(
                Query(
                    "sum by (method) (rate(karpenter_cloudprovider_duration_seconds_count"
                    "[$__rate_interval]))",
                    "{{method}}",
                ),
            ),
            unit="reqps",
        ),
        Panel(
            title="Calls that failed",
            about="NodeClaimNotFoundError is how a deletion ends, and no fault. An empty error is"
            " one outside the contract: see the log.",
            queries=(
                Query(
                    "sum by (method, error) (rate(karpenter_cloudprovider_errors_total"
                    "[$__rate_interval]))",
                    "{{method}}: {{error}}",
                ),
            ),
            unit="reqps",
            none="none failed",
        ),
        Panel(
            title="How long calls take (95th percentile)",
            about="A cloud that throttles answers late before it refuses.",
            queries=(
                Query(
                    _quantile(0.95, "karpenter_cloudprovider_duration_seconds", "method"),
                    "{{method}}",
                ),
            ),
            unit="s",
        ),
    ),
)

_END = Row(
    "From node to nothing",
    (
        Panel(
            title="How long the end of a claim takes",
            about="Deletion until it is gone: drain, volumes, machine.",
            queries=(
                Query(
                    _quantile(0.5, "karpenter_nodeclaims_termination_duration_seconds", "nodepool"),
                    "claim, median {{nodepool}}",
                ),
                Query(
                    _quantile(
                        0.5,
                        "karpenter_nodeclaims_instance_termination_duration_seconds",
                        "nodepool",
                    ),
                    "machine, median {{nodepool}}",
                ),
            ),
            unit="s",
            none="nothing has ended",
            width=6,
        ),
        Panel(
            title="Longest that is still ending",
            about="Seconds since the deletion. A pod that may not be evicted holds a node here.",
            queries=(
                Query("max by (kind) (operator_termination_current_time_seconds)", "{{kind}}"),
            ),
            unit="s",
            none="nothing has ended",
            width=6,
        ),
        Panel(
            title="Pods that had to go, sick nodes, notices",
            about="forced: deleted for want of time. Notices: the cloud takes a machine back.",
            queries=(
                Query(
                    "sum by (reason) (rate(karpenter_pods_drained_total[$__rate_interval]))",
                    "pods {{reason}}",
                ),
                Query(
                    "sum by (condition) (rate(karpenter_nodeclaims_unhealthy_disrupted_total"
                    "[$__rate_interval]))",
                    "sick: {{condition}}",
                ),
                Query(
                    "sum by (message_type) (rate(karpenter_interruption_received_messages_total"
                    "[$__rate_interval]))",
                    "notice: {{message_type}}",
                ),
            ),
            unit="ops",
            none="none",
            width=6,
        ),
        Panel(
            title="Pools: what they have of what they may",
            about="Static NodePools only.",
            queries=(
                Query(
                    "max by (nodepool, resource_type) (karpenter_nodepools_usage)"
                    " / max by (nodepool, resource_type) (karpenter_nodepools_limit)",
                    "{{nodepool}} {{resource_type}}",
                ),
            ),
            unit="percentunit",
            none="no static pool has limits",
            width=6,
        ),
    ),
)

BOARD = Board(
    chart="gpu-provisioner",
    uid="kaito-gpu-provisioner",
    title="KAITO / GPU provisioner",
    about="What GPU machines do that are paid for, how they come, and how they go.",
    rows=(_NOW, _COST, _BIRTH, _CLOUD, _END, processes.row(scope.PROVISIONER)),
)
