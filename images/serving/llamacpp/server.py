"""llama.cpp's own server, in process: OpenAI routes, /health and /metrics are its C++ code."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import xllamacpp

from serving.front.keys import Keys
from serving.llamacpp import relay
from serving.llamacpp.arguments import Settings, UsageError
from serving.llamacpp.files import Adapter

_SPLIT_MODES = {
    "none": xllamacpp.llama_split_mode.LLAMA_SPLIT_MODE_NONE,
    "layer": xllamacpp.llama_split_mode.LLAMA_SPLIT_MODE_LAYER,
    "row": xllamacpp.llama_split_mode.LLAMA_SPLIT_MODE_ROW,
}
_WARNINGS = 2
"""llama.cpp's log level: errors and warnings."""


def start(
    settings: Settings, model: Path, adapters: Sequence[Adapter], keys: Keys | None = None
) -> tuple[xllamacpp.Server, str]:
    """Load the model and listen; the server and its address. Returns once /health is 200;
    UsageError where it cannot load.

    The interpreter is held until then, so nothing else in this process runs meanwhile, signal
    handlers included.
    """
    chosen = parameters(settings, model, adapters)
    before = bool(adapters) or keys is not None
    if before:
        upstream = Path(tempfile.mkdtemp(prefix="llamacpp-")) / "server.sock"
        chosen.hostnames = [str(upstream)]
    try:
        running = xllamacpp.Server(chosen)
    except RuntimeError as error:
        raise UsageError(f"llama.cpp cannot serve {model}: its own lines above say why") from error
    if not before:
        return running, running.listening_address
    try:
        relay.start(settings.host, settings.port, upstream, adapters, keys)
    except OSError as error:
        raise UsageError(
            f"nobody can listen on {settings.host}:{settings.port}: {error}"
        ) from error
    return running, f"http://{settings.host}:{settings.port}"


def parameters(
    settings: Settings, model: Path, adapters: Sequence[Adapter]
) -> xllamacpp.CommonParams:
    """Settings in llama.cpp's words."""
    found = xllamacpp.CommonParams()
    found.model.path = str(model)
    found.model_alias = {settings.alias or model.stem}
    found.hostnames = [settings.host]
    found.port = settings.port
    found.n_ctx = settings.context_size
    found.n_parallel = settings.parallel
    # One pool of tokens for all requests: each may grow to the whole context.
    found.kv_unified = True
    found.cpuparams.n_threads = settings.threads
    found.cpuparams_batch.n_threads = settings.threads
    found.n_gpu_layers = settings.gpu_layers
    found.split_mode = _SPLIT_MODES[settings.split_mode]
    found.n_batch = settings.batch_size
    found.n_ubatch = settings.ubatch_size
    found.cache_ram_mib = settings.cache_ram_mib
    found.embedding = settings.embeddings
    found.endpoint_metrics = True
    found.ui = False
    found.verbosity = _WARNINGS
    if settings.chat_template_file:
        found.chat_template = settings.chat_template_file.read_text()
    if adapters:
        # It is searched by tokens alone, and has what one adapter computed for another's request.
        found.cache_ram_mib = 0
        found.cache_prompt = not settings.embeddings
    found.lora_adapters = [_lora(adapter) for adapter in adapters]
    return found


def _lora(adapter: Adapter) -> xllamacpp.CommonAdapterLoraInfo:
    info = xllamacpp.CommonAdapterLoraInfo()
    info.path = str(adapter.path)
    # Of no request by itself: see selection.
    info.scale = 0.0
    return info
