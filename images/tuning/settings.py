"""What the containers of a fine-tuning are told: by their environment, and by options in tests."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from apis import container

ENV_CHECKPOINT_SECONDS = "KAITO_CHECKPOINT_SECONDS"
"""At most so many seconds of work are lost with a killed pod."""
CHECKPOINT_SECONDS = 300.0
ENV_DEVICE = "KAITO_DEVICE"
"""cpu or gpu: what the image is built for. Elsewhere: what is there."""
ENV_RANK = "LOCAL_RANK"
ENV_RANKS = "WORLD_SIZE"
"""As accelerate reads them: which of how many processes this is."""
TERMINATION_LOG = Path("/dev/termination-log")
"""What is written here the kubelet puts into the pod's status."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    config_file: Path
    data_dir: Path
    method: str
    """Empty: the config file alone decides."""
    output: str
    """The reference to push to; empty where a volume keeps the result."""
    weights: Path
    model: str
    revision: str
    target_modules: tuple[str, ...]
    device: str
    checkpoint_seconds: float
    rank: int
    """-1 where this process starts the ranks, or is the only one."""
    ranks: int
    processes: int
    """How many to start; 0: one for each GPU."""
    port: int
    termination_log: Path
    credentials: Path
    output_dir: Path | None
    """Instead of the config's, where no volume is mounted."""

    @property
    def leads(self) -> bool:
        """Whether this process saves, prints, pushes and serves metrics."""
        return self.rank in (-1, 0)


def read(arguments: Sequence[str], environment: Mapping[str, str], program: str) -> Settings:
    """SystemExit for unknown options, ValueError where a number is none."""
    found = _parser(program).parse_args(list(arguments))
    get = environment.get
    modules = get(container.ENV_TARGET_MODULES) or ""
    return Settings(
        config_file=Path(
            get(container.ENV_TUNING_CONFIG_FILE) or container.TUNING_CONFIG_FILE,
        ),
        data_dir=Path(get(container.ENV_DATA_DIR) or container.DATA_DIR),
        method=get(container.ENV_TUNING_METHOD) or "",
        output=get(container.ENV_TUNING_OUTPUT) or "",
        weights=Path(get(container.ENV_WEIGHTS) or container.WEIGHTS_DIR),
        model=get(container.ENV_MODEL) or "",
        revision=get(container.ENV_MODEL_REVISION) or "",
        target_modules=tuple(filter(None, (name.strip() for name in modules.split(",")))),
        device=get(ENV_DEVICE) or "",
        checkpoint_seconds=float(get(ENV_CHECKPOINT_SECONDS) or CHECKPOINT_SECONDS),
        rank=int(get(ENV_RANK) or -1),
        ranks=int(get(ENV_RANKS) or 1),
        processes=found.processes,
        port=found.port,
        termination_log=found.termination_log,
        credentials=found.credentials,
        output_dir=found.output_dir,
    )


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"python -m {program}", allow_abbrev=False)
    parser.add_argument("--port", type=int, default=container.PORT, help="of /metrics; 0: any")
    parser.add_argument("--processes", type=int, default=0, help="0: one for each GPU")
    parser.add_argument("--termination-log", type=Path, default=TERMINATION_LOG)
    parser.add_argument(
        "--credentials", type=Path, default=Path(container.PUSH_CREDENTIALS_DIR), help="for pushes"
    )
    parser.add_argument("--output-dir", type=Path, help="instead of the config's")
    return parser
