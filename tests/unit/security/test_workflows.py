"""What the workflows may, and what they run: by commit, with the least rights, from no input."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / ".github/workflows"
FILES = [pytest.param(path, id=path.stem) for path in sorted(FOLDER.glob("*.yaml"))]

WRITES = {
    ("images", "image"): {"packages", "id-token", "attestations"},
    ("charts", "charts"): {"packages", "id-token"},
    ("release", "images"): {"packages", "id-token", "attestations"},
    ("release", "charts"): {"packages", "id-token"},
    ("release", "publish"): {"contents", "id-token"},
    ("scan", "tree"): {"security-events"},
    ("scan", "images"): {"security-events"},
}
"""All that any job may write."""


def _read(path: Path) -> dict[Any, Any]:
    found: dict[Any, Any] = yaml.safe_load(path.read_text())
    return found


def _steps(path: Path) -> Iterator[dict[str, Any]]:
    for job in _read(path)["jobs"].values():
        yield from job.get("steps", ())


def test_all_are_there() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == {
        *("ci", "nightly", "images", "charts", "scan", "release"),
    }


@pytest.mark.parametrize("path", FILES)
def test_actions_are_pinned_by_commit_and_name_their_version(path: Path) -> None:
    for line in path.read_text().splitlines():
        if found := re.search(r"uses: (\S+)(.*)", line):
            ours = found[1].startswith("./.github/workflows/")
            pinned = re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", found[1])
            named = re.fullmatch(r" # v\d+\.\d+\.\d+", found[2])
            assert ours or (pinned and named), line


def test_an_action_has_one_version() -> None:
    """Else one of them is forgotten when the next is reviewed."""
    used = re.findall(r"uses: ([\w/-]+)@(\w+)", "".join(p.read_text() for p in FOLDER.iterdir()))
    assert len(dict(used)) == len(set(used))


@pytest.mark.parametrize("path", FILES)
def test_rights_are_the_least(path: Path) -> None:
    told = _read(path)
    assert told["permissions"] == {"contents": "read"}
    for name, job in told["jobs"].items():
        granted = job.get("permissions", {})
        writes = {key for key, value in granted.items() if value == "write"}
        assert writes == WRITES.get((path.stem, name), set()), name


@pytest.mark.parametrize("path", FILES)
def test_nothing_of_strangers_is_run(path: Path) -> None:
    """No script has an expression in it: values come by the environment, and stay values. Code of
    a fork is never run with our rights, and no step leaves its token in the tree."""
    assert "pull_request_target" not in _read(path)[True]
    for step in _steps(path):
        assert "${{" not in step.get("run", "")
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("path", FILES)
def test_every_job_ends(path: Path) -> None:
    for name, job in _read(path)["jobs"].items():
        assert "uses" in job or 0 < job["timeout-minutes"] <= 150, name


def test_every_image_is_built_described_and_signed_by_digest() -> None:
    told = _read(FOLDER / "images.yaml")["jobs"]["image"]
    built = {each["file"] for each in told["strategy"]["matrix"]["include"]}
    there = {str(path.relative_to(ROOT)) for path in (ROOT / "images").rglob("Dockerfile*")}
    assert built == there
    scripts = "\n".join(step.get("run", "") for step in told["steps"])
    assert 'cosign sign --yes "$IMAGE@$DIGEST"' in scripts
    assert 'cosign attest --yes --type cyclonedx --predicate sbom.cdx.json "$IMAGE@$DIGEST"' in (
        scripts
    )
    (provenance,) = [
        step for step in told["steps"] if "attest-build-provenance" in step.get("uses", "")
    ]
    assert provenance["with"]["subject-digest"] == "${{ steps.build.outputs.digest }}"


def _released(workflow: str, job: str) -> list[tuple[str, str]]:
    matrix = _read(FOLDER / workflow)["jobs"][job]["strategy"]["matrix"]["include"]
    return [(each["name"], each["suffix"]) for each in matrix]


def test_a_cluster_without_gpus_finds_every_image_of_a_pod_by_one_tag() -> None:
    """servingImageTag=VERSION-cpu is said for all of them."""
    built = _released("images.yaml", "image")
    assert len(set(built)) == len(built)
    pods = {name for name, _ in built} - {"kaito-controllers"}
    assert {name for name, suffix in built if suffix == "-cpu"} == pods
    assert {name for name, suffix in built if not suffix} == {*pods, "kaito-controllers"}


def test_every_released_image_is_scanned() -> None:
    assert _released("scan.yaml", "images") == _released("images.yaml", "image")
    (scan,) = (
        step["with"]
        for step in _read(FOLDER / "scan.yaml")["jobs"]["images"]["steps"]
        if "image-ref" in step.get("with", {})
    )
    assert scan["image-ref"].endswith(
        "/${{ matrix.name }}:${{ steps.release.outputs.version }}${{ matrix.suffix }}"
    )


def test_only_tags_sign_and_who_verifies_is_told_so() -> None:
    """An identity without its ref would take what any branch has built."""
    told = _read(FOLDER / "images.yaml")["jobs"]["image"]
    assert told["if"] == "github.ref_type == 'tag'"
    assert any(step.get("run") == 'test "$GITHUB_REF_NAME" = "v$VERSION"' for step in told["steps"])
    page = (ROOT / "docs/security/supply-chain.md").read_text()
    rules = re.findall(r"(?:identity-regexp|identity-regex) '(.*)'", page)
    assert len(rules) == 3
    ours = "https://github.com/OWNER/REPOSITORY/.github/workflows/images.yaml@refs/"
    for rule in rules:
        assert re.search(rule, f"{ours}tags/v1.2.3")
        assert not re.search(rule, f"{ours}heads/main")
        assert not re.search(rule, f"{ours}tags/v1.2.3".replace("images", "other"))


def test_each_chart_is_linted_with_values_that_it_takes() -> None:
    """gpu-provisioner has no default cloud, and its schema refuses none."""
    (script,) = (
        step["run"] for step in _steps(FOLDER / "charts.yaml") if "helm lint" in step.get("run", "")
    )
    given = re.search(r'"\$folder" = released/(\S+) \].*\n\s+cloud=\((--set \S+)\)', script)
    assert given is not None
    needy = {
        path.parent.name
        for path in (ROOT / "charts").glob("*/values.yaml")
        if yaml.safe_load(path.read_text()).get("cloudProviderName") == ""
    }
    assert needy == {given[1]}
    assert given[2] == "--set cloudProviderName=kwok"
    assert 'helm lint --strict "$folder" "${cloud[@]}"' in script


def test_ci_is_the_entry_that_people_have() -> None:
    assert any(step.get("run", "").endswith(".ci/run") for step in _steps(FOLDER / "ci.yaml"))
    assert _read(FOLDER / "release.yaml")["jobs"]["test"]["uses"].endswith("/ci.yaml")


def test_the_scan_of_the_day_insists_on_the_audit() -> None:
    scan = _read(FOLDER / "scan.yaml")
    assert scan[True]["schedule"]
    assert any(
        step.get("run") == "make lint AUDIT=required" for step in _steps(FOLDER / "scan.yaml")
    )
    assert "$(if $(filter required,$(AUDIT)),--required)" in (ROOT / "Makefile").read_text()


@pytest.mark.parametrize("name", ["trivy.yaml", ".hadolint.yaml", ".kube-linter.yaml"])
def test_scanners_are_configured_and_used(name: str) -> None:
    assert yaml.safe_load((ROOT / name).read_text())
    assert name in (FOLDER / "scan.yaml").read_text()


@pytest.mark.parametrize("job", ["tree", "dockerfiles-and-charts"])
def test_charts_are_rendered_before_they_are_scanned(job: str) -> None:
    """trivy would render them itself, all of them with the same values, which their schemas refuse:
    an error of the scanner and no finding."""
    steps = [str(step) for step in _read(FOLDER / "scan.yaml")["jobs"][job]["steps"]]
    (rendered,) = [at for at, step in enumerate(steps) if ".ci/render-charts rendered" in step]
    scanned = [
        at for at, step in enumerate(steps) if "trivy-action" in step or 'kube-linter" lint' in step
    ]
    assert scanned
    assert rendered <= scanned[0]
    judged = yaml.safe_load((ROOT / "trivy.yaml").read_text())["misconfiguration"]
    assert judged == {"scanners": ["dockerfile", "kubernetes"]}


def test_every_exception_of_a_scanner_has_its_reason() -> None:
    for found in yaml.safe_load((ROOT / ".trivyignore.yaml").read_text()).values():
        assert all(len(each["statement"]) > 20 for each in found)
    for name, key in ((".hadolint.yaml", "ignored"), (".kube-linter.yaml", "exclude")):
        lines = (ROOT / name).read_text().splitlines()
        start = next(at for at, line in enumerate(lines) if line.strip() == f"{key}:")
        entries = [line for line in lines[start + 1 :] if line.strip().startswith("- ")]
        assert entries
        assert all(" # " in line for line in entries), name
