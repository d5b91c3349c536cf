"""Upstream's metrics by name, type and labels: dashboards made for KAITO and Karpenter read ours.

From KAITO's metrics.go, Karpenter's reference of metrics, operatorpkg's status controller,
controller-runtime and client-go. What is not here and why: docs/operations/metrics.md.
"""

from __future__ import annotations

from functools import cache

import pytest

from observability import generate, reference
from observability.reference import Family

DISRUPTED = "reason nodepool capacity_type consolidation_policy termination_mode"
CONDITION = "group kind namespace name nodepool type status reason"
OBJECT = "group kind namespace name nodepool"

PROVISIONER = """
karpenter_build_info gauge version
kaito_gpu_provisioner_build_info gauge version
karpenter_nodeclaims_created_total counter reason nodepool min_values_relaxed
karpenter_nodeclaims_terminated_total counter nodepool capacity_type zone
karpenter_nodeclaims_disrupted_total counter DISRUPTED
karpenter_nodeclaims_unhealthy_disrupted_total counter condition nodepool capacity_type image_id
karpenter_nodeclaims_instance_termination_duration_seconds histogram nodepool
karpenter_nodeclaims_termination_duration_seconds histogram nodepool
karpenter_nodes_created_total counter nodepool zone
karpenter_nodes_terminated_total counter nodepool zone
karpenter_nodes_termination_duration_seconds histogram nodepool
karpenter_nodes_lifetime_duration_seconds histogram nodepool
karpenter_nodes_drained_total counter nodepool
karpenter_nodes_eviction_requests_total counter code
karpenter_nodes_allocatable gauge resource_type node_name nodepool instance_type capacity_type \
zone arch os
karpenter_nodes_current_lifetime_seconds gauge node_name nodepool instance_type capacity_type \
zone arch os
karpenter_pods_drained_total counter reason
karpenter_pods_disruption_initiated_total counter DISRUPTED
karpenter_nodepools_limit gauge nodepool resource_type
karpenter_nodepools_usage gauge nodepool resource_type
karpenter_nodepools_allowed_disruptions gauge nodepool reason
karpenter_cloudprovider_duration_seconds histogram controller method provider
karpenter_cloudprovider_errors_total counter controller method provider error
karpenter_interruption_received_messages_total counter message_type
karpenter_interruption_deleted_messages_total counter
karpenter_interruption_message_queue_duration_seconds histogram
karpenter_interruption_instance_status_unhealthy_total counter category
kaito_nodeclaims gauge phase instance_type capacity_type
kaito_nodeclaims_gpus gauge phase instance_type capacity_type
kaito_instances_without_claim gauge
kaito_instances_collected_total counter
"""

WORKSPACE = """
kaito_build_info gauge version
kaito_workspace_count gauge phase
kaito_workspace_preset_count gauge preset_name
kaito_workspace_pvc_allocated_bytes gauge workspace_name workspace_namespace pvc_name
kaito_workspace_pvc_count gauge workspace_name workspace_namespace
kaito_ragengine_count gauge phase
kaito_cold_start_stage_seconds histogram stage
kaito_cold_start_seconds histogram
kaito_workspace_cold_start_stage_seconds gauge workspace namespace stage
"""

BOTH = """
operator_status_condition_transition_seconds histogram group kind type status
operator_status_condition_transitions_total counter group kind type status reason
operator_status_condition_count gauge CONDITION
operator_status_condition_current_status_seconds gauge CONDITION
operator_termination_current_time_seconds gauge OBJECT
operator_termination_duration_seconds histogram group kind
controller_runtime_reconcile_total counter controller result
controller_runtime_reconcile_errors_total counter controller
controller_runtime_reconcile_time_seconds histogram controller
workqueue_depth gauge name
workqueue_adds_total counter name
workqueue_retries_total counter name
workqueue_queue_duration_seconds histogram name
workqueue_work_duration_seconds histogram name
workqueue_unfinished_work_seconds gauge name
workqueue_longest_running_processor_seconds gauge name
rest_client_requests_total counter code method host
leader_election_master_status gauge name
kube_events_dropped_total counter cause
process_cpu_seconds_total counter
process_resident_memory_bytes gauge
"""


@cache
def families(program: str) -> dict[str, Family]:
    return {each.name: each for each in reference.families(program)}


def cases() -> list[object]:
    programs = {
        "gpu-provisioner": [*PROVISIONER.split("\n"), *BOTH.split("\n")],
        "workspace-controller": [*WORKSPACE.split("\n"), *BOTH.split("\n")],
    }
    sets = {"DISRUPTED": DISRUPTED, "CONDITION": CONDITION, "OBJECT": OBJECT}
    found: list[object] = []
    for program, table in programs.items():
        for line in filter(None, table):
            name, type_, *labels = line.split()
            labels = " ".join(sets.get(each, each) for each in labels).split()
            found.append(pytest.param(program, name, type_, labels, id=f"{program}-{name}"))
    return found


@pytest.mark.parametrize(("program", "name", "type_", "labels"), cases())
def test_a_metric_has_its_name_type_and_labels(
    program: str, name: str, type_: str, labels: list[str]
):
    found = families(program)[name]
    assert found.type == type_
    assert sorted(found.labels) == sorted(labels)
    assert found.help


def test_dashboards_rules_and_pages_are_up_to_date():
    assert [path.name for path in generate.stale()] == []
