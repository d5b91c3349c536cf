"""What an image is made of, as a CycloneDX document: read from the built image itself.

The same image gives the same document: its serial number is made from the image's digest, and it
has no hour.
"""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email.message import Message
from email.parser import Parser
from pathlib import Path
from uuid import NAMESPACE_OID, uuid5

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense, License, LicenseExpression
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

LABEL = "org.opencontainers.image."
_METADATA = re.compile(r"\.(?:dist|egg)-info/METADATA$")
_STATUS = "var/lib/dpkg/status"
_COPYRIGHT = re.compile(r"^usr/share/doc/([^/]+)/copyright$")
_LICENSE_FIELD = re.compile(r"^License: *(\S.*)$", re.MULTILINE)
_FORMAT = re.compile(r"\AFormat: ")
"""Of a copyright file that machines can read (DEP-5); the others are texts."""
_CLASSIFIER = "License :: OSI Approved :: "
_LONGEST_NAME = 60
"""Of a licence; what is longer is its text, put where the name belongs."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What an image says of itself."""

    image_id: str
    """The digest of its configuration, in hexadecimal."""
    labels: Mapping[str, str]
    python: list[Message] = field(default_factory=list)
    """Core metadata of Python packages."""
    debian: list[Message] = field(default_factory=list)
    """dpkg's stanzas."""
    copyrights: dict[str, str] = field(default_factory=dict)
    """Debian's copyright files, by package."""


def read(archive: Path) -> Contents:
    """The contents of the one image in a docker-archive."""
    with tarfile.open(archive) as image:
        manifest = json.loads(_bytes(image, "manifest.json"))[0]
        raw = _bytes(image, manifest["Config"])
        labels = json.loads(raw)["config"].get("Labels") or {}
        contents = Contents(hashlib.sha256(raw).hexdigest(), labels)
        for name in manifest["Layers"]:
            with tarfile.open(fileobj=image.extractfile(name)) as layer:
                _add(contents, layer)
    return contents


def document(contents: Contents, wheels: Mapping[str, str]) -> str:
    """CycloneDX 1.6, JSON. `wheels`: SHA-256 by `name-version`, as `wheel_hashes` gives them."""
    label = {key.removeprefix(LABEL): value for key, value in contents.labels.items()}
    bom = Bom(serial_number=uuid5(NAMESPACE_OID, contents.image_id))
    bom.metadata.component = Component(
        name=label.get("title", "image"),
        version=label.get("version") or None,
        description=label.get("description"),
        type=ComponentType.CONTAINER,
        bom_ref="image",
        licenses=_licenses(label.get("licenses", "")),
        properties=[Property(name="oci:image:config:digest", value=f"sha256:{contents.image_id}")],
    )
    components = [
        *(_python(each, wheels) for each in contents.python),
        *(_debian(each, contents.copyrights) for each in contents.debian),
    ]
    bom.components.update(components)
    bom.register_dependency(bom.metadata.component, components)
    written = json.loads(JsonV1Dot6(bom).output_as_string())
    del written["metadata"]["timestamp"]
    return json.dumps(written, indent=1, sort_keys=True) + "\n"


def wheel_hashes(house: Path) -> dict[str, str]:
    """SHA-256 of each wheel in a directory, by `name-version`."""
    found = {}
    for path in house.glob("*.whl"):
        name, version = path.name.split("-")[:2]
        with path.open("rb") as file:
            found[f"{_normal(name)}-{version}"] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _add(contents: Contents, layer: tarfile.TarFile) -> None:
    for member in layer:
        name = member.name.removeprefix("./")
        if not member.isfile():
            continue
        if _METADATA.search(name):
            text = _bytes(layer, member).decode(errors="replace")
            contents.python.append(Parser().parsestr(text, headersonly=True))
        elif name == _STATUS:
            contents.debian.extend(_stanzas(_bytes(layer, member).decode()))
        elif match := _COPYRIGHT.match(name):
            contents.copyrights[match[1]] = _bytes(layer, member).decode(errors="replace")


def _python(metadata: Message, wheels: Mapping[str, str]) -> Component:
    name, version = _normal(metadata["Name"]), metadata["Version"]
    digest = wheels.get(f"{name}-{version}")
    return Component(
        name=name,
        version=version,
        description=metadata["Summary"],
        purl=(purl := PackageURL("pypi", name=name, version=version)),
        bom_ref=str(purl),
        licenses=_licenses(_declared(metadata)),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)] if digest else [],
    )


def _debian(stanza: Message, copyrights: Mapping[str, str]) -> Component:
    name, version = stanza["Package"], stanza["Version"]
    qualifiers = {"arch": stanza["Architecture"], "distro": "debian-12"}
    stated = copyrights.get(name, "")
    names = sorted(set(_LICENSE_FIELD.findall(stated))) if _FORMAT.search(stated) else []
    return Component(
        name=name,
        version=version,
        description=(stanza["Description"] or "").partition("\n")[0],
        purl=(purl := PackageURL("deb", "debian", name, version, qualifiers)),
        bom_ref=str(purl),
        licenses=[DisjunctiveLicense(name=each) for each in names],
    )


def _declared(metadata: Message) -> str:
    """The licence as an SPDX expression where the package has one, else in its own words."""
    if expression := metadata["License-Expression"]:
        return str(expression)
    words = str(metadata["License"] or "").strip()
    if words and "\n" not in words and len(words) <= _LONGEST_NAME:
        return words
    classifiers = metadata.get_all("Classifier", [])
    names = [each.removeprefix(_CLASSIFIER) for each in classifiers if each.startswith(_CLASSIFIER)]
    return " OR ".join(names)


def _licenses(words: str) -> list[License]:
    if not words:
        return []
    found = LicenseFactory().make_from_string(words)
    if isinstance(found, LicenseExpression) or found.id or found.name:
        return [found]
    return []


def _stanzas(status: str) -> Iterator[Message]:
    for stanza in status.strip().split("\n\n"):
        yield Parser().parsestr(stanza + "\n")


def _normal(name: str) -> str:
    """As PyPI compares names (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _bytes(archive: tarfile.TarFile, member: str | tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    if file is None:
        raise LookupError(f"{member} is no file")
    return file.read()
