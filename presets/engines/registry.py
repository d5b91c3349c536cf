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


def unreleased(runtime: str, image: str) -> str | None:
    """Why the engine of that name cannot be started by this release; None where it can. `image` is
    the user's own, if any."""
    profile = _profile(runtime)
    if profile is None or profile.released or image:
        return None
    return (
        f'runtime "{runtime}" has no image in this release: name one that has its server in'
        " inference.preset.presetOptions.image, or use another runtime"
    )


def _profile(runtime: str) -> EngineProfile | None:
    return next((profile for name, profile in ENGINES.items() if name == runtime), None)
