"""A real embedding model in the image's environment, which no network is reached from."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from localcluster import paths
from localcluster.models import Models
from tests.engines.conftest import Engine

pytestmark = pytest.mark.timeout(300)
BACKENDS = ("onnx", "torch")
LOCK = "images/rag/requirements-cpu.lock"
Found = dict[str, Any]


def embed(python: Path, environment: dict[str, str], scratch: Path, backend: str) -> Found:
    model = Models(paths.cache_directory(os.environ)).embedder()
    script = Path(__file__).with_name("minilm.py")
    done = subprocess.run(
        [str(python), str(script), str(model), str(scratch), backend],
        env={**environment, "HOME": str(scratch)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.fixture(scope="module")
def runs(
    python_of: Engine, image_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Found, Found]:
    """Two processes, one by ONNX Runtime, one on torch."""
    one, other = (
        embed(python_of(LOCK), image_environment, tmp_path_factory.mktemp("home"), each)
        for each in BACKENDS
    )
    return one, other


@pytest.fixture(scope="module", params=[0, 1], ids=BACKENDS)
def found(runs: tuple[Found, Found], request: pytest.FixtureRequest) -> Found:
    return runs[int(request.param)]


def test_what_the_model_is(found: Found) -> None:
    assert (found["dimension"], found["max_tokens"]) == (384, 256)
    assert found["shape"][1] == 384
    assert found["lengths"] == pytest.approx([1] * found["shape"][0], abs=1e-5)


def test_what_is_alike_is_closer(found: Found) -> None:
    (_, cats, cat_market, _), _, (_, _, _, markets), _ = found["similar"]
    assert cats > 0.4 > 0.2 > cat_market
    assert markets > 0.4


def test_in_a_batch_as_alone(found: Found) -> None:
    assert found["apart"] < 1e-5
    assert found["query_apart"] < 1e-5, "this model embeds queries as documents"


def test_the_fingerprint_is_the_same_in_another_process(runs: tuple[Found, Found]) -> None:
    one, other = (each["fingerprint"] for each in runs)
    assert sum(a * b for a, b in zip(one, other, strict=True)) > 0.99999


def test_a_query_overtakes_documents(found: Found) -> None:
    took = found["overtakes"]
    assert took["order"] == ["query", "documents"]
    assert took["query"] < took["documents"] / 4


def test_chunks_are_as_long_as_the_model_reads(found: Found) -> None:
    assert 200 < found["longest"] <= 256


def test_a_cross_encoder(found: Found) -> None:
    scores = found["reranked"]["scores"]
    assert len(set(scores)) == 10
    assert all(0 < each < 1 for each in scores)
    assert found["reranked"]["apart"] < 1e-5


def test_what_is_no_model_is_refused(found: Found) -> None:
    assert "is no embedding model that can be loaded" in found["refused"]


def test_no_network(runs: tuple[Found, Found]) -> None:
    assert [each["reached"] for each in runs] == [[], []]
