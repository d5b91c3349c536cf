"""Where and how indexes are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class StorageSettings:
    directory: Path
    object_store_url: str = ""
    """s3://, gs://, az:// or file://; empty: none. Each RAGEngine needs a prefix of its own."""
    sync: bool = True
    """Whether a commit waits for the disk. Without it a power cut may lose what was acknowledged,
    a killed process still does not."""
    object_store_options: Mapping[str, str] = field(default_factory=dict, repr=False)
    """As obstore names them, e.g. `aws_endpoint`; credentials come from its own environment."""
    upload_quiet: float = 10.0
    """Seconds without a write after which a snapshot is uploaded."""
    upload_every: float = 300.0
    """Seconds after which it is uploaded though writes go on."""
    keep: int = 5
    """Snapshots that are kept, of each index here, and altogether in the object store."""
    write_wait: float = 60.0
    """Seconds that a write waits while another process is the writer."""
    poll: float = 0.2
    """Seconds between two looks of a follower at the files."""
    filesystem: str = ""
    """The type, as /proc/self/mountinfo has it; empty: look there."""
