"""The manifests of users in `manifests/`, and the installations that they were written for."""

from __future__ import annotations

import dataclasses
import re
from functools import cache
from pathlib import Path

from apis.kaito.validation import Facts
from kaito import validate
from kube.meta import Manifest

FOLDER = Path(__file__).parent / "manifests"
_SAYS = re.compile(r"^# says: (.*)$", re.MULTILINE)
_BYO = "# node provisioner: byo"


def accepted() -> list[Path]:
    return [*sorted(FOLDER.glob("azure/*.yaml")), *sorted(FOLDER.glob("byo/*.yaml"))]


def refused() -> list[Path]:
    return sorted(FOLDER.glob("refused/*.yaml"))


def ragengines() -> list[Path]:
    return sorted(FOLDER.glob("ragengine/*.yaml"))


def refused_ragengines() -> list[Path]:
    return sorted(FOLDER.glob("ragengine/refused/*.yaml"))


def objects(file: Path) -> list[Manifest]:
    return list(validate.documents(file.read_text()))


def words(file: Path) -> str:
    """What is said of a manifest that is refused."""
    found = _SAYS.search(file.read_text())
    assert found, f"{file} does not say what is to be said"
    return found[1]


def provisioner(file: Path) -> str:
    return "byo" if file.parent.name == "byo" or _BYO in file.read_text() else "nodeclaim"


@cache
def facts(node_provisioner: str) -> Facts:
    """Of an installation on Azure, whose feature gates let partitions through."""
    known = validate.facts("azure", node_provisioner)
    return dataclasses.replace(known, feature_gates={"enableMIG": True, "enableAccelerator": True})
