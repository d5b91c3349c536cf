"""Checksums as projects publish them, and hosts that do not answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from localcluster.download import DownloadError, checksum, fetch
from localcluster.tools import Release

SUM = "a" * 64
OTHER = "b" * 64


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(SUM, id="bare, as Kubernetes"),
        pytest.param(f"{SUM}  etcd.tar.gz\n", id="one line, as helm"),
        pytest.param(f"{OTHER}  other.tar.gz\n{SUM}  etcd.tar.gz\n", id="many lines, as etcd"),
        pytest.param(f"{SUM} *release/etcd.tar.gz\n", id="binary mode and a folder"),
    ],
)
def test_the_sum_of_a_file_is_found(text: str) -> None:
    assert checksum(text, "etcd.tar.gz") == SUM


def test_no_sum_is_a_refusal() -> None:
    with pytest.raises(DownloadError, match="no SHA-256"):
        checksum(f"{OTHER}  other.tar.gz", "etcd.tar.gz")


def test_a_host_that_did_not_answer_is_not_asked_again(tmp_path: Path) -> None:
    release = Release("https://example.invalid/etcd", "https://example.invalid/etcd.sha256")
    with pytest.raises(DownloadError, match=r"example\.invalid is not reachable"):
        fetch(release, tmp_path / "etcd", {"example.invalid"})
