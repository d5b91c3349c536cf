"""The model and its tokenizer from the weights directory, and how long a request may be."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
from transformers.utils import logging

from apis import reports
from serving import machine
from serving.front import stages
from serving.transformers.arguments import Settings
from serving.transformers.codec import Codec
from serving.transformers.options import QUANTISATION, UsageError
from serving.transformers.runner import Runner, UnsuitedError

_CACHE_SHARE = 0.6
"""Of the memory that is left, for keys and values; a step makes copies of them, and needs room."""
_LEAST_CONTEXT = 128
_TOKENIZER_LIMIT = 1 << 30
"""Tokenizers that know no limit say a larger number."""


class TooLargeError(Exception):
    """The model leaves no room to serve it; the message is for the user, in one line."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a server needs of a model."""

    runner: Runner
    codec: Codec
    context: int
    """Tokens of prompt and answer at most."""
    capacity: int
    """Tokens that all answers in work may have in the cache."""
    recommended: Mapping[str, Any]
    """The makers' own sampling: what generation_config.json sets."""
    end_tokens: frozenset[int]
    notes: tuple[str, ...]
    """For the log."""


def load(settings: Settings, *, gpu: bool) -> Loaded:
    """Takes minutes. UsageError where the settings or the weights do not do."""
    if gpu and not torch.cuda.is_available():
        raise UsageError("there is no GPU here that torch can use: the image for CPUs needs none")
    torch.set_num_threads(machine.cpus())
    logging.disable_progress_bar()
    before, used = machine.memory_gib() * (1 << 30), _resident()
    source = _source(settings)
    try:
        tokenizer = AutoTokenizer.from_pretrained(settings.model, **source)
        model = AutoModelForCausalLM.from_pretrained(
            settings.model, **source, **_placing(settings, gpu=gpu), **_loader(settings)
        ).eval()
    except (OSError, ValueError, TypeError, KeyError, ImportError) as error:
        words = " ".join(str(error).split())
        raise UsageError(f"cannot load the model {settings.model}: {words}") from error
    runner = Runner(model)
    stages.begin(reports.WARM, "trying what the model can")
    try:
        runner.look()
    except UnsuitedError as error:
        raise UsageError(f"cannot serve the model {settings.model}: {error}") from error
    room = _free(model) if gpu else before - (_resident() - used)
    capacity, context, notes = _sizes(settings, model, tokenizer, runner, room)
    template, more = _template(settings)
    codec = Codec(tokenizer, template)
    return Loaded(
        runner=runner,
        codec=codec,
        context=context,
        capacity=capacity,
        recommended=_recommended(model),
        end_tokens=codec.end_tokens | _end_tokens(model),
        notes=(*more, *notes),
    )


def _source(settings: Settings) -> dict[str, Any]:
    found: dict[str, Any] = {
        "local_files_only": not settings.remote,
        "trust_remote_code": settings.trust_remote_code,
        "revision": settings.revision,
    }
    if settings.cache_dir:
        found["cache_dir"] = settings.cache_dir
    if settings.force_download:
        found["force_download"] = True
    return found


def _placing(settings: Settings, *, gpu: bool) -> dict[str, Any]:
    """float32 on CPUs: not every CPU has kernels for bfloat16, and those that have may not be
    let use them."""
    name = settings.dtype or ("auto" if gpu else "float32")
    if not gpu:
        return {"dtype": _dtype("float32" if name == "auto" else name)}
    return {"dtype": _dtype(name), "device_map": settings.device_map}


def _dtype(name: str) -> Any:
    found = name if name == "auto" else getattr(torch, name, None)
    if found != "auto" and not isinstance(found, torch.dtype):
        raise UsageError(f"torch_dtype {name!r} is neither auto nor a data type of torch")
    return found


def _loader(settings: Settings) -> dict[str, Any]:
    """Quantisation in one object, as transformers wants it."""
    found = {key: value for key, value in settings.loader.items() if key not in QUANTISATION}
    bits = {key: value for key, value in settings.loader.items() if key in QUANTISATION}
    if bits.get("load_in_4bit") or bits.get("load_in_8bit"):
        try:
            found["quantization_config"] = BitsAndBytesConfig(**bits)
        except (TypeError, ValueError, AttributeError) as error:
            raise UsageError(f"the options of bitsandbytes: {error}") from error
    elif len(bits) > sum(key.startswith("load_in_") for key in bits):
        raise UsageError(f"{', '.join(bits)}: without load_in_4bit or load_in_8bit of no use")
    if isinstance(memory := found.get("max_memory"), dict):
        found["max_memory"] = {int(k) if k.isdigit() else k: v for k, v in memory.items()}
    return found


def _sizes(
    settings: Settings, model: Any, tokenizer: Any, runner: Runner, room: float
) -> tuple[int, int, tuple[str, ...]]:
    """Capacity, context, and what is to be said of them."""
    known = [
        getattr(model.config.get_text_config(decoder=True), "max_position_embeddings", None),
        tokenizer.model_max_length if tokenizer.model_max_length < _TOKENIZER_LIMIT else None,
    ]
    own = min((int(each) for each in known if each), default=0)
    wanted = settings.max_model_len or own or 4096
    if own and wanted > own:
        raise UsageError(f"max_model_len {wanted} is more than the {own} tokens the model knows")
    # Recurrent models keep the same state however long the text is.
    fitting = int(_CACHE_SHARE * room / runner.token_bytes) if runner.token_bytes else 1 << 30
    if fitting < min(_LEAST_CONTEXT, wanted):
        raise TooLargeError(
            f"the model leaves room for {max(fitting, 0)} tokens in {room / (1 << 30):.1f} GiB of"
            " memory: it needs a larger node, or fewer bits"
        )
    context = min(wanted, fitting)
    notes = [f"requests may have {context} tokens, all in work together {fitting}"]
    if context < wanted:
        notes.append(f"the context is cut from {wanted} to {context} tokens: memory has no more")
    if not runner.shares:
        notes.append("sequences of this model cannot share a step: each takes its own")
    return fitting, context, tuple(notes)


def _free(model: Any) -> float:
    """Bytes, on the GPUs that hold the model: as if each had as little as the fullest."""
    places = getattr(model, "hf_device_map", {"": model.device}).values()
    devices = {torch.device(place) for place in places if place not in ("cpu", "disk")}
    free = [torch.cuda.mem_get_info(device)[0] for device in devices]
    return float(min(free) * len(free)) if free else machine.memory_gib() * (1 << 30)


def _resident() -> int:
    """Bytes of RAM that this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _template(settings: Settings) -> tuple[str, tuple[str, ...]]:
    """A template itself, or the file of one, as KAITO takes both."""
    given = settings.chat_template
    if "{" in given or "\n" in given:
        return given.encode().decode("unicode_escape") if "\\" in given else given, ()
    if not given:
        return "", ()
    try:
        return Path(given).read_text(), ()
    except OSError:
        return "", (f"there is no chat template {given}: the model's own is used",)


def _recommended(model: Any) -> dict[str, Any]:
    config = model.generation_config
    names = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
    found = {name: getattr(config, name, None) for name in names}
    return {name: value for name, value in found.items() if value is not None}


def _end_tokens(model: Any) -> frozenset[int]:
    given = model.generation_config.eos_token_id
    return frozenset(given if isinstance(given, list) else [] if given is None else [given])
