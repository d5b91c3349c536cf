from __future__ import annotations

import pytest

from apis.kaito.validation.sources import image_errors, shown, url_refusal


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/a.parquet",
        "HTTP://example.com:8080",
        "http://8.8.8.8/x",
        "https://[2606:4700::1111]/",
        "https://localhost.example.com/",
    ],
)
def test_urls_that_reach_outside(url: str) -> None:
    assert url_refusal(url) == ""


@pytest.mark.parametrize(
    "url",
    [
        "example.com/a",
        "ftp://example.com/a",
        "https:///a",
        "http://[::1",
        "http://localhost/",
        "http://a.LOCALHOST/",
        "http://metadata.google.internal/",
        "http://metadata.google./",
        "http://instance-data.ec2.internal/",
        "http://127.0.0.1/",
        "http://10.0.0.1/",
        "http://169.254.169.254/",
        "http://[::1]/",
        "http://[fe80::1%25eth0]/",
        "http://[fd00::1]/",
        "http://168.63.129.16/",
        "http://100.100.100.200/",
        "https://user:secret@example.com/a",
        "https://user@example.com/a",
    ],
)
def test_urls_that_reach_inside_or_nowhere(url: str) -> None:
    """W-C29."""
    assert url_refusal(url)


def test_a_refusal_does_not_repeat_a_password() -> None:
    assert shown("https://user:p@ss@example.com/a?b=c@d") == "https://example.com/a?b=c@d"
    assert shown("https://example.com/a@b") == "https://example.com/a@b"


@pytest.mark.parametrize(
    "image",
    [
        "ubuntu",
        "library/ubuntu:22.04",
        "registry.example.com/a/b_c/d-e:v1.0",
        "localhost:5000/a",
        "Registry.Example.com/a",
        f"a/b@sha256:{'0' * 64}",
        f"a/b:tag@sha256:{'0' * 64}",
    ],
)
def test_image_references(image: str) -> None:
    assert list(image_errors("image", image)) == []


@pytest.mark.parametrize(
    "image",
    ["Ubuntu", "a/B", "a b", "a:", "a:-x", "a@sha256:12", "/a", "a//b", "https://a/b", "a" * 300],
)
def test_no_image_references(image: str) -> None:
    assert list(image_errors("image", image))
