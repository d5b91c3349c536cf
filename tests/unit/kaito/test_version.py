"""`--version` is the release's, under both names."""

from __future__ import annotations

import importlib.metadata

import pytest

from kaito.__main__ import main


@pytest.mark.parametrize(
    ("called", "name"), [("/usr/bin/kaito", "kaito"), ("/bin/kubectl-kaito", "kubectl kaito")]
)
def test_version(
    called: str,
    name: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.argv", [called])
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"{name} {importlib.metadata.version('kaito-py')}\n"


def test_a_checkout_alone_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", lost)
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.endswith(" unreleased\n")
