"""R-3: what a URL's host is, however it is spelled."""

from __future__ import annotations

import pytest

from apis.kaito.validation.sources import service_refusal, url_refusal
from oci import addresses


@pytest.mark.parametrize(
    "url",
    [
        "http://phi-4/v1/chat/completions",
        "http://phi-4.default.svc.cluster.local:80/v1",
        "http://10.0.0.7:8000/v1",
        "http://[fd00::7]:8000/v1",
        "https://example.openai.azure.com/openai/deployments/a?api-version=1",
        "http://metadata.example.com/",
        "http://localhost:5000/v1",
    ],
)
def test_services_of_the_cluster_and_beyond_it(url: str) -> None:
    assert service_refusal(url) == ""


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://169.254.169.254./",
        "http://169.254.170.2/",
        "http://2852039166/",
        "http://0xa9fea9fe/",
        "http://0XA9.0376.43518/",
        "http://0251.0376.0251.0376/",
        "http://169.254.43518/",
        "http://169%2e254.169.254/",
        "http://169。254。169。254/",
        "http://１６９.254.169.254/",
        "http://[::ffff:169.254.169.254]/",
        "http://[::ffff:a9fe:a9fe]/",
        "http://[::169.254.169.254]/",
        "http://[64:ff9b::a9fe:a9fe]/",
        "http://[64:ff9b:1::a9fe:a9fe]/",
        "http://[64:ff9b:1:a9fe:a9:fe00::]/",
        "http://[fd20:ce::254]/",
        "http://[2002:a9fe:a9fe::1]/",
        "http://[fe80::1%25eth0]/",
        "http://[fd00:ec2::254]/",
        "http://[FD00:0EC2::0254]/",
        "http://100.100.100.200/",
        "http://168.63.129.16/",
        "http://metadata.google.internal/computeMetadata/v1/",
        "http://METADATA.google.internal./",
        "http://instance-data/",
    ],
)
def test_where_a_cloud_tells_its_secrets(url: str) -> None:
    assert "tells its machines their secrets" in service_refusal(url)
    assert "own network" in url_refusal(url)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("/v1/chat/completions", "must start with http"),
        ("phi-4:80/v1", "must start with http"),
        ("file:///etc/passwd", "must start with http"),
        ("http:///v1", "names no host"),
        ("http://:80/", "names no host"),
        ("http://a b/", "has a blank"),
        ("http://169.254\t.169.254/", "has a blank"),
        ("http://[::1", "is no URL"),
        ("http://a:99999/", "is no URL"),
        ("https://user:secret@example.com/", "must hold no user and password"),
        ("http://example.com\\@169.254.169.254/", "must hold no user and password"),
    ],
)
def test_nothing_can_be_asked_there(url: str, said: str) -> None:
    assert said in service_refusal(url)
    assert said in url_refusal(url)


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://localhost/", True),
        ("http://a.localhost/", True),
        ("http://127.1/", True),
        ("http://[::]/", True),
        ("http://0/", True),
        ("http://[64:ff9b:1::7f00:1]/", True),
        ("http://[64:ff9b:1::808:808]/", False),
        ("http://[64:ff9b:1:808:8:800::]/", False),
        ("http://10.0.0.1/", False),
        ("http://09.1.1.1/", False),
        ("http://1.2.3.4.5/", False),
    ],
)
def test_the_pod_itself(url: str, loopback: bool) -> None:
    assert addresses.target(url).loopback is loopback


@pytest.mark.parametrize(
    ("url", "internal"),
    [
        ("http://10.0.0.1/", True),
        ("http://100.64.0.1/", True),
        ("http://100.127.255.255/", True),
        ("http://[64:ff9b:1::a00:1]/", True),
        ("http://[::ffff:100.64.0.1]/", True),
        ("http://100.63.255.255/", False),
        ("http://100.128.0.1/", False),
        ("http://8.8.8.8/", False),
        ("http://[64:ff9b:1::808:808]/", False),
    ],
)
def test_a_network_of_ones_own(url: str, internal: bool) -> None:
    assert addresses.target(url).internal is internal
