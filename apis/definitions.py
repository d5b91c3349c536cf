"""How the API server is to serve our kinds: names, columns, subresources."""

from __future__ import annotations

from apis.kaito.v1alpha1.ragengine import RAGEngine as RAGEngineV1Alpha1
from apis.kaito.v1alpha1.workspace import Workspace as WorkspaceV1Alpha1
from apis.kaito.v1beta1.ragengine import RAGEngine
from apis.kaito.v1beta1.workspace import Workspace
from apis.karpenter.nodeclasses.aks import AKSNodeClass
from apis.karpenter.nodeclasses.ec2 import EC2NodeClass
from apis.karpenter.nodeclasses.gce import GCENodeClass
from apis.karpenter.nodeclasses.kaito import KaitoNodeClass
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
                Column("Stage", ".status.progress.stage", priority=1),
                Column("Elapsed", ".status.progress.since", "date", priority=1),
                Column("Endpoint", ".status.endpoint", priority=1),
            ),
        ),
    ),
)

_RAG_ENGINE_COLUMNS = (
    Column("Instance", ".spec.compute.instanceType"),
    condition_column("ResourceReady"),
    condition_column("ServiceReady"),
    AGE,
    Column("State", ".status.state", priority=1),
    Column("Endpoint", ".status.endpoint", priority=1),
)

RAG_ENGINE = Definition(
    group="kaito.sh",
    kind="RAGEngine",
    plural="ragengines",
    short_names=("rag",),
    categories=("ragengine",),
    versions=(
        Version(
            "v1alpha1",
            RAGEngineV1Alpha1,
            _RAG_ENGINE_COLUMNS,
            storage=False,
            deprecation="kaito.sh/v1alpha1 RAGEngine is deprecated; use kaito.sh/v1beta1 RAGEngine",
        ),
        Version("v1beta1", RAGEngine, _RAG_ENGINE_COLUMNS),
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

AKS_NODE_CLASS = Definition(
    group="karpenter.azure.com",
    kind="AKSNodeClass",
    plural="aksnodeclasses",
    namespaced=False,
    short_names=("aksnc", "aksncs"),
    categories=("karpenter", "nap"),
    versions=(
        Version(
            "v1beta1",
            AKSNodeClass,
            (
                condition_column("Ready"),
                AGE,
                Column("ImageFamily", ".spec.imageFamily", priority=1),
            ),
        ),
    ),
)

EC2_NODE_CLASS = Definition(
    group="karpenter.k8s.aws",
    kind="EC2NodeClass",
    plural="ec2nodeclasses",
    namespaced=False,
    short_names=("ec2nc", "ec2ncs"),
    categories=("karpenter",),
    versions=(
        Version(
            "v1",
            EC2NodeClass,
            (condition_column("Ready"), AGE, Column("Role", ".spec.role", priority=1)),
        ),
    ),
)

GCE_NODE_CLASS = Definition(
    group="karpenter.k8s.gcp",
    kind="GCENodeClass",
    plural="gcenodeclasses",
    namespaced=False,
    short_names=("gcenc", "gcencs"),
    categories=("karpenter",),
    versions=(Version("v1alpha1", GCENodeClass, (condition_column("Ready"), AGE)),),
)

KAITO_NODE_CLASS = Definition(
    group="kaito.sh",
    kind="KaitoNodeClass",
    plural="kaitonodeclasses",
    namespaced=False,
    short_names=("knc",),
    categories=("karpenter",),
    versions=(Version("v1alpha1", KaitoNodeClass, (condition_column("Ready"), AGE)),),
)

NODE_CLASSES = (AKS_NODE_CLASS, EC2_NODE_CLASS, GCE_NODE_CLASS, KAITO_NODE_CLASS)

DEFINITIONS = (WORKSPACE, RAG_ENGINE, NODE_CLAIM, NODE_POOL, *NODE_CLASSES)
