"""Which engine serves a preset, and how it lies on such nodes: admission and reconcile ask here,
so that they agree. Pure."""

from __future__ import annotations

from apis.kaito.v1beta1 import labels
from apis.kaito.v1beta1.workspace import Workspace
from kube.objects import ConfigMap
from presets import estimate
from presets.engines import registry
from presets.estimate import Estimator
from presets.fits import Engine, Fit
from presets.loading import LoadIn
from presets.model import Model
from workspace_controller.nodes.provisioner import NodeShape
from workspace_controller.workspace import config
from workspace_controller.workspace.config import Wanted


def lay_out(
    workspace: Workspace,
    model: Model,
    shape: NodeShape,
    options: ConfigMap | None,
    *,
    vllm: bool,
    estimator: Estimator = "fit",
) -> tuple[Fit, Wanted]:
    """The fit, and the user's options that it reckons with; `vllm` is the feature gate, and
    `estimator` the installation's.

    Raises DoesNotFitError, and UserError where the ConfigMap is missing.
    """
    engine = _engine(workspace, model, shape, vllm=vllm)
    wanted = config.wanted(workspace, options, engine)
    found = estimate.fit(
        model,
        shape.gpu,
        memory_gib=shape.memory_gib,
        cpus=shape.cpus,
        max_model_len=wanted.max_model_len,
        estimator=estimator,
        engine=engine,
        mig_profile=shape.mig_profile,
        load_in=_load_in(wanted, model, engine),
        kv_cache_dtype=wanted.kv_cache_dtype,
        memory_share=wanted.memory_share,
    )
    return found, wanted


def _engine(workspace: Workspace, model: Model, shape: NodeShape, *, vllm: bool) -> Engine:
    """What the user asked for; else vLLM, or llama.cpp where there are no GPUs but a GGUF file."""
    annotations = workspace.metadata.annotations
    asked = labels.runtime(annotations, vllm=vllm)
    free = labels.RUNTIME_ANNOTATION not in annotations and asked == labels.RUNTIME_VLLM
    if free and model.gguf_file and (not shape.gpu.count or "vllm" not in model.runtimes):
        return "llamacpp"
    return next(name for name in registry.ENGINES if name == asked)


def _load_in(wanted: Wanted, model: Model, engine: Engine) -> LoadIn | None:
    """Weights that are stored in few bits stay so; only transformers refuses to be told again."""
    return wanted.load_in if engine == "transformers" or not model.quantization else None
