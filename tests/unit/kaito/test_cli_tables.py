"""What the commands that look at a cluster or a catalogue print, in every form."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
import yaml

from apis.kaito.v1beta1.status import Progress, WorkspaceStatus
from apis.kaito.v1beta1.workspace import Workspace
from kaito import endpoint, exits, models, output, status
from kaito.__main__ import main, parser
from kube.meta import ObjectMeta
from kube.objects import Unstructured
from presets import catalog
from tests.builders import a_workspace

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def a_ready_one(**status_: object) -> Workspace:
    told = Progress(stage="Ready", since=(NOW - timedelta(minutes=5)).isoformat())
    fields = {
        "state": "Ready",
        "progress": told,
        "worker_nodes": ("n1",),
        "target_node_count": 1,
        "endpoint": "http://falcon.default/v1",
    }
    made = a_workspace()
    return made.model_copy(update={"status": WorkspaceStatus(**(fields | status_))})


def test_columns_are_as_wide_as_their_widest_cell_and_nothing_follows_the_last():
    told = output.table(("A", "LONGER"), [("x" * 5, ""), ("y", "z")])
    assert told.splitlines() == ["A       LONGER", "xxxxx   <none>", "y       z"]


def test_a_workspace_is_a_line_and_a_wide_one_says_where_it_answers():
    workspace = a_ready_one()
    narrow = status.table([workspace], NOW, wide=False, namespaces=False).splitlines()
    assert narrow[0].split() == ["NAME", "STAGE", "SINCE", "NODES", "STATE", "AGE"]
    assert narrow[1].split()[:5] == [workspace.metadata.name, "Ready", "5m", "1/1", "Ready"]
    wide = status.table([workspace], NOW, wide=True, namespaces=True).splitlines()
    assert wide[0].split()[0] == "NAMESPACE"
    assert "http://falcon.default/v1" in wide[1]


def test_only_what_serves_or_has_succeeded_is_ready():
    assert status.ready(a_ready_one())
    assert status.ready(a_ready_one(state="Succeeded"))
    assert not status.ready(a_ready_one(state="Pending"))


def test_what_is_being_deleted_is_not_ready():
    workspace = a_ready_one()
    meta = msgspec.structs.replace(workspace.metadata, deletion_timestamp=NOW)
    going = workspace.model_copy(update={"metadata": meta})
    assert not status.ready(going)
    assert "Deleting" in status.table([going], NOW, wide=False, namespaces=False)


def test_watching_prints_tables_alone(capsys: pytest.CaptureFixture[str]):
    assert main(["status", "--watch", "-o", "json"]) == exits.UNTOLD
    assert "--watch prints tables alone" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("balancer", "expected"),
    [
        pytest.param({}, ["APIProxy", "ClusterIP"], id="inside"),
        pytest.param(
            {"loadBalancer": {"ingress": [{"hostname": "lb.example"}]}},
            ["LoadBalancer", "APIProxy", "ClusterIP"],
            id="with a load balancer",
        ),
    ],
)
def test_the_best_endpoint_comes_first(balancer: dict, expected: list[str]):
    service = Unstructured(metadata=ObjectMeta(name="falcon"), status=balancer)
    found = endpoint.endpoints(a_ready_one(), service, "https://api.example:6443/")
    assert [each.type for each in found] == expected
    proxied = next(each for each in found if each.type == "APIProxy")
    name = a_ready_one().metadata
    assert proxied.url == (
        f"https://api.example:6443/api/v1/namespaces/{name.namespace}/services/{name.name}:80/proxy"
    )


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["falcon"], id="by position"),
        pytest.param(["--workspace-name", "falcon"], id="as the Go plugin has it"),
        pytest.param(["-n", "team", "falcon"], id="after a flag"),
    ],
)
@pytest.mark.parametrize("command", ["get-endpoint", "chat"])
def test_a_workspace_is_named_either_way(command: str, words: list[str]):
    args = parser().parse_args([command, *words])
    assert endpoint.name_of(args) == "falcon"


@pytest.mark.parametrize(
    "words", [[], ["falcon", "--workspace-name", "other"]], ids=["none", "two"]
)
def test_and_exactly_one(words: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stopped:
        parser().parse_args(["chat", *words])
    assert stopped.value.code == exits.UNTOLD


def test_all_forms_of_the_list_of_models_are_one_list(capsys: pytest.CaptureFixture[str]):
    assert main(["models", "list", "-o", "name"]) == exits.DONE
    names = capsys.readouterr().out.split()
    assert main(["models", "list", "-o", "json"]) == exits.DONE
    as_json = json.loads(capsys.readouterr().out)
    assert main(["models", "list", "-o", "yaml"]) == exits.DONE
    assert yaml.safe_load(capsys.readouterr().out) == as_json
    assert [each["name"] for each in as_json] == names == sorted(names)
    assert main(["models", "list", "--detailed"]) == exits.DONE
    assert "HUGGING FACE" in capsys.readouterr().out.splitlines()[0]


def test_a_model_is_offered_on_what_it_fits_the_cheapest_first(capsys: pytest.CaptureFixture[str]):
    assert main(["models", "describe", "llama-3.3-70b-instruct", "-o", "json"]) == exits.DONE
    found = json.loads(capsys.readouterr().out)["offers"]
    prices = [each["dollarsPerHour"] for each in found if each["dollarsPerHour"] is not None]
    assert prices == sorted(prices)
    several = next(each for each in found if each["instanceType"] == "Standard_NC24ads_A100_v4")
    assert several["nodes"] > 1
    for each in found:
        words = ["--preset", "llama-3.3-70b-instruct", "--instance-type", each["instanceType"]]
        assert main(["estimate", *words, "-o", "json"]) == exits.DONE
        assert json.loads(capsys.readouterr().out)["nodes"] == each["nodes"]


def test_an_unknown_model_is_a_no_and_an_unknown_cloud_cannot_be_told(
    capsys: pytest.CaptureFixture[str],
):
    assert main(["models", "describe", "lama"]) == exits.NO
    assert main(["models", "describe", "phi-4", "--cloud", "moon"]) == exits.UNTOLD
    assert "--cloud: unknown cloud 'moon'" in capsys.readouterr().err


def test_every_command_says_how_it_ends():
    actions = parser()._subparsers
    assert actions is not None
    choices = actions._group_actions[0].choices
    assert isinstance(choices, dict)
    leaves: list[argparse.ArgumentParser] = []
    for each in choices.values():
        below = [one for one in each._actions if isinstance(one, argparse._SubParsersAction)]
        leaves += [leaf for one in below for leaf in one.choices.values()] or [each]
    silent = [each.prog for each in leaves if "xit status" not in (each.description or "")]
    assert silent == []


def test_models_without_gpus_are_not_offered_on_machines_without():
    offered = models.offers(catalog.load().get("phi-4"), "local")
    assert offered
    assert all(each.gpus_per_node for each in offered)
