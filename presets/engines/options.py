"""What a workspace decides about its server; what the model and the plan decide is elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from apis import container

Executor = Literal["ray", "mp"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Empty means not wanted; paths are inside the container."""

    served_model_name: str = ""
    """The `model` of requests; empty is the preset's name."""
    port: int = container.PORT
    weights_dir: str = ""
    """Directory with the weights; empty downloads them from Hugging Face to `download_dir`."""
    download_dir: str = container.WEIGHTS_DIR
    max_model_len: int | None = None
    """Overrules the plan's."""
    config_file: str = ""
    """The user's `inference_config.yaml`, read by the image; its flags win over these."""
    adapters_dir: str = ""
    """Each directory in it is a LoRA adapter of that name."""
    runtime_adapters: bool = False
    """Whether adapters come and go while the server runs; vLLM alone."""
    adapters: tuple[str, ...] = ()
    """Their names, for engines that must be told."""
    engine_options: Mapping[str, object] = field(default_factory=dict)
    """The engine's section of `inference_config.yaml`, where the image does not read it itself."""
    distributed_executor: Executor = "ray"
    """What joins the nodes of one model: Ray, or vLLM's own launcher."""
    chat_template_dir: str = "/workspace/chat_templates"
    load_format: str = ""
    """`runai_streamer` where the image has it; empty is the model's own."""
    performance_mode: str = ""
    """`interactivity` or `throughput`; `balanced` is the engine's default."""
    disable_rate_limit: bool = False
