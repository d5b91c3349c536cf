"""What is missing is told at once, each with its remedy."""

from __future__ import annotations

import os
import shutil

import pytest

from localcluster import requirements
from localcluster.requirements import Missing, MissingError


def test_a_missing_program_names_its_package() -> None:
    assert str(Missing("no buildah", "buildah")) == "no buildah: apt-get install buildah"


def test_what_no_package_mends_has_words() -> None:
    assert str(Missing("not root", remedy="run as root")) == "not root: run as root"


def test_all_reasons_are_told_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(MissingError) as told:
        requirements.check()
    message = str(told.value)
    for line in ("not root", "apt-get install buildah", "apt-get install runc", "no containerd"):
        assert line in message


def test_programs_of_one_package_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    lines = [str(item) for item in requirements.missing()]
    assert "no containerd, ctr: apt-get install containerd" in lines


def test_a_browser_is_for_tests_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    assert [str(item) for item in requirements.missing_for_tests()] == [
        "no chromedriver: apt-get install chromium-driver",
        "no chromium: apt-get install chromium",
    ]
    assert not any("chrom" in str(item) for item in requirements.missing())


@pytest.mark.parametrize("arguments", [["--install"], ["--install", "--tests"]])
def test_what_only_tests_need_is_installed_where_it_is_asked_for(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda name: "there" if name == "apt-get" else None)
    monkeypatch.setattr(requirements, "missing", lambda: [])
    monkeypatch.setattr(
        requirements.subprocess, "run", lambda command, **_: commands.append(command)
    )
    assert requirements.main(arguments) == 0
    installed = [command[-2:] for command in commands if "install" in command]
    assert installed == ([["chromium", "chromium-driver"]] if "--tests" in arguments else [])
    assert ("no chromium" in capfd.readouterr().err) is ("--tests" in arguments)
