"""Many clients at once: streams that run side by side, clients that hang up, adapters that come
and go, a queue that is full, and an end that lets everybody finish."""

from __future__ import annotations

import itertools
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from serving.adapters.loader import RefusedError
from serving.adapters.loader import Server as Pod

from tests.engines.transformers.black_box import START_SECONDS, TOKEN, Server, Start, Tiny

pytestmark = pytest.mark.timeout(300)
LONG = {"model": "tiny", "prompt": "the quick", "max_tokens": 400, "ignore_eos": True}


def idle(server: Server) -> bool:
    names = ("kaito_num_requests_running", "kaito_num_requests_waiting")
    return not any(server.metric(name) for name in names)


def test_eight_streams_run_side_by_side(server: Server) -> None:
    came: list[tuple[int, bool]] = []
    lock = threading.Lock()

    def follow(number: int) -> None:
        for chunk in server.chunks("/v1/completions", {**LONG, "max_tokens": 60}):
            with lock:
                came.append((number, chunk["choices"][0]["finish_reason"] is not None))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(follow, range(8)))
    first_end = next(index for index, (_, ended) in enumerate(came) if ended)
    assert {number for number, _ in came[:first_end]} == {*range(8)}
    numbers = [number for number, _ in came]
    changes = sum(one != other for one, other in itertools.pairwise(numbers))
    assert changes > 100


def test_who_hangs_up_frees_the_place(server: Server) -> None:
    """In the midst of a stream, and while all of it is awaited."""
    before = server.metric("kaito_generation_tokens_total")
    stream = server.chunks("/v1/completions", {**LONG, "n": 8})
    next(stream)
    server.wait(lambda: server.metric("kaito_num_requests_running") == 8)
    whole = server.open("/v1/completions", {**LONG, "n": 8})
    server.wait(lambda: server.metric("kaito_num_requests_waiting") == 8)
    whole.close()
    server.wait(lambda: server.metric("kaito_num_requests_waiting") == 0)
    stream.close()
    server.wait(lambda: idle(server))
    assert server.metric("kaito_generation_tokens_total") - before < 8 * 400


def test_a_full_queue_refuses_and_says_when_to_come_again(server: Server) -> None:
    """Eight places, and eight more may wait."""
    streams = [server.chunks("/v1/completions", LONG) for _ in range(16)]
    with ThreadPoolExecutor(16) as pool:
        firsts = [pool.submit(next, stream) for stream in streams]
        server.wait(lambda: server.metric("kaito_num_requests_waiting") == 8)
        status, answer = server.ask("/v1/completions", LONG)
        assert status == 429
        assert answer["error"]["code"] == "rate_limit_exceeded"
        for first in firsts:
            first.result()
    for stream in streams:
        stream.close()
    server.wait(lambda: idle(server))
    assert server.complete("the")["choices"]


def test_adapters_come_change_and_go_while_others_are_served(server: Server, tiny: Tiny) -> None:
    pod = Pod(f"http://127.0.0.1:{server.port}", TOKEN)
    prompt = tiny.expected["late"][0]["prompt"]

    def said(model: str) -> str:
        return str(server.complete(prompt, model, ignore_eos=True)["choices"][0]["text"])

    beside = server.chunks("/v1/completions", {**LONG, "model": "warm"})
    next(beside)
    pod.put("late", tiny.folder / "late")
    assert said("late") == tiny.expected["late"][0]["text"]
    pod.put("late", tiny.folder / "cold")
    assert said("late") == tiny.expected["cold"][0]["text"]
    pod.delete("late")
    assert server.ask("/v1/completions", {"model": "late", "prompt": "a"})[0] == 404
    assert said("warm") == tiny.expected["warm"][0]["text"]
    assert said("tiny") == tiny.expected["tiny"][0]["text"]
    *_, last = beside
    assert last["choices"][0]["finish_reason"] == "length"


def test_an_adapter_that_goes_is_there_until_its_answers_end(server: Server, tiny: Tiny) -> None:
    pod = Pod(f"http://127.0.0.1:{server.port}", TOKEN)
    pod.put("late", tiny.folder / "late")
    rules = {**LONG, "model": "late", "max_tokens": 200, "temperature": 0}
    whole = server.complete("the quick", "late", max_tokens=200, ignore_eos=True)
    stream = server.chunks("/v1/completions", rules)
    begun = next(stream)["choices"][0]["text"]
    pod.delete("late")
    rest = "".join(chunk["choices"][0]["text"] for chunk in stream)
    assert begun + rest == whole["choices"][0]["text"]


def test_an_adapter_of_another_model_is_refused(server: Server, tiny: Tiny, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    config = (tiny.folder / "warm/adapter_config.json").read_text()
    (folder / "adapter_config.json").write_text(config.replace('"r": 8', '"r": 4'))
    weights = (tiny.folder / "warm/adapter_model.safetensors").read_bytes()
    (folder / "adapter_model.safetensors").write_bytes(weights)
    with pytest.raises(RefusedError, match="the adapter other cannot be loaded"):
        Pod(f"http://127.0.0.1:{server.port}", TOKEN).put("other", folder)
    assert (
        server.complete(tiny.expected["warm"][0]["prompt"], "warm", ignore_eos=True)["choices"][0][
            "text"
        ]
        == tiny.expected["warm"][0]["text"]
    )
    assert server.ask("/v1/load_lora_adapter", {"lora_name": "x", "lora_path": "/"})[0] == 403


def test_it_says_how_it_starts_reads_its_file_and_ends_in_order(
    start: Start, tiny: Tiny, tmp_path: Path
) -> None:
    config = tmp_path / "inference_config.yaml"
    config.write_text("transformers:\n  max-model-len: 300\n  max_num_seqs: 2\n")
    server = start(tiny.folder / "model", "--max-model-len=200", f"--kaito-config-file={config}")
    server.wait(lambda: _answers(server))
    assert server.ask("/health")[0] == 503
    status, answer = server.ask("/v1/completions", LONG)
    assert (status, answer["error"]["code"]) == (503, "loading")
    assert server.metric("kaito_num_requests_running") == 0
    server.wait(server.healthy, START_SECONDS)
    assert "requests may have 300 tokens" in server.log
    server.wait(lambda: 'KAITO_STAGE {"stage": "ready"' in server.log)
    assert server.metric("kaito_startup_stage_seconds") > 0
    stream = server.chunks("/v1/completions", {**LONG, "max_tokens": 250})
    next(stream)
    server.process.send_signal(signal.SIGTERM)
    server.wait(lambda: server.ask("/health")[0] == 503)
    assert server.ask("/v1/completions", LONG)[0] == 503
    *_, last = stream
    assert last["choices"][0]["finish_reason"] == "length"
    assert server.process.wait(20) == 0


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        pytest.param(["--load_in_5bit=true"], 2, "did you mean --load_in_", id="unknown option"),
        pytest.param(["--max-model-len=9999"], 66, "more than the 512 tokens", id="context"),
        pytest.param(["--pretrained_model_name_or_path=/none"], 66, "cannot load", id="no model"),
        pytest.param(["--torch_dtype=int99"], 66, "neither auto nor a data type", id="dtype"),
    ],
)
def test_what_it_cannot_start_with_ends_it_with_a_sentence(
    start: Start, tiny: Tiny, flags: list[str], code: int, words: str
) -> None:
    server = start(tiny.folder / "model", *flags)
    assert server.process.wait(START_SECONDS) == code
    assert words in server.log
    assert "Traceback" not in server.log


def _answers(server: Server) -> bool:
    try:
        return bool(server.ask("/health")[0])
    except OSError:
        time.sleep(0.02)
        return False
