"""What embeds, and how much of it at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from apis import container


@dataclass(frozen=True, slots=True)
class EmbeddingSettings:
    source: Literal["local", "remote"] = "local"
    model_id: str = ""
    """Of Hugging Face, as owner/model; or the absolute path of a directory."""
    model_dir: Path = Path(container.RAG_MODEL_DIR)
    """Where the model's files are, or are put."""
    image: str = ""
    """An image that holds the model under /data or at its root."""
    endpoint: str = ""
    """A mirror of huggingface.co."""
    backend: Literal["auto", "onnx", "torch"] = "auto"
    """What computes a local model. `auto`: ONNX Runtime where it gives the same vectors and there
    is no GPU."""
    token: str | None = field(default=None, repr=False)
    """For gated models of Hugging Face."""
    insecure_registries: str = ""
    """Those without TLS, as host:port separated by commas."""
    remote_url: str = ""
    remote_key: str | None = field(default=None, repr=False)
    remote_model: str = ""
    """What an OpenAI-compatible service is asked for; empty: the first that it has."""
    batch_tokens: int | None = None
    """Of documents that are embedded at once, padding included: so long does a query wait. None:
    as many as suit what computes."""
    timeout: float = 60.0
    """Seconds for one request to the service."""
    retries: int = 4
    """Where the service is busy or cannot be reached."""
