"""KaitoNodeClass (kaito.sh/v1alpha1): a name that says whose claim this is, and nothing more.

Its CRD need not be installed, and the object need not exist: KAITO's claims refer to `default`.
"""

from __future__ import annotations

from apis.karpenter.nodeclasses.parts import NodeClassStatus, Open
from apis.model import ApiObject


class KaitoNodeClassSpec(Open):
    """Nothing can be set."""


class KaitoNodeClass(ApiObject):
    """Nodes as the provisioner itself is configured to make them."""

    api_version: str = "kaito.sh/v1alpha1"
    kind: str = "KaitoNodeClass"
    spec: KaitoNodeClassSpec = KaitoNodeClassSpec()
    status: NodeClassStatus = NodeClassStatus()
