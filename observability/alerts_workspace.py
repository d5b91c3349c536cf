"""Alerts on models: those that do not serve, and those that start more slowly than they did."""

from __future__ import annotations

from observability import alerts_common, scope
from observability.alert import PAGE, TICKET, Alert, Group

_DEPLOYMENT = "workspace"
_AGE = "operator_status_condition_current_status_seconds"
_FALCON = 'kind="Workspace",namespace="team",name="falcon"'
_ENDING = 'kind="Workspace",namespace="team",name="ending"'
_NOBODYS_FAULT = ".*Quota.*|InsufficientCapacity.*"
"""Of the namespace, or of the cloud: no machine is late, there is none to be had."""
_STAGE = "kaito_cold_start_stage_seconds"


def _mean(window: str, offset: str = "") -> str:
    """A mean, since a few starts a week fill no histogram."""
    return (
        f"sum by (stage) (increase({_STAGE}_sum[{window}]{offset}))"
        f" / sum by (stage) (increase({_STAGE}_count[{window}]{offset}))"
    )


_MODELS = (
    Alert(
        name="KaitoWorkspaceNotServing",
        expr=f'max by (namespace, name, reason) ({_AGE}{{kind="Workspace",type="InferenceReady",'
        'status!="True"}) > 3600'
        " unless on (namespace, name) operator_termination_current_time_seconds"
        '{kind="Workspace"}',
        wait="1m",
        severity=PAGE,
        summary="Workspace {{ $labels.namespace }}/{{ $labels.name }} has not served for"
        " {{ $value | humanizeDuration }}: {{ $labels.reason }}",
        meaning="A model that was asked for an hour ago, or that has served before, does not"
        " answer. Its nodes are paid for.",
        steps=(
            "Ask why; the first lines have the reason and the next step: `kaito explain NAME -n"
            " NAMESPACE`",
            "Or without the tool: `kubectl -n NAMESPACE get workspace NAME -o wide; kubectl -n"
            " NAMESPACE describe workspace NAME`",
            "Where its pods fail: `kubectl -n NAMESPACE logs NAME-0 --previous --tail=100`",
            "An edit that broke it is taken back by: `kaito rollback NAME -n NAMESPACE`",
        ),
        fires={f'{_AGE}{{{_FALCON},type="InferenceReady",status="False",reason="r"}}': "0+60x120"},
        rests={
            f'{_AGE}{{{_FALCON},type="InferenceReady",status="True",reason="r"}}': "0+60x120",
            f'{_AGE}{{{_FALCON},type="JobStarted",status="False",reason="r"}}': "0+60x120",
        },
    ),
    Alert(
        name="KaitoWorkspaceWithoutNodes",
        expr=f'max by (kind, namespace, name, reason) ({_AGE}{{kind=~"Workspace|RAGEngine",'
        f'type="NodeClaimReady",status!="True",reason!~"{_NOBODYS_FAULT}"}}) > 1800'
        " unless on (kind, namespace, name) operator_termination_current_time_seconds",
        wait="1m",
        severity=PAGE,
        summary="{{ $labels.kind }} {{ $labels.namespace }}/{{ $labels.name }} waits for its nodes"
        " for {{ $value | humanizeDuration }}: {{ $labels.reason }}",
        meaning="Nodes were asked for half an hour ago, or have been lost since, and whoever makes"
        " them (gpu-provisioner, or a Karpenter provider) has not brought them. The controller"
        " that waits tells this, so that it is told of claims that are given up and made anew, and"
        " where no provisioner is left that could complain. Want of capacity and of quota is not"
        " among it; KaitoWorkspaceNotServing is, in the end.",
        steps=(
            "See the claims, and of which node class they are: `kubectl get nodeclaims -o"
            " 'custom-columns=NAME:.metadata.name,CLASS:.spec.nodeClassRef.kind,"
            'READY:.status.conditions[?(@.type=="Ready")].reason'
            "'`",
            "Whose class that is stands in [karpenter](karpenter.md): see that this provisioner"
            " runs: `kubectl get deployments -A | grep -E 'gpu-provisioner|karpenter'`",
            "A claim without any condition is one that nobody has looked at: no provisioner serves"
            " its class.",
            "Read what its provisioner says of it: `kubectl describe nodeclaim NAME`",
            "Or ask for all of it at once: `kaito explain NAME -n NAMESPACE`",
        ),
        fires={f'{_AGE}{{{_FALCON},type="NodeClaimReady",status="False",reason="r"}}': "0+60x120"},
        rests={
            f'{_AGE}{{{_FALCON},type="NodeClaimReady",status="True",reason="r"}}': "0+60x120",
            f'{_AGE}{{{_FALCON},type="NodeClaimReady",status="False",'
            'reason="GPUQuotaExceeded"}': "0+60x120",
            f'{_AGE}{{{_ENDING},type="NodeClaimReady",status="False",reason="r"}}': "0+60x120",
            f"operator_termination_current_time_seconds{{{_ENDING}}}": "0+60x120",
        },
    ),
    Alert(
        name="KaitoWorkspaceFailed",
        expr='max(kaito_workspace_count{phase="error"}) > 0',
        wait="30m",
        severity=TICKET,
        summary="{{ $value }} Workspaces have failed, and only their users can mend them",
        meaning="A spec that cannot work (a model that does not fit, an unknown option), or a"
        " fine-tuning that ended badly. Nothing is tried again until somebody edits it.",
        steps=(
            "See which: `kubectl get workspaces -A -o wide`",
            "Tell its owner what its status says: `kubectl -n NAMESPACE describe workspace NAME`",
        ),
        fires={'kaito_workspace_count{phase="error"}': "1x120"},
        rests={
            'kaito_workspace_count{phase="error"}': "0x60 1x10 0x50",
            'kaito_workspace_count{phase="pending"}': "1x120",
        },
    ),
    Alert(
        name="KaitoRAGEngineFailed",
        expr='max(kaito_ragengine_count{phase="error"}) > 0',
        wait="30m",
        severity=TICKET,
        summary="{{ $value }} RAGEngines have failed, and only their users can mend them",
        meaning="As KaitoWorkspaceFailed, of a RAGEngine.",
        steps=(
            "See which: `kubectl get ragengines -A`",
            "Tell its owner what its status says: `kubectl -n NAMESPACE describe ragengine NAME`",
        ),
        fires={'kaito_ragengine_count{phase="error"}': "1x120"},
        rests={'kaito_ragengine_count{phase="error"}': "0x120"},
    ),
    Alert(
        name="KaitoColdStartSlower",
        expr=f"{_mean('1d')} > 2 * ({_mean('7d', ' offset 1d')})"
        f" and {_mean('1d')} > 60"
        f" and sum by (stage) (increase({_STAGE}_count[1d])) > 2.5",
        severity=TICKET,
        summary="Cold starts: stage {{ $labels.stage }} takes {{ $value | humanizeDuration }},"
        " more than twice as long as in the week before",
        meaning="At least three starts within a day, and one of their stages took twice the mean of"
        " the seven days before. New replicas come late, and GPUs are paid for while they wait.",
        steps=(
            "claim: refused attempts; see KaitoInsufficientCapacity.",
            "launch, boot: the cloud, or a new machine image. driver: the GPU operator; see what"
            " changed: `kubectl get ds -A -o wide`",
            "image: a new, larger image, or a registry that is slow: `kubectl -n NAMESPACE get"
            " events --field-selector reason=Pulled`",
            "weights: the hub, or the mirror: `kubectl -n NAMESPACE logs NAME-0 -c"
            " CONTAINER --tail=50`",
            "load: the engine's version, or a disk that is slow; compare the newest starts:"
            " `kubectl get workspaces -A -o"
            " custom-columns=NAME:.metadata.name,START:.status.coldStart.stages`",
        ),
        fires={
            f'{_STAGE}_sum{{stage="boot"}}': "0+100x32 3500+300x10",
            f'{_STAGE}_count{{stage="boot"}}': "0+1x43",
        },
        rests={
            f'{_STAGE}_sum{{stage="boot"}}': "0+100x43",
            f'{_STAGE}_count{{stage="boot"}}': "0+1x43",
        },
        at=40,
        every="6h",
    ),
    Alert(
        name="KaitoWebhookUnreachable",
        expr='sum by (name) (rate(apiserver_admission_webhook_rejection_count{name=~".*kaito.sh",'
        'error_type="calling_webhook_error"}[5m])) > 0',
        wait="5m",
        severity=PAGE,
        summary="The API server cannot ask {{ $labels.name }}: Workspaces cannot be written",
        meaning="Every write of a Workspace or RAGEngine is refused, by users and by GitOps, since"
        " the API server gets no answer from the webhook. What serves goes on.",
        steps=(
            "See whether the Service has endpoints: `kubectl -n $NAMESPACE get endpointslices`",
            "Read the API server's complaint by trying: `kubectl apply --dry-run=server -f"
            " examples/workspace-phi-4-mini.yaml`",
            "x509: the certificate and the bundle differ. Both are written by the leader; see what"
            " it says: `kubectl -n $NAMESPACE logs deploy/workspace --all-pods | grep -i"
            " certificate`",
            "timeout: a firewall between the control plane and port 9443 of the nodes.",
        ),
        fires={
            'apiserver_admission_webhook_rejection_count{name="validation.workspace.kaito.sh",'
            'error_type="calling_webhook_error"}': "0+2x120"
        },
        rests={
            'apiserver_admission_webhook_rejection_count{name="validation.workspace.kaito.sh",'
            'error_type="no_error"}': "0+2x120"
        },
    ),
)

GROUP = Group(
    "workspace",
    "kaito-workspace",
    (
        *alerts_common.process(
            "KaitoWorkspaceController",
            build_info=scope.WORKSPACE,
            deployment=_DEPLOYMENT,
        ),
        *_MODELS,
        *alerts_common.work(
            "KaitoWorkspaceController",
            build_info=scope.WORKSPACE,
            example="workspace",
            deployment=_DEPLOYMENT,
        ),
        alerts_common.requests(
            "KaitoWorkspaceController", build_info=scope.WORKSPACE, deployment=_DEPLOYMENT
        ),
    ),
    "`$NAMESPACE` is the release's (`export NAMESPACE=kaito-workspace`), `NAMESPACE` the"
    " Workspace's.",
)
