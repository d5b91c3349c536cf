"""The engines, by name."""

from __future__ import annotations

from collections.abc import Mapping

from presets.engines import llamacpp, tgi, transformers, vllm
from presets.engines.profile import EngineProfile
from presets.fits import Engine
from presets.model import Model

ENGINES: Mapping[Engine, EngineProfile] = {
    profile.name: profile
    for profile in (vllm.PROFILE, transformers.PROFILE, llamacpp.PROFILE, tgi.PROFILE)
}


def refusal(model: Model | None, runtime: str) -> str | None:
    """Why the engine of that name can never serve the model, as one sentence; None where it can.
    `model` is None where it is not known yet."""
    profile = _profile(runtime)
    why = "" if model is None or profile is None else profile.cannot_serve(model)
    return f"{model.name} {why}" if model is not None and why else None


def _profile(runtime: str) -> EngineProfile | None:
    return next((profile for name, profile in ENGINES.items() if name == runtime), None)
