"""Any model of Hugging Face, from a name to a NodeClaim, pinned to a commit."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
from workspace_cluster import Cluster, condition, eventually

from kube.meta import Manifest
from tests.fakes.hub import COMMIT, Hub, Repository, config_json, llama_files
from workspace_controller import models
from workspace_controller.workspace.models import RESOLVED_ANNOTATION

pytestmark = pytest.mark.integration

NAME = "Someone/Fine-Llama-1B"
PERSIMMON = {"architectures": ["PersimmonForCausalLM"]}


@pytest.fixture
async def hub(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hub]:
    monkeypatch.setattr(models, "BAD_SECONDS", (0.2, 0.2))
    monkeypatch.setattr(models, "SILENCE_SECONDS", (0.2, 0.2))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Hub({NAME: Repository()}).running() as hub:
        yield hub


async def test_a_model_outside_the_catalogue_is_described_pinned_and_never_asked_for_again(
    cluster: Cluster, hub: Hub
):
    async with cluster.controller(hub=hub.url) as process:
        await cluster.create_workspace(preset=NAME)
        await cluster.one_claim()
        made = process.writes.index("create NodeClaim")
        await eventually(lambda: _asks_for(cluster, 1))
    workspace = await cluster.workspace()
    kept = json.loads(workspace.metadata.annotations[RESOLVED_ANNOTATION])
    assert (kept["hf_id"], kept["revision"], kept["weights_bytes"]) == (NAME, COMMIT, 2 << 30)
    assert "lora" not in kept  # what is as usual is left out
    # The finalizer, then that it waits; what was learnt goes along with the claim's attempt.
    assert process.writes[:made] == [
        "patch Workspace metadata",
        "patch Workspace status",
        "patch Workspace metadata",
    ]
    hub.repositories[NAME].commit = "f" * 40
    asked = hub.asked.total()
    async with cluster.controller(hub=hub.url):
        await cluster.bring_up(await cluster.one_claim())
        await eventually(cluster.stateful_set)
        (container,) = (await cluster.stateful_set()).spec["template"]["spec"]["containers"]
    assert any(COMMIT in argument for argument in _words(container))
    assert hub.asked.total() == asked


async def test_while_nobody_answers_no_node_is_asked_for(cluster: Cluster, hub: Hub):
    hub.down = True
    async with cluster.controller(hub=hub.url):
        await cluster.create_workspace(preset=NAME)
        await eventually(lambda: _says(cluster, "answered 503"))
        workspace = await cluster.workspace()
        assert workspace.status.target_node_count == 0
        assert [each.type for each in workspace.status.conditions if each.status == "True"] == []
        assert await condition(cluster, "ResourceReady") == ("False", "ModelDescriptionPending")
        assert await cluster.claims() == []
        hub.down = False
        await cluster.one_claim()


async def test_many_workspaces_ask_once(cluster: Cluster, hub: Hub):
    async with cluster.controller(hub=hub.url):
        for name in ("one", "two", "three"):
            await cluster.create_workspace(name=name, preset=NAME)
        for name in ("one", "two", "three"):
            await eventually(lambda name=name: cluster.claims(name))
    assert hub.descriptions() == 1


async def test_a_gated_model_waits_for_its_secret(cluster: Cluster, hub: Hub):
    hub.repositories[NAME] = Repository(gated=True, token="hf_good")
    preset = {"name": NAME, "presetOptions": {"modelAccessSecret": "mine"}}
    async with cluster.controller(hub=hub.url) as process:
        await cluster.create_workspace(inference={"preset": preset})
        await eventually(lambda: _says(cluster, 'there is no Secret "mine"'))
        assert await condition(cluster, "ResourceReady") == ("False", "InvalidPreset")
        await cluster.client.create(_secret(cluster, "hf_bad"))
        await eventually(lambda: _says(cluster, 'the token in Secret "mine" does not open'))
        await cluster.client.apply(_secret(cluster, "hf_good"))
        await cluster.one_claim()
    # Repeating a refusal is no news.
    assert process.events.told.count(("Warning", "InvalidPreset")) == 2


async def test_a_gated_model_without_a_secret_is_refused_in_the_words_of_admission(
    cluster: Cluster, hub: Hub
):
    hub.repositories[NAME] = Repository(gated=True, token="hf_good")
    async with cluster.controller(hub=hub.url):
        await cluster.create_workspace(preset=NAME)
        await eventually(
            lambda: _says(
                cluster,
                "inference.preset.presetOptions.modelAccessSecret: must be set: preset"
                f' "{NAME}" is gated; name a Secret with the key HF_TOKEN',
            )
        )


@pytest.mark.parametrize(
    ("repository", "words"),
    [
        pytest.param(None, "no public model", id="unknown"),
        pytest.param(
            Repository({**llama_files(), "config.json": config_json(PERSIMMON)}),
            "no longer serves PersimmonForCausalLM",
            id="architecture",
        ),
        pytest.param(
            Repository({"config.json": config_json()}), "has no weight files", id="no weights"
        ),
    ],
)
async def test_what_cannot_be_served_is_the_users_to_mend(
    repository: Repository | None, words: str, cluster: Cluster, hub: Hub
):
    hub.repositories = {} if repository is None else {NAME: repository}
    async with cluster.controller(hub=hub.url):
        await cluster.create_workspace(preset=NAME)
        await eventually(lambda: _says(cluster, words))
        assert await condition(cluster, "ResourceReady") == ("False", "InvalidPreset")
        assert await cluster.claims() == []


def _secret(cluster: Cluster, token: str) -> Manifest:
    metadata = {"name": "mine", "namespace": cluster.namespace}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "stringData": {"HF_TOKEN": token},
    }


def _words(container: Manifest) -> list[str]:
    environment = [str(entry.get("value", "")) for entry in container.get("env", [])]
    return [*container.get("command", []), *container.get("args", []), *environment]


async def _asks_for(cluster: Cluster, nodes: int) -> bool:
    return (await cluster.workspace()).status.target_node_count == nodes


async def _says(cluster: Cluster, words: str) -> bool:
    return words in (await cluster.workspace()).condition("ResourceReady").message
