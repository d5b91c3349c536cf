"""Where programs come from, in which order."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from localcluster import download
from localcluster.binaries import Binaries, BinaryError, build_flags
from localcluster.progress import silent
from localcluster.tools import TOOLS, Release, Tool


def _file(path: Path, content: str = "program") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def _offline(_release: Release, _target: Path, _unreachable: set[str]) -> None:
    raise download.DownloadError("dl.k8s.io is not reachable")


def _online(_release: Release, target: Path, _unreachable: set[str]) -> None:
    target.write_text("downloaded")


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tools that were built from source; each build writes a file."""
    built: list[str] = []

    def build(_self: Binaries, tool: Tool, target: Path) -> None:
        built.append(tool.name)
        target.write_text("built")

    monkeypatch.setattr(Binaries, "_build", build)
    return built


def test_the_users_own_programs_come_first(tmp_path: Path) -> None:
    own = _file(tmp_path / "assets/etcd")
    binaries = Binaries(tmp_path / "cache", tmp_path / "assets", silent)
    _file(binaries.cached(TOOLS["etcd"]))
    assert binaries.path("etcd") == own


def test_what_the_user_has_not_comes_from_the_cache(tmp_path: Path) -> None:
    _file(tmp_path / "assets/etcd")
    binaries = Binaries(tmp_path / "cache", tmp_path / "assets", silent)
    cached = _file(binaries.cached(TOOLS["kubectl"]))
    assert binaries.path("kubectl") == cached


def test_a_release_is_downloaded_rather_than_built(
    tmp_path: Path, builds: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "fetch", _online)
    assert Binaries(tmp_path, say=silent).path("etcd").read_text() == "downloaded"
    assert builds == []


def test_offline_programs_are_built_once(
    tmp_path: Path, builds: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "fetch", _offline)
    said: list[str] = []
    binaries = Binaries(tmp_path, say=said.append)
    assert binaries.path("etcd").read_text() == "built"
    binaries.path("etcd")
    assert builds == ["etcd"]
    assert any("not reachable; building it from source" in line for line in said)


def test_without_go_the_remedy_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "fetch", _offline)
    monkeypatch.setattr("shutil.which", lambda *_arguments, **_options: None)
    with pytest.raises(BinaryError, match=r"install Go 1\.25 or newer"):
        Binaries(tmp_path, say=silent).path("etcd")


def test_the_cache_is_keyed_by_version(tmp_path: Path) -> None:
    tool = TOOLS["kubelet"]
    assert tool.version in Binaries(tmp_path).cached(tool).parent.name


def test_builds_carry_the_version_that_the_server_tells() -> None:
    tool = TOOLS["kube-apiserver"]
    flags = " ".join(build_flags(tool))
    assert f"k8s.io/component-base/version.gitVersion={tool.version}" in flags
    assert "gitMajor=1" in flags


SOURCE_ONLY = {"karpenter-kwok"}


@pytest.mark.parametrize("name", sorted(TOOLS))
def test_every_tool_has_a_version(name: str) -> None:
    assert TOOLS[name].version.startswith("v")
    assert (TOOLS[name].release is None) == (name in SOURCE_ONLY)


def released_as(tool: Tool) -> str:
    """Prometheus 3.13.5 is v0.313.5 as a Go module."""
    if tool.product == "prometheus":
        found = re.fullmatch(r"v0\.(\d)0?(\d+)\.(\d+)", tool.version)
        assert found is not None
        return ".".join(found.groups())
    return tool.version.removeprefix("v")


@pytest.mark.parametrize("name", sorted(set(TOOLS) - SOURCE_ONLY))
def test_every_release_is_verified(name: str) -> None:
    tool = TOOLS[name]
    assert tool.release is not None
    assert tool.release.url.startswith("https://")
    assert re.search(r"sha256|checksums", tool.release.checksum_url.lower())
    assert released_as(tool) in tool.release.url


def test_what_is_published_as_source_is_built_at_once(
    tmp_path: Path, builds: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "fetch", _online)
    assert Binaries(tmp_path, say=silent).path("karpenter-kwok").read_text() == "built"
    assert builds == ["karpenter-kwok"]
