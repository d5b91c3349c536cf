"""What an image is made of, read from an archive of one, and judged by CycloneDX's own schema."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from localcluster import imagereports, sbom

SITE = "opt/venv/lib/python3.11/site-packages"
LABELS = {
    "org.opencontainers.image.title": "kaito-demo",
    "org.opencontainers.image.version": "0.1.0",
    "org.opencontainers.image.licenses": "Apache-2.0 AND MIT",
}
COPYRIGHT = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
License: GPL-3+

License: Expat
 Permission is hereby granted
"""
FIRST = {
    "var/lib/dpkg/status": (
        "Package: libdemo1\nStatus: install ok installed\nArchitecture: amd64\n"
        "Version: 1:2.0-1+deb12u1\nDescription: a demo\n of a library\n\n"
        "Package: oldlib\nArchitecture: all\nVersion: 1\n"
    ),
    "usr/share/doc/libdemo1/copyright": COPYRIGHT,
    "usr/share/doc/oldlib/copyright": "This is free.\nLicense: a sentence, not a name\n",
}
SECOND = {
    f"{SITE}/Demo_Pack-1.2.dist-info/METADATA": (
        "Metadata-Version: 2.4\nName: Demo_Pack\nVersion: 1.2\nSummary: päckt\n"
        "License-Expression: MIT OR Apache-2.0\n\nName: of the description\n"
    ),
    f"{SITE}/old-3.dist-info/METADATA": (
        "Metadata-Version: 2.1\nName: old\nVersion: 3\n"
        "License: Copyright (c)\n        all of the text\n"
        "Classifier: License :: OSI Approved :: BSD License\n"
    ),
    f"{SITE}/demo/data/METADATA": "Name: not a package\n",
}


def a_tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def an_archive(path: Path, *layers: dict[str, str]) -> Path:
    tars = [a_tar({name: text.encode() for name, text in layer.items()}) for layer in layers]
    names = [f"{hashlib.sha256(tar).hexdigest()}.tar" for tar in tars]
    config = json.dumps({"config": {"Labels": LABELS}}).encode()
    manifest = json.dumps([{"Config": "config.json", "Layers": names}]).encode()
    content = dict(zip(names, tars, strict=True))
    path.write_bytes(a_tar({**content, "config.json": config, "manifest.json": manifest}))
    return path


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return an_archive(tmp_path / "image.tar", FIRST, SECOND)


@pytest.fixture
def written(archive: Path) -> str:
    return sbom.document(sbom.read(archive), {"demo-pack-1.2": "ab" * 32})


def components(written: str) -> dict[str, Any]:
    return {each["name"]: each for each in json.loads(written)["components"]}


def test_it_is_valid(written: str) -> None:
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(written) is None
    broken = written.replace('"bom-ref": "image"', '"bom-reference": "image"')
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(broken) is not None


def test_the_image_is_what_the_document_is_about(written: str) -> None:
    about = json.loads(written)["metadata"]["component"]
    assert (about["name"], about["version"], about["type"]) == ("kaito-demo", "0.1.0", "container")
    assert about["licenses"] == [{"expression": "Apache-2.0 AND MIT"}]


def test_python_packages(written: str) -> None:
    found = components(written)
    assert found["demo-pack"]["purl"] == "pkg:pypi/demo-pack@1.2"
    assert found["demo-pack"]["licenses"] == [{"expression": "MIT OR Apache-2.0"}]
    assert found["demo-pack"]["description"] == "päckt"
    assert found["demo-pack"]["hashes"] == [{"alg": "SHA-256", "content": "ab" * 32}]
    assert found["old"]["licenses"] == [{"license": {"name": "BSD License"}}]
    assert set(found) == {"demo-pack", "old", "libdemo1", "oldlib"}


def test_debian_packages(written: str) -> None:
    found = components(written)
    purl = "pkg:deb/debian/libdemo1@1:2.0-1%2Bdeb12u1?arch=amd64&distro=debian-12"
    assert found["libdemo1"]["purl"] == purl
    names = [each["license"]["name"] for each in found["libdemo1"]["licenses"]]
    assert names == ["Expat", "GPL-3+"]
    assert "licenses" not in found["oldlib"]


def test_the_same_image_makes_the_same_document(archive: Path, tmp_path: Path) -> None:
    contents = sbom.read(archive)
    assert sbom.document(contents, {}) == sbom.document(contents, {})
    backwards = sbom.read(an_archive(tmp_path / "other.tar", SECOND, FIRST))
    assert sbom.document(contents, {}) == sbom.document(backwards, {})


def test_hashes_are_those_of_the_wheels(tmp_path: Path) -> None:
    (tmp_path / "Demo_Pack-1.2-py3-none-any.whl").write_bytes(b"wheel")
    (tmp_path / ".complete").touch()
    digest = hashlib.sha256(b"wheel").hexdigest()
    assert sbom.wheel_hashes(tmp_path) == {"demo-pack-1.2": digest}


def test_sizes_are_those_of_the_layers(archive: Path) -> None:
    layers = [
        a_tar({name: text.encode() for name, text in each.items()}) for each in (FIRST, SECOND)
    ]
    unpacked, pulled = imagereports.sizes(archive)
    assert unpacked == sum(map(len, layers))
    assert pulled == pytest.approx(sum(len(gzip.compress(each)) for each in layers), abs=40)
