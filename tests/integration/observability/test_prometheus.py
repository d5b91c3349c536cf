"""Rules and dashboards, judged by the real Prometheus."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from operated_prometheus import Prometheus, prometheus
from watched_cluster import KINDS, TEAM, World, both, eventually

from kube import config
from kube.client import Client
from localcluster.binaries import Binaries
from observability import alerts_workspace, generate, grafana, rules
from observability.panel import Board, Query

pytestmark = pytest.mark.integration

EMPTY = {
    "a serving pod's own metrics: no engine runs here": (
        "vllm:",
        "kaito_num_requests",
        "kaito_generation_tokens",
    ),
    "only where a node is sick, or the cloud takes one back": (
        "karpenter_nodeclaims_unhealthy_disrupted_total",
        "karpenter_interruption_received_messages_total",
    ),
    "only where the cloud takes longer than one call; kwok's machines go at once": (
        "karpenter_nodeclaims_instance_termination",
    ),
    "only where a benchmark has measured the engine": ('stage="first_token"',),
    "only where an event could not be written": ("kube_events_dropped_total",),
    "only where something fails": ("reconcile_errors_total",),
    "only where a worker is stuck for a minute": ("workqueue_longest_running",),
    "only where somebody's pod was in the way": ("karpenter_pods_drained_total",),
    "only while something is being deleted": ("operator_termination_current_time_seconds",),
}
"""Why a query may answer nothing in this world, by what its text has."""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The charts' rules as files, with what they are tried by."""
    folder = tmp_path_factory.mktemp("rules")
    for group in generate.GROUPS:
        (folder / f"{group.name}.yaml").write_text(rules.text(group))
        for name, trial in rules.trials(group, f"{group.name}.yaml").items():
            (folder / name).write_text(trial)
    return folder


