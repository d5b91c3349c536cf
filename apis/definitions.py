"""How the API server is to serve our kinds: names, columns, subresources."""

from __future__ import annotations

from apis.kaito.v1alpha1.workspace import Workspace as WorkspaceV1Alpha1
from apis.kaito.v1beta1.workspace import Workspace
from apis.karpenter.v1.nodeclaim import NodeClaim
from apis.karpenter.v1.nodepool import NodePool
from kube.crd import AGE, Column, Definition, Version, condition_column

_WORKSPACE_COLUMNS = (
    Column("Instance", ".resource.instanceType"),
    condition_column("ResourceReady"),
    condition_column("InferenceReady"),
    condition_column("JobStarted"),
    condition_column("WorkspaceSucceeded"),
)

WORKSPACE = Definition(
    group="kaito.sh",
    kind="Workspace",
    plural="workspaces",
    short_names=("wk", "wks"),
    categories=("workspace",),
    versions=(
        Version("v1alpha1", WorkspaceV1Alpha1, (*_WORKSPACE_COLUMNS, AGE), storage=False),
        Version(
            "v1beta1",
            Workspace,
            (
                *_WORKSPACE_COLUMNS,
                Column("TargetNodeCount", ".status.targetNodeCount", "integer"),
                Column("State", ".status.state"),
                AGE,
            ),
        ),
    ),
)

NODE_CLAIM = Definition(
    group="karpenter.sh",
    kind="NodeClaim",
    plural="nodeclaims",
    namespaced=False,
    categories=("karpenter",),
    versions=(
        Version(
            "v1",
            NodeClaim,
            (
                Column("Type", r".metadata.labels.node\.kubernetes\.io/instance-type"),
                Column("Capacity", r".metadata.labels.karpenter\.sh/capacity-type"),
                Column("Zone", r".metadata.labels.topology\.kubernetes\.io/zone"),
                Column("Node", ".status.nodeName"),
                condition_column("Ready"),
                AGE,
                Column("ImageID", ".status.imageID", priority=1),
                Column("ID", ".status.providerID", priority=1),
                Column("NodePool", r".metadata.labels.karpenter\.sh/nodepool", priority=1),
                Column("NodeClass", ".spec.nodeClassRef.name", priority=1),
                condition_column("Drifted", priority=1),
            ),
        ),
    ),
)

NODE_POOL = Definition(
    group="karpenter.sh",
    kind="NodePool",
    plural="nodepools",
    namespaced=False,
    categories=("karpenter",),
    versions=(
        Version(
            "v1",
            NodePool,
            (
                Column("NodeClass", ".spec.template.spec.nodeClassRef.name"),
                Column("Nodes", ".status.nodes"),
                condition_column("Ready"),
                AGE,
                Column("Weight", ".spec.weight", "integer", priority=1),
                Column("CPU", ".status.resources.cpu", priority=1),
                Column("Memory", ".status.resources.memory", priority=1),
            ),
            scale={"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.nodes"},
        ),
    ),
)

DEFINITIONS = (WORKSPACE, NODE_CLAIM, NODE_POOL)
