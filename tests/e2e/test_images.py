"""The images themselves: small, complete, the same for the same input. Needs root, no cluster."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from localcluster import paths, requirements
from localcluster.binaries import Binaries
from localcluster.buildah import Buildah
from localcluster.commands import CommandError
from localcluster.imagereports import MIB, sizes
from localcluster.images import Archive, Builder
from localcluster.recipes import TAG, Recipe, discover

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

REPOSITORY = Path(__file__).parents[2]
CONTROLLERS, LLAMACPP = "kaito-controllers", "kaito-serving-llamacpp"
LIMITS = {CONTROLLERS: 150, LLAMACPP: 250}
"""MiB on a node, uncompressed."""
PROVIDERS = """\
import importlib, ssl
for name in ("aws", "azure", "arc", "gcp"):
    importlib.import_module(f"cloudproviders.{name}.sdk")
import gpu_provisioner.__main__, workspace_controller.__main__, kaito.__main__
import boto3
from cloudproviders.aws.sdk import OPERATIONS
for operation, (service, _) in OPERATIONS.items():
    assert hasattr(boto3.client(service, region_name="us-east-1"), operation), operation
print(len(ssl.create_default_context().get_ca_certs()))
"""
BYTECODE = """\
import sys, json.decoder, serving.weights
for name, module in list(sys.modules.items()):
    file, bytecode = getattr(module, "__file__", ""), getattr(module, "__cached__", "")
    if bytecode and not file.startswith("/app"):
        assert open(bytecode, "rb").read(8)[4] == 1, f"{bytecode} is checked against a time"
"""

Run = Callable[[str, str], str]


@pytest.fixture(scope="module")
def builder() -> Builder:
    if missing := requirements.missing():
        pytest.skip("; ".join(str(item) for item in missing))
    cache = paths.cache_directory(os.environ)
    return Builder(cache, Binaries(cache, paths.assets_directory(os.environ)))


@pytest.fixture(scope="module")
def recipes() -> dict[str, Recipe]:
    return {recipe.name: recipe for recipe in discover(REPOSITORY, TAG)}


@pytest.fixture(scope="module")
def archives(builder: Builder, recipes: dict[str, Recipe]) -> dict[str, Archive]:
    return {name: builder.build(recipes[name]) for name in LIMITS}


@pytest.fixture(scope="module")
def run(archives: dict[str, Archive], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Python code in an image, as its own user; what it prints."""
    folder = tmp_path_factory.mktemp("store")
    buildah = Buildah(folder / "store", folder / "runs")
    containers: dict[str, str] = {}

    def run(name: str, code: str) -> str:
        if name not in containers:
            archive = f"docker-archive:{archives[name].path}"
            containers[name] = buildah("from", "--quiet", archive).strip()
        command = [containers[name], "--", "python", "-c", code]
        return buildah("run", "--isolation", "chroot", *command)

    yield run
    buildah("rm", "--all")
    buildah("rmi", "--all", "--force")


@pytest.mark.parametrize("name", LIMITS)
def test_it_is_small(archives: dict[str, Archive], name: str) -> None:
    unpacked, _ = sizes(archives[name].path)
    assert unpacked / MIB <= LIMITS[name]


def test_every_provider_of_the_controllers_finds_what_it_needs(run: Run) -> None:
    assert int(run(CONTROLLERS, PROVIDERS)) > 100


def test_llamacpp_finds_what_it_needs(run: Run) -> None:
    assert "CPU" in run(LLAMACPP, "import xllamacpp; print(xllamacpp.get_device_info())")


def test_bytecode_is_there_for_all(run: Run) -> None:
    run(LLAMACPP, BYTECODE)


def test_it_runs_as_nobody_in_particular_and_has_no_compiler_or_installer(run: Run) -> None:
    user = "import os, pwd; print(os.getuid(), pwd.getpwuid(os.getuid()).pw_dir)"
    assert run(CONTROLLERS, user).split() == ["65532", "/tmp"]
    tools = ("gcc", "cc", "ld", "apt", "dpkg", "pip", "perl")
    found = run(CONTROLLERS, f"import shutil; print([t for t in {tools} if shutil.which(t)])")
    assert found.strip() == "[]"
    with pytest.raises(CommandError):
        run(CONTROLLERS, "import pip")


@pytest.mark.parametrize("name", LIMITS)
def test_its_bill_of_materials_has_all_that_is_locked(
    archives: dict[str, Archive], recipes: dict[str, Recipe], name: str
) -> None:
    listed = {
        each["name"]: each for each in json.loads(archives[name].sbom.read_text())["components"]
    }
    assert {"libc6", "libssl3", "ca-certificates", "libstdc++6"} <= set(listed)
    assert "perl-base" not in listed
    (lock,) = (path for path in recipes[name].locks if path.name == "requirements.lock")
    entries = re.split(r"\n(?=\S)", lock.read_text())
    locked = [re.match(r"([\w.-]+)==([^ ;\\]+)([^\\]*)", entry) for entry in entries]
    for entry, match in zip(entries, locked, strict=True):
        if match and "sys_platform" not in match[3] and "python" not in match[3]:
            found = listed[match[1].lower()]
            assert found["version"] == match[2]
            (digest,) = found["hashes"]
            assert f"sha256:{digest['content']}" in entry


def test_the_same_input_makes_the_same_image(builder: Builder, recipes: dict[str, Recipe]) -> None:
    first, second = builder.build_twice(recipes[LLAMACPP])
    assert first == second
