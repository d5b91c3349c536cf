"""From KAITO's command line and file to vLLM's."""

from __future__ import annotations

import json
import logging
import logging.config
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from serving.vllm import arguments, cluster, files, health, records
from serving.vllm.arguments import Adapter, Launch, Machine, UsageError

from apis import reports

FRONT = "serving.front.server.Front"
CPU = Machine(gpu=False, cpus=2, memory_gib=6.0)
GPU = Machine(gpu=True, cpus=16, memory_gib=100.0)


def launched(
    *words: str,
    settings: Mapping[str, Any] | None = None,
    adapters: Sequence[Adapter] = (),
    machine: Machine = GPU,
) -> Launch:
    ours, rest = arguments.own(words)
    return arguments.launch(
        ours,
        rest,
        python="python",
        settings=settings or {},
        adapters=adapters,
        machine=machine,
    )


def flags(launch: Launch) -> dict[str, str]:
    """As vLLM sees them: the last of two equal ones."""
    return dict(arguments.Given.of(launch.argv[3:]).values)


def middlewares(launch: Launch) -> list[str]:
    """The last is the first that a request meets."""
    named = [word.partition("=") for word in launch.argv]
    return [value for name, _, value in named if name == "--middleware"]


def test_the_server_is_started_as_a_module() -> None:
    assert launched().argv[:3] == ["python", "-m", "vllm.entrypoints.openai.api_server"]


def test_a_rank_without_a_server_is_started_by_vllms_command() -> None:
    """The server's module takes --headless, and serves all the same."""
    found = launched("--headless", "--node-rank=1")
    assert found.argv[:4] == ["python", "-m", "vllm.entrypoints.cli.main", "serve"]
    assert "--headless" in found.argv


def test_defaults_are_the_paths_of_the_contract() -> None:
    found = flags(launched())
    assert (found["model"], found["port"]) == ("/workspace/weights", "5000")


def test_what_is_given_passes_unchanged_and_last() -> None:
    words = ["--model=meta/x", "--port", "7000", "--trust-remote-code", "--dtype=bfloat16"]
    found = launched(*words)
    assert found.argv[-len(words) :] == words
    assert flags(found)["port"] == "7000"
    assert "/workspace/weights" not in " ".join(found.argv)


def test_the_config_file_wins() -> None:
    found = launched("--max-model-len=auto", settings={"vllm": {"max-model-len": 2048}})
    assert flags(found)["max-model-len"] == "2048"


def test_our_flags_do_not_reach_vllm() -> None:
    found = launched(
        "--kaito-adapters-dir=/a",
        "--kaito-config-file=/c",
        "--kaito-max-probe-steps=6",
        "--kaito-kv-cache-cpu-memory-utilization=0",
        "--kaito-disable-rate-limit",
    )
    assert not [word for word in found.argv if "kaito" in word]


@pytest.mark.parametrize(
    "words", [["--kaito-adapter-dir=/a"], ["--kaito-kv-cache-cpu-memory-utilization=2"]]
)
def test_wrong_flags_of_ours_are_refused(words: list[str]) -> None:
    with pytest.raises(UsageError, match="kaito-"):
        launched(*words)


# --- the device ---------------------------------------------------------------------------------


def test_a_cpu_runs_float32_and_compiles_nothing() -> None:
    found = launched(machine=CPU)
    assert flags(found)["dtype"] == "float32"
    assert "--enforce-eager" in found.argv
    assert found.environment["VLLM_CPU_KVCACHE_SPACE"] == "1"
    assert found.environment["OMP_NUM_THREADS"] == "2"


def test_a_cpu_does_as_it_is_told() -> None:
    found = launched("--dtype=bfloat16", "--no-enforce-eager", machine=CPU)
    assert flags(found)["dtype"] == "bfloat16"
    assert "--enforce-eager" not in found.argv


def test_a_gpu_is_left_to_vllm() -> None:
    found = launched()
    assert "dtype" not in flags(found)
    assert found.environment == {}


# --- adapters -----------------------------------------------------------------------------------


def test_adapters_can_be_named_as_models() -> None:
    adapters = [Adapter("a", "/mnt/adapter/a", 8), Adapter("b", "/mnt/adapter/b", 24)]
    found = launched("--enable-lora", adapters=adapters)
    at = found.argv.index("--lora-modules")
    assert found.argv[at + 1 : at + 3] == ["a=/mnt/adapter/a", "b=/mnt/adapter/b"]
    assert found.argv[at + 3].startswith("--")
    assert (flags(found)["max-lora-rank"], flags(found)["max-loras"]) == ("32", "2")
    assert found.argv.count("--enable-lora") == 1


def test_the_users_own_modules_stand_alone() -> None:
    adapters = [Adapter("a", "/mnt/adapter/a", 8)]
    found = launched("--lora-modules", "mine=/x", adapters=adapters)
    assert "a=/mnt/adapter/a" not in found.argv


def test_without_adapters_there_is_no_lora() -> None:
    assert "--enable-lora" not in launched().argv


