"""Where weights may come from, in the words that users get."""

from __future__ import annotations

import pytest

from apis.kaito import weights
from apis.kaito.v1beta1.workspace import Workspace
from apis.kaito.validation import describe
from apis.kaito.validation import weights as rules
from apis.kaito.weights import Claim, Hub, Image, OnNode
from tests.builders import a_workspace, a_workspace_manifest, settings

KEY = "kaito.sh/model-weights"
SECRETS = "kaito.sh/model-weights-pull-secrets"
LOCAL = "kaito.sh/use-local-weights"
COMMIT = "89ab" * 10
DIGEST = f"sha256:{'0a' * 32}"
FACTS = settings().facts
PINNED = f"oci://registry.example/models/small:v1@{DIGEST}"


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        ({}, Hub()),
        ({LOCAL: "false"}, Hub()),
        ({LOCAL: "true"}, OnNode()),
        ({KEY: "node://"}, OnNode()),
        ({KEY: "node://", LOCAL: "true"}, OnNode()),
        ({KEY: f"hf://example/Fine.Tuned-1B@{COMMIT}"}, Hub("example/Fine.Tuned-1B", COMMIT)),
        ({KEY: PINNED}, Image(PINNED.removeprefix("oci://"), DIGEST)),
        (
            {KEY: f"oci://localhost:5000/small@{DIGEST}/models/small"},
            Image(f"localhost:5000/small@{DIGEST}", DIGEST, "models/small"),
        ),
        ({KEY: "pvc://models"}, Claim("models")),
        ({KEY: "pvc://team.models/a/b-1.0/"}, Claim("team.models", "a/b-1.0")),
    ],
)
def test_urls_are_read(annotations, expected):
    assert weights.asked(annotations) == expected
    assert not list(rules.source(a_workspace(annotations=annotations), FACTS))


@pytest.mark.parametrize(
    ("annotations", "said"),
    [
        pytest.param({KEY: ""}, '"" is no source of weights; it must start with "hf://"', id="no"),
        pytest.param({KEY: "s3://b/m"}, '"s3://b/m" is no source of weights', id="s3"),
        pytest.param({KEY: "hf://small"}, "write hf://owner/model@commit", id="no owner"),
        pytest.param(
            {KEY: "hf://example/small@main"},
            "pins no commit, so what is served could change from pod to pod; append @ and the 40"
            " hexadecimal digits that `git ls-remote https://huggingface.co/example/small main`",
            id="a branch",
        ),
        pytest.param(
            {KEY: "oci://registry.example/small:v1"},
            "names no digest, so what is served could change from pod to pod; append @sha256:… and"
            " the 64 hexadecimal digits that `crane digest registry.example/small:v1`",
            id="no digest",
        ),
        pytest.param(
            {KEY: "oci://registry.example/small@sha256:12"}, "names no digest", id="half a digest"
        ),
        pytest.param(
            {KEY: f"oci://models/small@{DIGEST}"},
            "names no registry; write oci://docker.io/models/small",
            id="no registry",
        ),
        pytest.param(
            {KEY: f"oci://registry.example/Small@{DIGEST}"}, "in lower case", id="upper case"
        ),
        pytest.param({KEY: f"{PINNED}/../x"}, 'has the path "../x"', id="out of the image"),
        pytest.param({KEY: "pvc://"}, "write pvc://claim or pvc://claim/path", id="no claim"),
        pytest.param({KEY: "pvc://models/../etc"}, 'has the path "../etc"', id="out of the claim"),
        pytest.param({KEY: "pvc://models//a"}, 'has the path "/a"', id="an empty part"),
        pytest.param({KEY: "node:///opt"}, "names more than the node", id="a path of the node"),
        pytest.param(
            {KEY: "pvc://models", LOCAL: "true"},
            "contradicts annotation kaito.sh/use-local-weights=true; keep one of both",
            id="two sources",
        ),
        pytest.param(
            {KEY: PINNED, SECRETS: "good, Bad"},
            f'[{SECRETS}]: "Bad" is no name of a Secret',
            id="no secret",
        ),
        pytest.param(
            {SECRETS: "pull"}, f"[{SECRETS}]: is for weights out of a registry", id="secret alone"
        ),
    ],
)
def test_what_cannot_be_followed_is_refused_with_the_remedy(annotations, said):
    assert said in describe(rules.source(a_workspace(annotations=annotations), FACTS))


def test_a_template_brings_its_own_volumes():
    template = {"preset": None, "template": {"spec": {"containers": []}}}
    workspace = a_workspace(annotations={KEY: "pvc://models"}, inference=template)
    assert "is for a preset that is served or tuned" in describe(rules.source(workspace, FACTS))


def test_a_source_may_change_but_not_to_a_bad_one():
    before, good = a_workspace(), a_workspace(annotations={KEY: "pvc://models"})
    bad = a_workspace(annotations={KEY: "pvc://"})
    assert not list(rules.source_changed(before, good, FACTS))
    assert list(rules.source_changed(good, bad, FACTS))
    assert not list(rules.source_changed(bad, bad, FACTS)), "what stayed is not judged again"


@pytest.mark.parametrize(
    ("annotations", "needed"),
    [
        ({}, True),
        ({KEY: "pvc://models"}, False),
        ({KEY: PINNED}, False),
        ({KEY: f"hf://example/open@{COMMIT}"}, False),
        ({KEY: "pvc://"}, False),
    ],
)
def test_a_token_is_demanded_where_the_gated_repository_is_asked(annotations, needed):
    manifest = a_workspace_manifest(annotations=annotations)
    assert rules.from_presets_repository(Workspace.model_validate(manifest)) is needed
