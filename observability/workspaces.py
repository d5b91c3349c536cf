"""The dashboard of the workspace controller: what serves, and where a cold start's time goes."""

from __future__ import annotations

from observability import processes, scope
from observability.panel import Board, Kind, Panel, Query, Row, Variable
from workspace_controller.workspace.coldstart import STAGES

_CHOSEN = 'namespace=~"$namespace",workspace=~"$workspace"'
_OF_VOLUMES = 'workspace_namespace=~"$namespace",workspace_name=~"$workspace"'


def _both(vllm: str, ours: str) -> str:
    """The engines count the same under their own names."""
    return f"{vllm} or {ours}"


_NOW = Row(
    "Now",
    (
        Panel(
            title="Workspaces by phase",
            about="error: only its user can mend it. pending: on its way, or waiting for nodes.",
            queries=(Query("max by (phase) (kaito_workspace_count)", "{{phase}}"),),
            kind=Kind.NUMBER,
            width=10,
        ),
        Panel(
            title="RAGEngines by phase",
            about="As Workspaces.",
            queries=(Query("max by (phase) (kaito_ragengine_count)", "{{phase}}"),),
            kind=Kind.NUMBER,
            width=10,
        ),
        processes.leader(scope.WORKSPACE),
        Panel(
            title="Longest that does not serve",
            about="Workspaces whose condition InferenceReady is not True, and for how long:"
            " `kaito explain NAME` says why.",
            queries=(
                Query(
                    "topk(5, operator_status_condition_current_status_seconds"
                    '{kind="Workspace",type="InferenceReady",status!="True",'
                    'namespace=~"$namespace",name=~"$workspace"})',
                    "{{namespace}}/{{name}}: {{reason}}",
                ),
            ),
            unit="s",
            kind=Kind.BARS,
            warn=1800,
            width=12,
        ),
        Panel(
            title="Models that are served",
            about="Workspaces by preset.",
            queries=(
                Query("max by (preset_name) (kaito_workspace_preset_count)", "{{preset_name}}"),
            ),
            kind=Kind.BARS,
            width=12,
        ),
    ),
)

_STARTS = Row(
    "Cold starts",
    (
        Panel(
            title="Where the time goes: median of each stage",
            about="Over the time shown. claim, launch, boot: until the machine is a Node (cloud,"
            " provisioner). driver: until its GPUs can be asked for. image, weights: what is"
            " fetched. load: the engine reads, compiles, warms. docs/operations/metrics.md.",
            queries=tuple(
                Query(
                    "histogram_quantile(0.5, sum by (le) (increase("
                    f'kaito_cold_start_stage_seconds_bucket{{stage="{stage}"}}[$__range]))) >= 0',
                    stage,
                )
                for stage in STAGES
            ),
            none="no start ended in the time shown",
            kind=Kind.BARS,
            unit="s",
            width=10,
        ),
        Panel(
            title="A start, all in all",
            about="From the wish until the last pod was ready.",
            queries=(
                Query(
                    "histogram_quantile(0.5, sum by (le) "
                    "(increase(kaito_cold_start_seconds_bucket[$__range]))) >= 0",
                    "median",
                ),
                Query(
                    "histogram_quantile(0.95, sum by (le) "
                    "(increase(kaito_cold_start_seconds_bucket[$__range]))) >= 0",
                    "95th percentile",
                ),
            ),
            kind=Kind.NUMBER,
            unit="s",
            width=8,
        ),
        Panel(
            title="Starts",
            about="That ended in the time shown.",
            queries=(Query("sum(increase(kaito_cold_start_seconds_count[$__range]))", "starts"),),
            kind=Kind.NUMBER,
            width=6,
        ),
        Panel(
            title="Newest start of each Workspace",
            about="Seconds by stage; the same is in status.coldStart. A stage that is missing has"
            " not happened: a node that was there already needs no launch.",
            queries=(
                Query(
                    "label_join(max by (namespace, workspace, stage) "
                    f"(kaito_workspace_cold_start_stage_seconds{{{_CHOSEN}}}),"
                    ' "workspace", "/", "namespace", "workspace")',
                    "{{workspace}} {{stage}}",
                ),
            ),
            kind=Kind.MATRIX,
            order=STAGES,
            rows="workspace",
            columns="stage",
            unit="s",
            width=14,
        ),
        Panel(
            title="Starts over time, mean by stage",
            about="A stage that grows after an upgrade of an image, a driver or a model shows"
            " here.",
            queries=(
                Query(
                    "sum by (stage) (rate(kaito_cold_start_stage_seconds_sum[$__rate_interval]))"
                    " / sum by (stage) "
                    "(rate(kaito_cold_start_stage_seconds_count[$__rate_interval]) > 0)",
                    "{{stage}}",
                ),
            ),
            unit="s",
            none="no start ended in the time shown",
            width=10,
        ),
    ),
)

