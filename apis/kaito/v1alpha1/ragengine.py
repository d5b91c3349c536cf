"""RAGEngine as v1alpha1 has it: an instance type that is never empty, and a URL that is required.

There is no conversion, as for Workspaces (see there): what v1beta1 has is here too, and the flat
`storage.persistentVolumeClaim` and `mountPath`, which upstream's v1beta1 lacks and so loses, are
in both. `apis.kaito.ragdefaults` keeps the two forms of a volume the same.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict

from apis.kaito import ragschema
from apis.kaito.v1alpha1.workspace import ResourceSpec
from apis.kaito.v1beta1 import ragengine as v1beta1
from apis.model import Schema
from kube.meta import Resource


class InferenceService(v1beta1.InferenceService):
    """The model that answers; what v1beta1 has stored without a URL can be read all the same."""

    model_config = ConfigDict(json_schema_extra={"required": ["url"]})

    url: Annotated[str, Schema(ragschema.OPTIONAL_URL)] = ""
    """Its OpenAI-compatible chat endpoint."""


class RAGEngineSpec(v1beta1.RAGEngineSpec):
    """What is asked for."""

    compute: ResourceSpec | None = None
    """Its node; without it the pod runs wherever there is room."""
    inference_service: InferenceService | None = None
    """The model that answers; without it there is retrieval alone."""


class RAGEngine(v1beta1.RAGEngine):
    """A retrieval service over documents of one's own."""

    api_version: str = "kaito.sh/v1alpha1"
    spec: RAGEngineSpec | None = None
    """What is asked for."""


RAG_ENGINES_V1ALPHA1 = Resource("kaito.sh", "v1alpha1", "RAGEngine", "ragengines", RAGEngine)
