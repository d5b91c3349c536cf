"""Dockerfiles and what the images' packages import."""

from __future__ import annotations

import ast
import json
import re
import sys
import tomllib
from pathlib import Path

import pytest

from cloudproviders.aws.sdk import OPERATIONS
from localcluster import recipes

ROOT = Path(__file__).parents[3]
DOCKERFILES = [
    pytest.param(path, id=str(path.relative_to(ROOT / "images")))
    for path in sorted((ROOT / "images").rglob("Dockerfile*"))
]
SOURCES = [
    pytest.param(path, id=str(path.relative_to(ROOT / "images")))
    for path in sorted((ROOT / "images").rglob("*.py"))
]
IN_IMAGES = {"hub", "oci", "rag", "serving", "tuning"}
OURS = {"apis", *IN_IMAGES}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
WHOLE = set(PROJECT["mypy"]["packages"])
CONTRACT = {
    "apis.container",
    "apis.engineoptions",
    "apis.reports",
    "apis.trainingfields",
    "apis.trainingkeys",
    "apis.trainingoptions",
}
"""What controllers and images both know."""


RUNTIME = """\
FROM ${BASE} AS runtime
COPY images/runtime.py /src/
RUN ldconfig -p | grep -q libgomp.so.1 && ldconfig -p | grep -q libnuma.so.1 \\
    || (apt-get update && apt-get install -y --no-install-recommends libgomp1 libnuma1)
RUN python3 /src/runtime.py /runtime
"""
"""The same in all, or the first layer is not."""
COMPILES = {"serving/vllm/Dockerfile.gpu", "tuning/Dockerfile.gpu"}
"""Triton makes its launchers with a compiler when it first needs them (triton/runtime/build.py)."""
LABELS = ("title", "description", "licenses", "version", "revision")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT / "images"))


def final_stage(path: Path) -> str:
    return path.read_text().rpartition("\nFROM ")[2]


def instructions(text: str, word: str) -> list[str]:
    """The arguments of an instruction, each time that it is there."""
    joined = text.replace("\\\n", " ")
    return re.findall(rf"^{word} +(.+)$", joined, re.MULTILINE)


@pytest.mark.parametrize("path", DOCKERFILES)
def test_the_base_can_be_chosen(path: Path) -> None:
    text = path.read_text()
    assert instructions(text, "ARG")[0].startswith("BASE=")
    stages = [words.split()[0] for words in instructions(text, "FROM")]
    assert set(stages[:-1]) == {"${BASE}"}
    assert stages[-1] == ("${BASE}" if name(path) in COMPILES else "scratch")


@pytest.mark.parametrize("path", DOCKERFILES)
def test_all_share_their_first_layer(path: Path) -> None:
    if name(path) not in COMPILES:
        assert RUNTIME in path.read_text()
        assert final_stage(path).startswith("scratch\nCOPY --from=runtime /runtime /\n")


@pytest.mark.parametrize("path", DOCKERFILES)
def test_no_compiler_is_in_the_final_stage(path: Path) -> None:
    commands = instructions(final_stage(path), "RUN")
    if name(path) in COMPILES:
        assert "gcc" in commands[0]
    else:
        assert not commands, "what a final stage runs is in no lock"


@pytest.mark.parametrize("path", DOCKERFILES)
def test_what_is_copied_exists(path: Path) -> None:
    for words in instructions(path.read_text(), "COPY"):
        if words.startswith("--from="):
            continue
        for source in words.split()[:-1]:
            assert list(ROOT.glob(source.rstrip("/"))), source


@pytest.mark.parametrize("path", DOCKERFILES)
def test_nothing_is_fetched_that_no_lock_names(path: Path) -> None:
    text = path.read_text()
    assert not instructions(text, "ADD")
    assert not re.search(r"https?://|curl|wget|git clone", text)
    for command in instructions(text, "RUN"):
        for install in re.findall(r"pip \S*(?: \S+)* install [^&]*", command):
            assert (
                "--require-hashes" in install
                or "--no-index /" in install
                or ("--no-index " in install and "/tmp/wheel" in install)
            ), install
        assert "install-locked -r /src/" in command or "install-locked" not in command


@pytest.mark.parametrize("path", DOCKERFILES)
def test_no_image_runs_as_root(path: Path) -> None:
    (user,) = instructions(path.read_text(), "USER")
    assert user == "65532:65532"


@pytest.mark.parametrize("path", DOCKERFILES)
def test_every_image_says_what_it_is(path: Path) -> None:
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', final_stage(path)))
    assert tuple(labels) == LABELS
    assert all(labels.values())
    folders = path.parent.relative_to(ROOT / "images").parts
    assert labels["title"] == "-".join(["kaito", *folders])
    assert (labels["version"], labels["revision"]) == ("${VERSION}", "${REVISION}")
    assert instructions(final_stage(path), "ARG") == [f"VERSION={recipes.TAG} REVISION="]
    assert instructions(final_stage(path), "EXPOSE")
    assert instructions(final_stage(path), "CMD")


