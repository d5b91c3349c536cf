"""Names of images, and the credentials that are for them."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from oci import credentials
from oci.errors import RegistryError
from oci.reference import Reference, insecure_hosts

DIGEST = f"sha256:{'0' * 64}"


@pytest.mark.parametrize(
    ("text", "url", "wanted"),
    [
        pytest.param("r.example/a/b:v1", "https://r.example/v2/a/b", "v1", id="a tag"),
        pytest.param(f"r.example/a@{DIGEST}", "https://r.example/v2/a", DIGEST, id="a digest"),
        pytest.param(f"r.example/a:v1@{DIGEST}", "https://r.example/v2/a", DIGEST, id="both"),
        pytest.param("r.example:5000/a", "https://r.example:5000/v2/a", "latest", id="neither"),
        pytest.param("alpine:3", "https://registry-1.docker.io/v2/library/alpine", "3", id="short"),
        pytest.param("me/a", "https://registry-1.docker.io/v2/me/a", "latest", id="an owner"),
        pytest.param("localhost:5000/a:v1", "http://localhost:5000/v2/a", "v1", id="here"),
        pytest.param("localhost/a:v1", "http://localhost/v2/a", "v1", id="here, default port"),
        pytest.param("127.0.0.1:5000/a:v1", "http://127.0.0.1:5000/v2/a", "v1", id="loopback"),
        pytest.param("[::1]:5000/a:v1", "http://[::1]:5000/v2/a", "v1", id="loopback, IPv6"),
        pytest.param(
            "plain.example:80/a:v1", "http://plain.example:80/v2/a", "v1", id="without TLS"
        ),
    ],
)
def test_a_reference_says_where_to_ask(text: str, url: str, wanted: str) -> None:
    found = Reference.parse(text, insecure_hosts("other:1, plain.example:80"))
    assert (found.url, found.wanted) == (url, wanted)


@pytest.mark.parametrize(
    "text", ["", "r.example/A", "r.example/a:", "r.example/a@sha256:0", "../a"]
)
def test_what_is_no_reference_is_named(text: str) -> None:
    with pytest.raises(RegistryError, match="no image reference; write registry/name:tag"):
        Reference.parse(text)


def test_other_ports_of_an_insecure_host_have_tls() -> None:
    found = Reference.parse("plain.example/a:v1", insecure_hosts("plain.example:80"))
    assert found.url.startswith("https://")


def test_a_reference_is_written_as_it_was_given() -> None:
    given = Reference.parse(f"r.example/a:v1@{DIGEST}")
    assert str(given) == f"r.example/a:v1@{DIGEST}"
    assert str(given.at(DIGEST)) == f"r.example/a@{DIGEST}"
    assert str(given.tagged("v2")) == "r.example/a:v2"


def write(folder: Path, **places: str) -> Path:
    """Users by the places that they are for; underscores are dots."""
    folder.mkdir(parents=True)
    auths = {
        place.replace("_", "."): {"auth": base64.b64encode(f"{user}:p".encode()).decode()}
        for place, user in places.items()
    }
    (folder / "config.json").write_text(json.dumps({"auths": auths}))
    return folder


def users(found: credentials.Credentials, host: str, name: str) -> list[str]:
    return [
        base64.b64decode(each.removeprefix("Basic ")).decode().partition(":")[0]
        for each in found.basic(host, name)
    ]


def test_the_longest_part_of_the_path_comes_first_then_the_order_of_the_files(
    tmp_path: Path,
) -> None:
    write(tmp_path / "0", r_example="first", other_example="other")
    write(tmp_path / "1", **{"https://r_example/v2/": "second", "r_example/a": "closest"})
    found = credentials.load(tmp_path)
    assert users(found, "r.example", "a/b") == ["closest", "first", "second"]
    assert users(found, "r.example", "ab") == ["first", "second"]
    assert users(found, "r.example:5000", "a") == []


@pytest.mark.parametrize("place", ["https://index_docker_io/v1/", "docker_io"])
def test_docker_hub_has_several_names(tmp_path: Path, place: str) -> None:
    found = credentials.load(write(tmp_path / "s", **{place: "me"}))
    assert users(found, "docker.io", "library/alpine") == ["me"]


def test_a_file_is_taken_as_well_and_its_secrets_are_not_shown(tmp_path: Path) -> None:
    found = credentials.load(write(tmp_path / "s", r_example="me") / "config.json")
    assert users(found, "r.example", "a") == ["me"]
    assert found.entries[0].basic not in repr(found)


def test_what_a_credential_helper_keeps_is_passed_over(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    folder.mkdir()
    (folder / "config.json").write_text('{"auths": {"r.example": {}}, "credsStore": "desktop"}')
    assert credentials.load(tmp_path).entries == ()