def test_adapters_may_come_where_there_is_none_yet() -> None:
    found = launched("--enable-lora", "--kaito-runtime-adapters", "--kaito-adapters-dir=/a")
    given = flags(found)
    assert middlewares(found) == ["serving.adapters.agent.Agent", FRONT]
    assert (given["max-lora-rank"], given["max-loras"], given["max-cpu-loras"]) == ("32", "2", "10")
    assert "--lora-modules" not in found.argv
    assert found.environment["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "True"
    assert found.environment["KAITO_ADAPTERS_DIR"] == "/a"


def test_more_may_come_to_those_that_are_there() -> None:
    adapters = [Adapter(name, f"/mnt/adapter/{name}", 64) for name in "abc"]
    given = flags(launched("--kaito-runtime-adapters", adapters=adapters))
    assert (given["max-lora-rank"], given["max-loras"], given["max-cpu-loras"]) == ("64", "3", "10")


def test_the_room_is_the_users_to_choose() -> None:
    options = {"vllm": {"max-lora-rank": 128, "max_loras": 4}}
    found = launched("--kaito-runtime-adapters", "--api-key=key", settings=options)
    given = flags(found)
    assert (given["max-lora-rank"], given["max-loras"]) == ("128", "4")
    assert "max-cpu-loras" not in given
    assert found.environment["VLLM_API_KEY"] == "key"


def test_who_wants_no_lora_gets_none() -> None:
    words = ["--enable-lora", "--kaito-runtime-adapters"]
    found = launched(*words, settings={"vllm": {"enable-lora": False}})
    assert middlewares(found) == [FRONT]
    assert found.environment == {}


def test_without_the_word_the_routes_stay_closed() -> None:
    found = launched("--enable-lora", adapters=[Adapter("a", "/mnt/adapter/a", 8)])
    assert middlewares(found) == [FRONT]
    assert found.environment == {}


def test_an_adapter_too_large_for_vllm_is_refused() -> None:
    with pytest.raises(UsageError, match="rank 1024"):
        launched(adapters=[Adapter("a", "/a", 1024)])


def test_adapters_are_read_as_peft_saves_them(tmp_path: Path) -> None:
    for name, config in (("b", {"r": 64}), ("a", {})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "adapter_config.json").write_text(json.dumps(config))
    found = [(each.name, each.rank) for each in files.adapters(tmp_path)]
    assert found == [("a", 8), ("b", 64)]
    assert files.adapters(tmp_path / "none") == []


@pytest.mark.parametrize("text", [None, "{", "[]", '{"r": "x"}'])
def test_what_is_no_adapter_is_refused_by_name(tmp_path: Path, text: str | None) -> None:
    (tmp_path / "mine").mkdir()
    if text is not None:
        (tmp_path / "mine" / "adapter_config.json").write_text(text)
    with pytest.raises(UsageError, match="the adapter mine has no"):
        files.adapters(tmp_path)


# --- admission, offload, templates --------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "bound"),
    [
        pytest.param([], "2048", id="unknown"),
        pytest.param(["--max-num-seqs=16"], "32", id="twice-what-is-worked-on"),
        pytest.param(["--max-num-seqs=16", "--data-parallel-size=4"], "128", id="of-all-ranks"),
        pytest.param(["--max_num_seqs", "8"], "16", id="underscores"),
        pytest.param(["--max-num-queued-reqs=7"], "7", id="the-users-own"),
        pytest.param(["--kaito-disable-rate-limit"], None, id="off"),
    ],
)
def test_the_queue_has_a_bound(words: list[str], bound: str | None) -> None:
    assert flags(launched(*words)).get("max-num-queued-reqs") == bound


@pytest.mark.parametrize(
    ("words", "told"),
    [
        pytest.param([], None, id="what-the-engine-says"),
        pytest.param(["--max-num-seqs=16"], None, id="what-the-engine-was-told"),
        pytest.param(["--max-num-queued-reqs=9"], "4", id="half-of-the-users-own"),
        pytest.param(["--max-num-queued-reqs=1"], "1", id="one-at-least"),
        pytest.param(["--kaito-disable-rate-limit"], "off", id="off"),
    ],
)
def test_the_front_refuses_before_the_engine_does(words: list[str], told: str | None) -> None:
    assert launched(*words).environment.get("KAITO_RATE_LIMIT") == told


def test_a_key_on_the_command_line_is_remarked_on() -> None:
    (note,) = launched("--api-key=sk-secret").notes
    assert "/var/run/kaito/api-keys" in note
    assert "sk-secret" not in note


# --- how far the start has come -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "function", "stage"),
    [
        ("vllm.v1.worker.gpu_model_runner", "load_model", "load"),
        ("vllm.model_executor.model_loader.default_loader", "load_weights", "load"),
        ("vllm.compilation.monitor", "start_monitoring_torch_compile", "compile"),
        ("vllm.v1.core.kv_cache_utils", "_report_kv_cache_config", "warm"),
        ("vllm.v1.worker.gpu_model_runner", "profile_run", ""),
        ("vllm.entrypoints.launchers.launcher", "serve_http", ""),
        ("uvicorn.error", "startup", ""),
    ],
)
def test_a_stage_is_told_by_where_a_record_comes_from(
    module: str, function: str, stage: str
) -> None:
    assert records.stage_of(module, function) == stage