@pytest.mark.parametrize("path", DOCKERFILES)
def test_environments_are_finished(path: Path) -> None:
    """Without it there is no bytecode, and a pod compiles all it imports at each start."""
    places = [
        at.start() for at in re.finditer("install-locked -r|slim.py /opt/venv", path.read_text())
    ]
    assert "slim.py" in path.read_text()[places[-1] :].partition("\n")[0]


@pytest.mark.parametrize("path", [p for p in DOCKERFILES if "/app/" in p.values[0].read_text()])
def test_what_is_copied_can_be_imported(path: Path) -> None:
    """Every module, since an image has more programs than the one that it starts by itself."""
    copied = [words for words in instructions(final_stage(path), "COPY") if "--from" not in words]
    there = {module for words in copied for module in modules_of(words)}
    program = json.loads(instructions(final_stage(path), "CMD")[0])[-1]
    assert f"{program}.__main__" in there
    for module in there:
        missing = imports_of_ours(module) - there
        assert not missing, f"{module} imports {', '.join(sorted(missing))}, not copied"


def source_of(module: str) -> Path | None:
    for root in (ROOT / "images", ROOT):
        place = root.joinpath(*module.split("."))
        for file in (place.with_suffix(".py"), place / "__init__.py"):
            if file.is_file():
                return file
    return None


def modules_of(words: str) -> set[str]:
    """The modules that a COPY puts below /app."""
    *sources, target = words.split()
    if not target.startswith("/app/"):
        return set()
    package = target.removeprefix("/app/").strip("/").replace("/", ".")
    files = [file for source in sources for file in ROOT.glob(source) if file.suffix == ".py"]
    return {package if file.stem == "__init__" else f"{package}.{file.stem}" for file in files}


def imports_of_ours(module: str) -> set[str]:
    file = source_of(module)
    assert file, module
    named = {part for each in imports_in(file) for part in (each, each.rpartition(".")[0])}
    packages = {".".join(module.split(".")[:end]) for end in range(1, module.count(".") + 1)}
    return {each for each in named if each.split(".")[0] in OURS and source_of(each)} | packages


def imports_in(file: Path) -> set[str]:
    """Dotted names: of modules, and of what is taken from them."""
    return {
        name
        for node in ast.walk(ast.parse(file.read_text()))
        for name in (
            [f"{node.module}.{alias.name}" for alias in node.names]
            if isinstance(node, ast.ImportFrom) and node.module
            else [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else []
        )
    }


def test_the_controllers_image_has_the_whole_distribution() -> None:
    path = ROOT / "images/controllers/Dockerfile"
    wanted = PROJECT["hatch"]["build"]["targets"]["wheel"]["packages"]
    copied = [words.split() for words in instructions(path.read_text(), "COPY")]
    assert sorted(words[0] for words in copied if words[-1] == f"/src/{words[0]}") == sorted(wanted)


def test_the_controllers_image_knows_the_services_of_aws_that_are_called() -> None:
    path = ROOT / "images/controllers/Dockerfile"
    kept = set(re.findall(r"--aws (\S+)", path.read_text()))
    assert kept == {operation.service for operation in OPERATIONS.values()} | {"sts"}


@pytest.mark.parametrize(
    "path", sorted((ROOT / "images").rglob("*.py")), ids=lambda path: path.name
)
def test_images_import_nothing_of_ours_but_the_contract(path: Path) -> None:
    for imports in imports_in(path):
        top = imports.partition(".")[0]
        assert top not in WHOLE - IN_IMAGES or known(imports), imports


def known(imports: str) -> bool:
    """A module of the contract, or a name in one."""
    return imports in CONTRACT or imports.rpartition(".")[0] in CONTRACT


@pytest.mark.parametrize("name", sorted(CONTRACT))
def test_the_contract_is_the_standard_library_alone(name: str) -> None:
    for imports in imports_in(ROOT / f"{name.replace('.', '/')}.py"):
        assert imports.partition(".")[0] in sys.stdlib_module_names or known(imports), imports


@pytest.mark.parametrize("folder", ["apis", "hub", "images", "kube", "oci", "workspace_controller"])
def test_nothing_asks_for_a_newer_python_than_debians(folder: str) -> None:
    """Its 3.11.2 has none of tarfile's filters, which this machine's Python may have."""
    for file in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                named = {each.arg for each in node.keywords}
                assert node.func.attr not in ("extract", "extractall") or "filter" not in named, (
                    file
                )
