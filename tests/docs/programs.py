"""What the programs of the pages understand: asked of kubectl, helm and argparse themselves."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import yaml

from kaito import __main__ as kaito
from localcluster.binaries import Binaries
from localcluster.paths import assets_directory, cache_directory
from tests.docs.pages import ROOT

_OPTION = re.compile(r"^\s*(?:(-\w), )?(--[\w-]+)", re.MULTILINE)
_PLACEHOLDER = re.compile(r"…|<[a-z]+>|\[")

_BUILT_IN = """
all certificatesigningrequest clusterrole clusterrolebinding cm configmap controllerrevision cronjob
crd csr customresourcedefinition daemonset deploy deployment ds endpoints endpointslice ev event ing
ingress job lease limitrange mutatingwebhookconfiguration namespace networkpolicy netpol no node ns
pdb persistentvolume persistentvolumeclaim po pod poddisruptionbudget priorityclass pv pvc quota
replicaset resourcequota role rolebinding sa secret service serviceaccount statefulset storageclass
sts svc validatingwebhookconfiguration volumeattachment
certificate podmonitor prometheusrule servicemonitor
"""
BUILT_IN = frozenset(_BUILT_IN.split())
"""Kubernetes' own kinds by the names that kubectl takes, and those of cert-manager and of the
Prometheus operator that the charts make."""


@cache
def program(name: str) -> str:
    if found := shutil.which(name):
        return found
    return str(Binaries(cache_directory(os.environ), assets_directory(os.environ)).path(name))


def targets() -> set[str]:
    return set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def module_exists(name: str) -> bool:
    """Of the repository, or of what the images have beside it."""
    path = [*sys.path, str(ROOT / "images")]
    first, *rest = name.split(".")
    for folder in (Path(each or ROOT) for each in path):
        at = folder.joinpath(first, *rest)
        if at.with_suffix(".py").exists() or (at / "__main__.py").exists():
            return True
    return importlib.util.find_spec(first) is not None and not rest


@cache
def _parser() -> argparse.ArgumentParser:
    return kaito.parser()


def kaito_refuses(words: Sequence[str]) -> str:
    """Why argparse does not take the words; empty where it does."""
    with contextlib.redirect_stderr(io.StringIO()) as said, contextlib.redirect_stdout(said):
        try:
            _parser().parse_args([word for word in words if not _PLACEHOLDER.search(word)])
        except SystemExit as end:
            return said.getvalue().splitlines()[-1] if end.code else ""
    return ""


def is_kaito_command(words: Sequence[str]) -> bool:
    """Whether a sentence only names a command that there is."""
    return "the following arguments are required" in kaito_refuses(words)


@cache
def _help(name: str, *verbs: str) -> str:
    asked = subprocess.run(
        [program(name), *verbs, "--help"], capture_output=True, text=True, check=False
    )
    return asked.stdout if asked.returncode == 0 else ""


@cache
def _everywhere(name: str) -> str:
    if name == "helm":
        return _help("helm")
    return subprocess.run(
        [program("kubectl"), "options"], capture_output=True, text=True, check=True
    ).stdout


def is_command(name: str, *verbs: str) -> bool:
    return bool(_help(name, *verbs))


def options(name: str, *verbs: str) -> set[str]:
    """Long and short ones of a subcommand, those that hold everywhere included."""
    texts = (_help(name, *verbs), _everywhere(name))
    return {option for text in texts for pair in _OPTION.findall(text) for option in pair if option}


def takes_value(name: str, option: str, *verbs: str) -> bool:
    """As kubectl's help writes it (`--x=''`), or helm's (`--x string`); true and false are none."""
    for text in (_help(name, *verbs), _everywhere(name)):
        for line in text.splitlines():
            if re.match(rf"^\s*(?:-\w, )?{re.escape(option)}[= ]", line) or re.match(
                rf"^\s*{re.escape(option)}, ", line
            ):
                return not re.search(r"--[\w-]+(=(true|false):|\s{2,})", line)
    return False


@cache
def custom_resources() -> frozenset[str]:
    """Names by which kubectl knows our kinds."""
    found: set[str] = set()
    for path in (ROOT / "apis" / "crds").glob("*.yaml"):
        spec = yaml.safe_load(path.read_text())["spec"]
        names = spec["names"]
        found |= {names["plural"], names["singular"], *names.get("shortNames", ())}
        found.add(f"{names['plural']}.{spec['group']}")
    return frozenset(found)


def is_resource(name: str) -> bool:
    plain = name.lower().split(".")[0]
    singular = plain.removesuffix("ies") + "y" if plain.endswith("ies") else plain
    known = BUILT_IN | custom_resources()
    return bool(known & {name, plain, singular, plain.removesuffix("s"), plain.removesuffix("es")})


_TO_REPLACE = "placeholders of the values file are still to be replaced"
_NEEDED = {
    "gpu-provisioner": ["cloudProviderName=kwok"],
    "workspace": ["cloudProviderName=azure"],
}
"""What a release that is upgraded has said before."""


def chart_refuses(chart: str, arguments: Sequence[str], whole: bool) -> str:
    """What helm says against the values; `whole`: they are all that the release is given."""
    needed = [] if whole else [f"--set={each}" for each in _NEEDED.get(chart, ())]
    result = subprocess.run(
        [
            *(program("helm"), "template", "x", str(ROOT / "charts" / chart)),
            *(*needed, *arguments, "--kube-version", "1.35.4"),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    complaints = [line for line in result.stderr.splitlines() if line.startswith("- ")]
    if complaints and all(_TO_REPLACE in line for line in complaints):
        return ""  # a values file as it is shipped: the page says that they are to be replaced
    return result.stderr if result.returncode else ""
