"""What an apply would change, and what it takes: pure, with an invented installation."""

from __future__ import annotations

import json
from typing import Any

import pytest

from apis.kaito.v1beta1.workspace import Workspace
from kaito import changes, diff, merging
from kaito.changes import World
from kube.meta import Manifest
from tests.builders import NOW, a_config, a_workspace_manifest, settings
from tests.tuning_worlds import a_training_config, a_tuning, a_tuning_manifest

SETTINGS = settings()
LARGE = {"preset": "large-70b", "instance_type": "local-gpu-2"}
ADAPTER = {"source": {"name": "legal", "image": "registry.example/legal:1"}}


def live(last: Manifest | None = None, **given: Any) -> Workspace:
    manifest = a_workspace_manifest(**given)
    if last is not None:
        manifest["metadata"]["annotations"][merging.LAST_APPLIED] = json.dumps(last)
    manifest["metadata"] |= {"uid": "u", "resourceVersion": "7"}
    return Workspace.model_validate(manifest)


def compared(old: Workspace | None, world: World | None = None, **given: Any):
    manifest = merging.merged({} if old is None else old.to_json(), a_workspace_manifest(**given))
    return changes.difference(old, manifest, world or World(now=NOW), SETTINGS)


def effects(found: changes.Difference) -> dict[str, str]:
    return {each.path: each.effect for each in found.fields}


def test_the_same_again_is_no_difference():
    found = compared(live())
    assert (found.fields, found.effect) == ((), "None")
    assert list(diff.lines([found])) == []


def test_defaults_written_out_are_no_difference():
    spelt = {"preset": {"name": "small-1b", "accessMode": "public"}, "adapters": []}
    assert compared(live(), inference=spelt).fields == ()


@pytest.mark.parametrize(
    ("given", "path", "effect"),
    [
        pytest.param(
            {"annotations": {"kaito.sh/enablelb": "True"}},
            "metadata.annotations[kaito.sh/enablelb]",
            "Hot",
            id="load balancer",
        ),
        pytest.param(
            {"annotations": {"team": "search"}}, "metadata.annotations.team", "None", id="a note"
        ),
        pytest.param(
            {"annotations": {"kaito.sh/performance-mode": "throughput"}},
            "metadata.annotations[kaito.sh/performance-mode]",
            "RollPods",
            id="performance mode",
        ),
    ],
)
def test_what_one_change_takes(given, path, effect):
    found = compared(live(), **given)
    assert effects(found) == {path: effect}
    assert found.effect == effect


def test_a_second_adapter_is_loaded_into_the_running_pods():
    other = {"source": {"name": "style", "image": "registry.example/style:1"}}
    found = compared(
        live(inference={"adapters": [ADAPTER]}), inference={"adapters": [ADAPTER, other]}
    )
    assert effects(found) == {"inference.adapters": "Hot"}


def test_each_change_is_judged_alone_and_all_together():
    found = compared(
        live(),
        annotations={"kaito.sh/enablelb": "True", "kaito.sh/performance-mode": "throughput"},
    )
    assert sorted(effects(found).values()) == ["Hot", "RollPods"]
    assert found.effect == "RollPods"
    assert "falcon-1 comes up beside falcon-0" in found.message


def test_the_outage_is_said_where_one_engine_lies_over_several_nodes():
    mode = {"kaito.sh/performance-mode": "throughput"}
    found = compared(live(**LARGE), **LARGE, annotations=mode)
    assert found.effect == "RollPods"
    assert "replaced together" in found.message


def test_the_outage_is_said_where_no_second_pod_is_wanted():
    quiet = {"kaito.sh/surge": "False"}
    mode = {**quiet, "kaito.sh/performance-mode": "throughput"}
    assert "in place" in compared(live(annotations=quiet), annotations=mode).message


def test_a_config_map_of_the_same_file_counts_as_it_will_be():
    before = a_config("vllm:\n  max-model-len: 1024\n")
    after = a_config("vllm:\n  max-model-len: 2048\n")
    world = World(now=NOW, configs={"options": before}, proposed={"options": after})
    config = {"config": "options"}
    found = compared(live(inference=config), world, inference=config)
    assert effects(found) == {"ConfigMap/options [inference_config.yaml]": "RollPods"}


