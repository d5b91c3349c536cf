"""How many nodes a model needs, and how it lies on them. Pure.

Two estimators: "fit" is ours and the default; "kaito" gives the numbers that KAITO v0.12 would,
for those who move from it or compare. docs/estimator.md has both formulas and the differences.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from apis.gpu import GPU
from presets.estimators import cpus as cpu_nodes
from presets.estimators import gpus as gpu_nodes
from presets.estimators import llamacpp, upstream
from presets.fits import DoesNotFitError, Engine, Fit
from presets.loading import LoadIn, as_loaded
from presets.model import Model

__all__ = ["ESTIMATORS", "DoesNotFitError", "Estimator", "Fit", "fit"]

Estimator = Literal["fit", "kaito"]

ESTIMATORS: tuple[Estimator, ...] = ("fit", "kaito")


def fit(
    model: Model,
    gpu: GPU,
    *,
    memory_gib: float = 0.0,
    cpus: float = 0.0,
    max_model_len: int | None = None,
    nodes: int | None = None,
    estimator: Estimator = "fit",
    engine: Engine | None = None,
    mig_profile: str = "",
    load_in: LoadIn | None = None,
    kv_cache_dtype: str = "",
    memory_share: float | None = None,
) -> Fit:
    """The fewest nodes of this type that serve the model, and its layout; or DoesNotFitError.

    `memory_gib` and `cpus` are those of a whole node, 0 where they are not known. With `nodes`
    the count is settled already and only the layout is asked for. `max_model_len` is a promise:
    a request of that many tokens fits. With a `mig_profile` the `gpu` is one such slice. A node
    without GPUs runs llama.cpp where the model has a GGUF file, else vLLM; `engine` overrules.
    `load_in` and `kv_cache_dtype` are what the engine is told to make of weights and cache,
    `memory_share` what it is told to take of each GPU.
    """
    context = _context(model, max_model_len)
    engine = _engine(model, engine)
    if engine != "llamacpp":
        model = as_loaded(model, load_in=load_in, kv_cache_dtype=kv_cache_dtype)
    if not gpu.count:
        return cpu_nodes.fit(model, memory_gib, cpus, context, nodes=nodes, engine=engine)
    if mig_profile:
        gpu = replace(gpu, count=1)
    node = gpu_nodes.Node(gpu, memory_gib, cpus, mig_profile, memory_share or gpu_nodes.SHARE)
    if estimator == "kaito":
        return upstream.fit(model, node, context, nodes=nodes)
    if engine == "llamacpp":
        return llamacpp.fit(model, node, context)
    return gpu_nodes.fit(model, node, context, nodes=nodes, engine=engine)


def _engine(model: Model, asked: Engine | None) -> Engine | None:
    """A model with GGUF weights alone has no choice."""
    if model.runtimes != ("llamacpp",):
        return asked
    if asked not in (None, "llamacpp"):
        raise DoesNotFitError(
            f"{model.name} has GGUF weights alone, which {asked} does not load: use the llamacpp "
            "runtime"
        )
    return "llamacpp"


def _context(model: Model, asked: int | None) -> int | None:
    if asked is None:
        return None
    if asked <= 0:
        raise DoesNotFitError(f"max_model_len is {asked}; it must be more than 0")
    if asked > model.max_model_len:
        raise DoesNotFitError(
            f"max_model_len is {asked}, but {model.name} handles at most {model.max_model_len} "
            f"tokens: ask for {model.max_model_len} or less"
        )
    return asked
