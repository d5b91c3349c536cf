"""What `python -m localcluster images` can tell of an image: its parts, its size, and whether its
build can be repeated."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from localcluster.cluster import Cluster

MIB = 1024 * 1024
_GZIP = 31  # zlib's way to ask for gzip's header
_CHUNK = 1 << 20


def sbom(cluster: Cluster, names: Sequence[str], tag: str) -> int:
    """Print the CycloneDX document of each image."""
    for archive in cluster.build(names, tag):
        print(archive.sbom.read_text(), end="")
    return 0


def size(cluster: Cluster, names: Sequence[str], tag: str) -> int:
    """Print what each image takes on a node, and what a node pulls."""
    for archive in cluster.build(names, tag):
        unpacked, pulled = sizes(archive.path)
        print(f"{archive.reference}  {unpacked / MIB:.0f} MiB, compressed {pulled / MIB:.0f} MiB")
    return 0


def reproduce(cluster: Cluster, names: Sequence[str], tag: str) -> int:
    """Build each image twice from nothing; 1 where one's digests differ."""
    failed = 0
    for name in names:
        first, second = cluster.build_twice(name, tag)
        print(f"{name}  {first.manifest}")
        if first != second:
            failed = 1
            pairs = zip(first.layers, second.layers, strict=False)
            layers = [str(number) for number, (one, other) in enumerate(pairs, 1) if one != other]
            print(f"{name}  {second.manifest}: layers that differ: {', '.join(layers) or 'none'}")
    return failed


REPORTS: Mapping[str, Callable[[Cluster, Sequence[str], str], int]] = {
    "reproduce": reproduce,
    "sbom": sbom,
    "size": size,
}


def sizes(archive: Path) -> tuple[int, int]:
    """Bytes of all layers, as they are and as gzip makes them."""
    unpacked = pulled = 0
    with tarfile.open(archive) as image:
        for member in image:
            if not member.isfile() or not member.name.endswith(".tar"):
                continue
            file = image.extractfile(member)
            squeeze = zlib.compressobj(wbits=_GZIP)
            while file and (chunk := file.read(_CHUNK)):
                pulled += len(squeeze.compress(chunk))
            pulled += len(squeeze.flush())
            unpacked += member.size
    return unpacked, pulled
