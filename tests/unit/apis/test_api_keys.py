"""The Secret whose keys open the served model."""

from __future__ import annotations

import pytest

from apis import engineoptions
from apis.kaito.v1beta1.workspace import Workspace
from apis.kaito.validation import apikeys, describe
from tests.builders import a_workspace, a_workspace_manifest, settings

KEY = "kaito.sh/api-key-secret"
RUNTIME = "kaito.sh/runtime"
FACTS = settings().facts


@pytest.mark.parametrize("annotations", [{}, {KEY: "model-keys"}, {KEY: "team.a", RUNTIME: "vllm"}])
def test_a_secret_may_be_named(annotations: dict[str, str]) -> None:
    """api keys"""
    assert not list(apikeys.secret(a_workspace(annotations=annotations), FACTS))


@pytest.mark.parametrize(
    ("annotations", "said"),
    [
        pytest.param({KEY: ""}, '"" is not the name of a Secret', id="empty"),
        pytest.param({KEY: "Keys!"}, '"Keys!" is not the name of a Secret', id="no name"),
        pytest.param({KEY: "keys", RUNTIME: "tgi"}, "choose another kaito.sh/runtime", id="tgi"),
    ],
)
def test_what_could_not_be_asked_for_is_refused(annotations: dict[str, str], said: str) -> None:
    """api keys"""
    found = describe(list(apikeys.secret(a_workspace(annotations=annotations), FACTS)))
    assert f"metadata.annotations[{KEY}]" in found
    assert said in found


def test_a_template_has_a_server_of_its_own() -> None:
    manifest = a_workspace_manifest(annotations={KEY: "keys"})
    manifest["inference"] = {"template": {"spec": {"containers": []}}}
    found = describe(list(apikeys.secret(Workspace.model_validate(manifest), FACTS)))
    assert "in a template give your server its keys yourself" in found


def test_what_stays_as_it_was_is_not_judged_again() -> None:
    wrong = a_workspace(annotations={KEY: "Keys!"})
    assert not list(apikeys.secret_changed(wrong, wrong, FACTS))
    assert list(apikeys.secret_changed(a_workspace(), wrong, FACTS))
    before = a_workspace(annotations={KEY: "keys"})
    after = a_workspace(annotations={KEY: "keys", RUNTIME: "tgi"})
    assert list(apikeys.secret_changed(before, after, FACTS))


@pytest.mark.parametrize("engine", engineoptions.ENGINES)
def test_a_key_in_the_config_file_is_refused_and_not_repeated(engine: str) -> None:
    """Who reads ConfigMaps would know it, and who sees the node's processes."""
    (said,) = engineoptions.complaints({engine: {"api-key": "sk-secret"}})
    assert KEY in said
    assert "sk-secret" not in said
