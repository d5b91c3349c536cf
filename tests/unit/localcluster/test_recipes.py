"""When an image is built anew, and when not."""

from __future__ import annotations

from pathlib import Path

import pytest

from localcluster.recipes import Recipe, copied, discover

DOCKERFILE = """\
ARG BASE=docker.io/library/python
FROM ${BASE} AS build
# COPY commented /nowhere
COPY --chown=1:1 app requirements.lock \\
     /src/
RUN --mount=type=cache echo COPY not /this
FROM ${BASE}
COPY --from=build /opt/venv /opt/venv
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    (tmp_path / "images/demo").mkdir(parents=True)
    (tmp_path / "images/demo/Dockerfile").write_text(DOCKERFILE)
    (tmp_path / "app/__pycache__").mkdir(parents=True)
    (tmp_path / "app/main.py").write_text("print(1)")
    (tmp_path / "requirements.lock").write_text("aiohttp==1")
    return Recipe("demo", "1", tmp_path / "images/demo/Dockerfile", tmp_path)


def test_sources_are_those_of_the_context() -> None:
    assert copied(DOCKERFILE) == ["app", "requirements.lock"]


def test_the_locks_are_what_wheels_are_fetched_for(recipe: Recipe) -> None:
    assert [path.name for path in recipe.locks] == ["requirements.lock"]


def test_the_same_inputs_make_the_same_key(recipe: Recipe) -> None:
    assert recipe.key("base-1") == recipe.key("base-1")


@pytest.mark.parametrize("changed", ["app/main.py", "images/demo/Dockerfile", "app/new.py"])
def test_a_changed_input_makes_another_key(recipe: Recipe, changed: str) -> None:
    before = recipe.key()
    path = recipe.context / changed
    path.write_text((path.read_text() if path.exists() else "") + "\n# changed\n")
    assert recipe.key() != before


def test_another_base_makes_another_key(recipe: Recipe) -> None:
    assert recipe.key("base-1") != recipe.key("base-2")


@pytest.mark.parametrize("other", ["README.md", "app/__pycache__/main.pyc"])
def test_what_is_not_copied_does_not_matter(recipe: Recipe, other: str) -> None:
    before = recipe.key()
    (recipe.context / other).write_text("anything")
    assert recipe.key() == before


def test_images_are_named_by_their_folders(tmp_path: Path) -> None:
    for folder in ("controllers", "serving/vllm"):
        (tmp_path / "images" / folder).mkdir(parents=True)
        (tmp_path / "images" / folder / "Dockerfile").write_text("FROM scratch\n")
    found = [recipe.reference for recipe in discover(tmp_path, "0.1.0")]
    assert found == ["localhost/kaito-controllers:0.1.0", "localhost/kaito-serving-vllm:0.1.0"]