_NOT_SCRAPED = "no engine is scraped"
_ENGINES = Row(
    "Engines (from the serving pods)",
    (
        Panel(
            title="Requests in hand",
            about="Running and waiting; where some wait for long, the model has too few GPUs.",
            queries=(
                Query(
                    _both(
                        "sum by (namespace, pod) (vllm:num_requests_running)",
                        "sum by (namespace, pod) (kaito_num_requests_running)",
                    ),
                    "{{pod}} running",
                ),
                Query(
                    _both(
                        "sum by (namespace, pod) (vllm:num_requests_waiting)",
                        "sum by (namespace, pod) (kaito_num_requests_waiting)",
                    ),
                    "{{pod}} waiting",
                ),
            ),
            none=_NOT_SCRAPED,
        ),
        Panel(
            title="First token (95th percentile)",
            about="From the request to its first token.",
            queries=(
                Query(
                    _both(
                        "histogram_quantile(0.95, sum by (le, namespace, pod) (rate("
                        "vllm:time_to_first_token_seconds_bucket[$__rate_interval])))",
                        "histogram_quantile(0.95, sum by (le, namespace, pod) (rate("
                        "kaito_time_to_first_token_seconds_bucket[$__rate_interval])))",
                    ),
                    "{{pod}}",
                ),
            ),
            unit="s",
            none=_NOT_SCRAPED,
        ),
        Panel(
            title="Tokens written per second",
            about="GPUs that write none are paid for as well.",
            queries=(
                Query(
                    _both(
                        "sum by (namespace, pod) "
                        "(rate(vllm:generation_tokens_total[$__rate_interval]))",
                        "sum by (namespace, pod) "
                        "(rate(kaito_generation_tokens_total[$__rate_interval]))",
                    ),
                    "{{pod}}",
                ),
            ),
            none=_NOT_SCRAPED,
        ),
    ),
)

_VOLUMES = Row(
    "Volumes",
    (
        Panel(
            title="Volumes of Workspaces",
            about="What their claims have, or ask for.",
            queries=(
                Query(
                    "max by (workspace_namespace, workspace_name, pvc_name) "
                    f"(kaito_workspace_pvc_allocated_bytes{{{_OF_VOLUMES}}})",
                    "{{workspace_name}} {{pvc_name}}",
                ),
            ),
            unit="bytes",
            kind=Kind.BARS,
            width=12,
        ),
        Panel(
            title="Events that were not written",
            about="rate: one object said too much. queue, error: the API server is slow, or"
            " refuses.",
            queries=(
                Query(
                    "sum by (cause) (rate(kube_events_dropped_total[$__rate_interval]))",
                    "{{cause}}",
                ),
            ),
            unit="ops",
            none="all were written",
            width=12,
        ),
    ),
)

BOARD = Board(
    chart="workspace",
    uid="kaito-workspaces",
    title="KAITO / Workspaces",
    about="Which models serve, how long they take to start, and where that time goes.",
    rows=(_NOW, _STARTS, _ENGINES, _VOLUMES, processes.row(scope.WORKSPACE)),
    variables=(
        Variable("namespace", 'operator_status_condition_count{kind="Workspace"}, namespace'),
        Variable(
            "workspace",
            'operator_status_condition_count{kind="Workspace",namespace=~"$namespace"}, name',
        ),
    ),
)
