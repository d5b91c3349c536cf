"""llama.cpp's command line, model and adapters."""

from __future__ import annotations

from pathlib import Path

import pytest
from serving.llamacpp import arguments, files
from serving.llamacpp.arguments import UsageError


def test_defaults_are_the_paths_of_the_contract() -> None:
    found = arguments.parse([])
    assert (str(found.model), found.port, found.host) == ("/workspace/weights", 5000, "0.0.0.0")
    assert str(found.adapters_dir) == "/mnt/adapter"
    assert (found.context_size, found.threads, found.parallel) == (0, 0, 4)


def test_a_config_file_wins_over_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "inference_config.yaml"
    path.write_text("llamacpp:\n  ctx-size: 1024\n  embeddings: true\n")
    found = arguments.parse(["--ctx-size=4096", "--threads=3", f"--kaito-config-file={path}"])
    assert (found.context_size, found.threads, found.embeddings) == (1024, 3, True)


def test_a_wrong_option_in_the_file_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "inference_config.yaml"
    path.write_text("llamacpp:\n  paralel: 2\n")
    with pytest.raises(UsageError, match=r"config file: .*--paralel=2"):
        arguments.parse([f"--kaito-config-file={path}"])


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--prot=1"], "--prot=1"),
        (["--port=none"], "'none' is no whole number"),
        (["--parallel=0"], "0 is less than 1"),
        (["--ctx=5"], "--ctx=5"),
    ],
)
def test_a_wrong_command_line_is_refused(words: list[str], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        arguments.parse(words)


def a_model(path: Path) -> Path:
    path.write_bytes(b"GGUF\x03\x00\x00\x00")
    return path


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        pytest.param(["model.gguf", "other.gguf"], "model.gguf", id="the-usual-name"),
        pytest.param(["q4.gguf"], "q4.gguf", id="the-only-one"),
        pytest.param(
            ["big-00002-of-00002.gguf", "big-00001-of-00002.gguf"],
            "big-00001-of-00002.gguf",
            id="first-part",
        ),
    ],
)
def test_a_directory_stands_for_its_model(tmp_path: Path, names: list[str], chosen: str) -> None:
    for name in names:
        a_model(tmp_path / name)
    assert files.model_file(tmp_path) == tmp_path / chosen


def test_a_file_is_itself(tmp_path: Path) -> None:
    assert files.model_file(a_model(tmp_path / "a.gguf")) == tmp_path / "a.gguf"


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        files.model_file(tmp_path / "a.gguf")
    with pytest.raises(UsageError, match=r"has no \.gguf file"):
        files.model_file(tmp_path)
    (tmp_path / "page.gguf").write_text("<html>")
    with pytest.raises(UsageError, match="is not a GGUF file"):
        files.model_file(tmp_path)
    a_model(tmp_path / "other.gguf")
    with pytest.raises(UsageError, match=r"several models \(other.gguf, page.gguf\)"):
        files.model_file(tmp_path)


def test_adapters_are_named_after_their_directories(tmp_path: Path) -> None:
    """A strength lies beside it, or is a variable; drafts of init containers do not count."""
    for name in ("b", "a", "c", ".d.new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "lora.gguf").touch()
    (tmp_path / "c" / "kaito-strength").write_text("0.25")
    found = files.adapters(tmp_path, {"a": "0.5", "c": "9"}, tmp_path / "model.gguf")
    assert [(each.name, each.strength) for each in found] == [("a", 0.5), ("b", 1.0), ("c", 0.25)]
    assert found[0].path == tmp_path / "a" / "lora.gguf"


def test_no_directory_means_no_adapters(tmp_path: Path) -> None:
    assert files.adapters(tmp_path / "none", {}, tmp_path / "model.gguf") == []


def test_wrong_adapters_are_refused(tmp_path: Path) -> None:
    model = tmp_path / "model.gguf"
    model.write_bytes(b"GGUF")
    (tmp_path / "a").mkdir()
    with pytest.raises(UsageError, match=r"the head of the model .* cannot be read"):
        files.adapters(tmp_path, {}, model)
    (tmp_path / "a" / "lora.gguf").touch()
    with pytest.raises(UsageError, match="strength 'much' of the adapter a"):
        files.adapters(tmp_path, {"a": "much"}, model)
    (tmp_path / "a" / "other.gguf").touch()
    with pytest.raises(UsageError, match=r"adapter a has 2 \.gguf files"):
        files.adapters(tmp_path, {}, model)