def promtool(binaries: Binaries, *arguments: str, cwd: Path) -> str:
    command = [str(binaries.path("promtool")), *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("group", generate.GROUPS, ids=lambda group: group.name)
def test_prometheus_takes_the_rules(group: Any, binaries: Binaries, written: Path):
    said = promtool(binaries, "check", "rules", "--lint=all", f"{group.name}.yaml", cwd=written)
    assert f"{len(group.alerts)} rules found" in said


@pytest.mark.parametrize("group", generate.GROUPS, ids=lambda group: group.name)
def test_every_alert_fires_and_does_not(group: Any, binaries: Binaries, written: Path):
    assert all(each.fires and each.rests for each in group.alerts)
    for trial in rules.trials(group, ""):
        promtool(binaries, "test", "rules", trial, cwd=written)


@pytest.mark.parametrize("group", generate.GROUPS, ids=lambda group: group.name)
def test_every_alert_has_its_runbook(group: Any):
    page = (generate.reference.ROOT / rules.RUNBOOKS).read_text()
    headings = {each.lower() for each in re.findall(r"^### (\w+)$", page, re.MULTILINE)}
    assert {each.anchor for each in group.alerts} <= headings
    assert all("`" in "".join(each.steps) for each in group.alerts), "no command"


async def test_every_panel_shows_something_of_the_running_controllers(
    kubeconfig: Path, binaries: Binaries, tmp_path: Path
):
    """Both controllers, a few claims and Workspaces, and Prometheus between them and the panels."""
    endpoint = config.kubeconfig(str(kubeconfig))
    async with Client(endpoint, field_manager="tests", kinds=KINDS) as client:
        world = World(client)
        await world.install()
        async with (
            both(kubeconfig, tmp_path) as jobs,
            prometheus(binaries, tmp_path, jobs) as scraping,
        ):
            try:
                # What happens before the first look is no increase; and few looks make no line.
                await scraped(scraping, 2)
                await live(world)
                await scraped(scraping, 20)
                answered = {
                    board.uid: await evaluated(board, scraping) for board in generate.BOARDS
                }
                (tmp_path / "panels.json").write_text(json.dumps(answered))
                await consistent(scraping)
            finally:
                await world.clean_up()


async def scraped(scraping: Prometheus, times: int) -> None:
    """Both controllers, with success."""
    looks = f"(count(up) == 2) and (min(sum_over_time(up[3m])) >= {times})"
    await eventually(lambda: scraping.now(looks))


async def live(world: World) -> None:
    """Things come, serve, are refused, and go."""
    await world.pool()
    await world.workspace("falcon")
    await world.workspace("llama")
    await world.volume("falcon")
    await world.claim("observed-idle", "kwok-a100-8")
    await world.claim("observed-brief", "kwok-cpu-4")
    await world.claim("observed-none", "kwok-h100-8")
    await world.gone("observed-none")
    await world.ready("observed-brief")
    await world.delete_claim("observed-brief")
    await world.serve("falcon")
    stages = await world.started("falcon")
    assert {"claim", "launch", "boot", "driver", "image", "weights", "load"} == set(stages)
    assert (stages["image"], stages["weights"], stages["load"]) == ("10", "20", "30")


async def evaluated(board: Board, scraping: Prometheus) -> dict[str, list[Any]]:
    """By a panel's number, what each of its queries answers: all of them do."""
    asked = [
        (str(number), query, panel.kind in grafana.AT_ONCE)
        for number, panel in enumerate(board.panels)
        for query in panel.queries
    ]
    answers = await asyncio.gather(
        *(_answer(query, scraping, at_once=now) for _, query, now in asked)
    )
    silent = [
        query.expr for (_, query, _), found in zip(asked, answers, strict=True) if found is None
    ]
    assert silent == []
    found: dict[str, list[Any]] = {}
    for (number, _, _), answer in zip(asked, answers, strict=True):
        found.setdefault(number, []).append(answer)
    return found


async def _answer(query: Query, scraping: Prometheus, *, at_once: bool) -> list[Any] | None:
    """None where there is none, and there should be."""
    expr = query.expr.replace("$__rate_interval", "15s").replace("$__range", "180s")
    expr = re.sub(r"\$(namespace|workspace)", ".*", expr)
    why = next((why for why, words in EMPTY.items() if any(w in query.expr for w in words)), "")

    async def ask() -> list[Any]:
        return await (scraping.now(expr) if at_once else scraping.over(expr, 180))

    if why:  # it may be empty; that it is well-formed Prometheus has said by answering
        return await ask()
    try:
        return list(await eventually(ask, seconds=20))
    except AssertionError:
        return None


async def consistent(scraping: Prometheus) -> None:
    """What is told is what was done."""

    async def value(query: str) -> float:
        (found,) = await scraping.now(query)
        return float(found["value"][1])

    assert await value("kaito_cold_start_seconds_count") == 1
    assert await value('kaito_cold_start_stage_seconds_sum{stage="load"}') == 30
    shown = 'kaito_workspace_cold_start_stage_seconds{workspace="falcon",stage="weights"}'
    assert await value(shown) == 20
    assert await value('kaito_workspace_count{phase="succeeded"}') == 1
    assert await value('kaito_workspace_pvc_allocated_bytes{workspace_name="falcon"}') == 40 << 30
    assert await value('kaito_nodeclaims_gpus{phase="idle",instance_type="kwok-a100-8"}') == 8
    assert await value('sum(kaito_nodeclaims{phase="busy"})') == 1
    refused = 'karpenter_nodeclaims_disrupted_total{reason="insufficient_capacity"}'
    assert await value(f"sum({refused})") >= 1
    assert await value("sum(leader_election_master_status)") == 2
    await named(scraping)


async def named(scraping: Prometheus) -> None:
    """A sample is of the namespace that it names, not of the controllers' own; and so an alert."""
    assert await scraping.now('{exported_namespace!=""}') == []
    (serving,) = (each for each in alerts_workspace.GROUP.alerts if "NotServing" in each.name)
    late = serving.expr.replace("> 3600", ">= 0").replace('status!="True"', 'status="True"')
    assert late != serving.expr
    (found,) = await scraping.now(late)
    told = found["metric"]
    assert (told["namespace"], told["name"]) == (TEAM, "falcon")
    (stage, *_) = await scraping.now("kaito_workspace_cold_start_stage_seconds")
    assert stage["metric"]["namespace"] == TEAM
    (own,) = await scraping.now("kaito_build_info")
    assert own["metric"]["namespace"] == "kaito-system"