def record(module: str, function: str) -> logging.LogRecord:
    return logging.LogRecord(module, logging.INFO, "", 1, "words", (), None, function)


def test_a_stage_is_told_once_and_never_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KAITO_STAGES_FILE", str(tmp_path / "stages"))
    reader = records.Reader()
    for module in ("model_executor.model_loader.a", "v1.core.kv_cache_utils", "compilation.a", "x"):
        for _ in range(2):
            assert reader.filter(record(f"vllm.{module}", "run"))
    said = [reports.parse(reports.Stage, line) for line in capsys.readouterr().out.splitlines()]
    assert [each.stage for each in said if each] == ["load", "warm"]


def test_the_logging_config_names_no_class_of_vllms(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A release may move them; the server must start all the same."""
    found = records.environment(tmp_path, {})
    text = Path(found["VLLM_LOGGING_CONFIG_PATH"]).read_text()
    assert '"vllm.' not in text
    names = ("vllm", "uvicorn")
    before = {name: logging.getLogger(name).handlers[:] for name in names}
    try:
        logging.config.dictConfig(json.loads(text))
        logging.getLogger("vllm.somewhere").info("told %s", "plainly")
    finally:
        for name in names:
            logging.getLogger(name).handlers[:] = before[name]
            logging.getLogger(name).propagate = True
    assert "told plainly" in capfd.readouterr().out


@pytest.mark.parametrize("name", ["VLLM_LOGGING_CONFIG_PATH", "VLLM_CONFIGURE_LOGGING"])
def test_the_users_own_logging_stays(tmp_path: Path, name: str) -> None:
    assert records.environment(tmp_path, {name: "x"}) == {}


@pytest.mark.parametrize(
    ("words", "settings", "gib"),
    [
        pytest.param([], {}, None, id="not-asked-for"),
        pytest.param(["--kaito-kv-cache-cpu-memory-utilization=0.25"], {}, "25", id="flag"),
        pytest.param([], {"kv_cache_cpu_memory_utilization": 0.5}, "50", id="file"),
        pytest.param(
            ["--kaito-kv-cache-cpu-memory-utilization=0"],
            {"kv_cache_cpu_memory_utilization": 0.5},
            None,
            id="flag-wins",
        ),
        pytest.param(
            ["--kaito-kv-cache-cpu-memory-utilization=0.5", "--kv-transfer-config={}"],
            {},
            None,
            id="users-connector",
        ),
    ],
)
def test_offload_is_asked_for(words: list[str], settings: dict[str, Any], gib: str | None) -> None:
    assert flags(launched(*words, settings=settings)).get("kv-offloading-size") == gib


def test_a_cpu_offloads_nothing() -> None:
    found = launched("--kaito-kv-cache-cpu-memory-utilization=0.5", machine=CPU)
    assert "kv-offloading-size" not in flags(found)


def test_a_template_that_is_not_there_is_left_out_and_told() -> None:
    machine = Machine(gpu=True, exists=lambda path: path == "/t/there.jinja")
    missing = launched("--chat-template=/t/missing.jinja", machine=machine)
    assert "chat-template" not in flags(missing)
    assert "/t/missing.jinja" in missing.notes[0]
    there = launched("--chat-template=/t/there.jinja", machine=machine)
    assert flags(there)["chat-template"] == "/t/there.jinja"
    assert there.notes == ()


# --- several nodes ------------------------------------------------------------------------------


def test_the_leader_waits_for_all_nodes() -> None:
    found = cluster.parse(["leader", "--ray_cluster_size=3", "--ray_port=6379"])
    assert (found.size, found.leader) == (3, "")
    assert cluster.start_argv(found)[:4] == ["ray", "start", "--head", "--port=6379"]


def test_a_worker_joins_the_leader_and_stays() -> None:
    found = cluster.parse(["worker", "--ray_address=ws-0.ws-headless", "--ray_port=7000"])
    argv = cluster.start_argv(found)
    assert "--address=ws-0.ws-headless:7000" in argv
    assert "--block" in argv


@pytest.mark.parametrize(
    ("index", "status", "code"),
    [
        pytest.param("0", 200, 0, id="leader-well"),
        pytest.param("0", 503, 1, id="engine-dead"),
        pytest.param("0", 0, 1, id="no-answer"),
        pytest.param("1", 0, 0, id="worker-never-serves"),
    ],
)
@pytest.mark.parametrize("question", ["readiness", "liveness"])
def test_only_the_leader_is_asked(question: str, index: str, status: int, code: int) -> None:
    asked: list[str] = []

    def answer(url: str) -> int:
        asked.append(url)
        return status

    words = [question, "--leader-address=ws-0", "--vllm-port=5001"]
    assert health.verdict(words, {"POD_INDEX": index}, answer) == code
    assert asked in ([], ["http://127.0.0.1:5001/health"])
