"""W-C14: nodes of one's own, by name, by label and by what they say of themselves."""

from __future__ import annotations

from dataclasses import replace

from apis.kaito import admission
from tests.builders import a_workspace_manifest, settings

FACTS = settings(byo=True).facts
TYPED = {"node.kubernetes.io/instance-type": "local-gpu-1"}


def refusals(*nodes: dict[str, str], **resource: object) -> list[str]:
    manifest = a_workspace_manifest(resource={"labelSelector": {}, **resource})
    return [str(each) for each in admission.refusals(manifest, replace(FACTS, nodes=nodes))]


def test_a_type_of_the_catalogue_needs_no_labels_of_its_gpus():
    assert refusals(TYPED) == []
    (refused,) = refusals({**TYPED, "node.kubernetes.io/instance-type": "rack-7"})
    assert "lacks the label nvidia.com/gpu.product" in refused


def test_names_that_no_node_has():
    (refused,) = refusals(preferredNodes=["mien"])
    assert refused == "resource.preferredNodes: none of these nodes exists"
