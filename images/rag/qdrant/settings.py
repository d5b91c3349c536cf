"""Where the server is."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class QdrantSettings:
    url: str = ""
    """http:// or https://. Else the path of a directory for an in-process store, or nothing for one
    that ends with the process; both are for trying out, and slow from some 20,000 chunks on."""
    api_key: str = field(default="", repr=False)
    prefix: str = "kaito-rag."
    """Of the collections that are ours; others of the server are left alone."""
    timeout: float = 30.0
    """Seconds, of one request."""
    exact: bool = False
    """Compare with every vector in place of walking the server's graph."""

    @property
    def remote(self) -> bool:
        return self.url.startswith(("http://", "https://"))