def test_a_longer_context_that_needs_more_nodes_replaces_nodes():
    before = a_config("vllm:\n  max-model-len: 2048\n")
    after = a_config("vllm:\n  max-model-len: 131072\n")
    world = World(now=NOW, configs={"options": before}, proposed={"options": after})
    given = {**LARGE, "inference": {"preset": {"name": "large-70b"}, "config": "options"}}
    found = compared(live(**given), world, **given)
    assert found.effect == "ReplaceNodes"
    assert "of type local-gpu-2" in found.message


def test_what_admission_refuses_is_refused_in_its_words():
    found = compared(live(), instance_type="local-gpu-2")
    assert effects(found) == {"resource.instanceType": "Refused"}
    assert found.effect == "Refused"
    assert "resource.instanceType" in found.message


@pytest.mark.parametrize(
    ("one", "other", "touches"),
    [
        ("inference.config", "inference.preset", False),
        ("inference.preset", "inference.preset", True),
        ("inference.preset", "inference.preset.name", True),
        ("inference.presets", "inference.preset", False),
    ],
)
def test_which_paths_are_about_one_field(one, other, touches):
    assert changes._touch(one, other) is changes._touch(other, one) is touches


def test_what_cannot_work_is_refused_before_it_is_applied():
    found = compared(live(), inference={"config": "nowhere"})
    assert found.effect == "Refused"
    assert "nowhere" in found.message


def test_a_new_workspace_says_what_it_costs():
    found = compared(None, **LARGE)
    assert found.effect == "Create"
    assert found.message.startswith("a new Workspace: it creates ")
    assert found.message.endswith(" nodes of type local-gpu-2")
    assert compared(None, preset="no-such-model").effect == "Refused"


def test_an_apply_takes_away_what_the_last_one_set_and_leaves_what_others_did():
    quiet = {"kaito.sh/surge": "false", "team": "search"}
    last = a_workspace_manifest(annotations={"kaito.sh/surge": "false"})
    old = live(last, annotations=quiet)
    assert effects(compared(old)) == {"metadata.annotations[kaito.sh/surge]": "None"}


def test_it_reads_aloud():
    found = compared(live(), annotations={"kaito.sh/enablelb": "True"})
    assert list(diff.lines([found])) == [
        "workspace default/falcon",
        '  metadata.annotations[kaito.sh/enablelb]  (not set) -> "True"  # applied hot',
        "  => applied hot: applied to what runs; no pod is restarted",
    ]


def test_what_rests_on_nodes_that_are_not_there_is_said_to_be_unknown():
    own = settings(byo=True)
    manifest = a_workspace_manifest(instance_type="")
    del manifest["resource"]["instanceType"]
    old = Workspace.model_validate(manifest)
    mode = {"kaito.sh/performance-mode": "throughput"}
    edited = {**manifest, "metadata": {**manifest["metadata"], "annotations": mode}}
    found = changes.difference(old, edited, World(now=NOW), own)
    assert found.effect == "Unknown"


def test_where_the_flags_do_not_fit_the_cluster_it_is_unknown_and_not_refused():
    old = live(preset="of-another-catalogue")
    mode = {"kaito.sh/performance-mode": "throughput"}
    found = compared(old, preset="of-another-catalogue", annotations=mode)
    assert found.effect == "Unknown"


@pytest.mark.parametrize(
    ("urls", "config", "effect"),
    [
        pytest.param(["https://data.example/a.jsonl"], "r: 8", "None", id="the same"),
        pytest.param(["https://data.example/b.jsonl"], "r: 8", "RollPods", id="other data"),
        pytest.param(["https://data.example/a.jsonl"], "r: 4", "RollPods", id="configuration"),
    ],
)
def test_an_edit_of_a_tuning_tunes_anew(urls: list[str], config: str, effect: str):
    given = {"tuning": {"config": "training"}}
    old = a_tuning(**given)
    manifest = a_tuning_manifest(tuning={**given["tuning"], "input": {"urls": urls}})
    text = "training_config:\n  LoraConfig:\n    "
    world = World(
        now=NOW,
        configs={"training": a_training_config(f"{text}r: 8\n")},
        proposed={"training": a_training_config(f"{text}{config}\n")},
    )
    manifest = merging.merged(old.to_json(), manifest)
    found = changes.difference(old, manifest, world, SETTINGS)
    assert found.effect == effect
    assert ("another is made that tunes anew" in found.message) == (effect == "RollPods")
