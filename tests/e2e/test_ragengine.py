"""Questions to documents: MiniLM and Gemma for real, on nodes of their own. A pod is killed, and
another is changed while clients search, put documents and chat.

The demo is run as a user runs it; the tests that follow look at what it has left.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from localcluster import demo_rag
from localcluster.cluster import Cluster, Settings
from localcluster.demo_rag import NAME, QUESTION, Service
from localcluster.stages import Tools
from tests.e2e.seen import condition, get, run_demo, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

QUESTIONS = {
    "Who opened the harbour of Vellmark?": "harbour.txt",
    "What colour is the light of the lighthouse?": "lighthouse.txt",
    "How many books are in the library?": "library.txt",
    "Where can I see bones of a whale?": "museum.txt",
}


@pytest.fixture(scope="module")
def demo(cluster: Cluster) -> str:
    return run_demo("up", "--rag")


@pytest.fixture(scope="module")
def kubectl(cluster: Cluster, demo: str) -> Callable[..., str]:
    return cluster.kubectl


@pytest.fixture(scope="module")
def service(kubectl: Callable[..., str]) -> Service:
    return Service(f"http://{get(kubectl, 'service', NAME)['spec']['clusterIP']}")


def test_a_question_is_answered_from_the_documents(demo: str) -> None:
    """Before the pod was killed, and after."""
    answers = [line for line in demo.splitlines() if "answer: " in line][-2:]
    assert len(answers) == 2
    assert all("twelve minutes" in line for line in answers), answers


def test_an_upgrade_fails_nobody_and_loses_nothing(demo: str) -> None:
    (line,) = [line for line in demo.splitlines() if " meanwhile, none failed" in line]
    told = {
        what: int(count) for count, what in re.findall(r"(\d+) ([a-z ]+?)(?:,| meanwhile)", line)
    }
    assert told.keys() == {
        *("searches", "searches on a kept connection", "documents put", "streamed answers")
    }
    assert min(told.values()) >= 2, line  # one before it, and one of the new pod
    assert told["searches"] > 10, line
    assert f"all {told['documents put']} documents that were put meanwhile are there" in demo


def test_it_stands_as_kubectl_shows_it(kubectl: Callable[..., str]) -> None:
    found = get(kubectl, "ragengine", NAME)
    for kind in ("NodeClaimReady", "ResourceReady", "ServiceReady", "RAGEngineSucceeded"):
        assert condition(found, kind)["status"] == "True", kind
    (claim,) = get(kubectl, "nodeclaims", "-l", f"kaito.sh/ragengine={NAME}")["items"]
    assert found["status"]["workerNodes"] == [claim["status"]["nodeName"]]
    assert kubectl("get", "rag").split()[:4] == [
        "NAME",
        "INSTANCE",
        "RESOURCEREADY",
        "SERVICEREADY",
    ]


def test_the_right_document_is_first(service: Service) -> None:
    for question, source in QUESTIONS.items():
        best = service.retrieve(question)[0]
        assert best["metadata"]["source"] == source, (question, best)
        assert 0 < best["score"] <= 1


def test_an_answer_says_what_it_was_given_and_what_it_cites(service: Service) -> None:
    """The model is small and need not cite; what it does cite is told by number."""
    (tram,) = [
        each
        for each in service.ask("/indexes/vellmark/documents?limit=100")["documents"]
        if each["metadata"]["source"] == "tram.txt"
    ]
    said = service.chat(QUESTION)
    first = said["source_nodes"][0]
    assert (first["number"], first["doc_id"], first["position"]) == (1, tram["doc_id"], 0)
    assert tram["text"][first["start"] : first["end"]] == first["text"]
    assert 0 < first["score"] <= 1
    text = said["choices"][0]["message"]["content"]
    assert [f"[{number}]" in text for number in said["citations"]] == [True] * len(
        said["citations"]
    )
    assert ("[1]" in text) == (1 in said["citations"]), text
    assert said["usage"]["completion_tokens"] > 0


def test_two_deletes_and_an_update_survive_a_killed_pod(
    service: Service, settings: Settings, cluster: Cluster, demo: str
) -> None:
    """What was acknowledged is there again, and nothing that was deleted."""
    page = service.ask("/indexes/vellmark/documents?limit=100")
    by_source = {each["metadata"]["source"]: each for each in page["documents"]}
    gone = [by_source[name]["doc_id"] for name in ("park.txt", "theatre.txt")]
    said = service.ask("/indexes/vellmark/documents/delete", {"doc_ids": gone})
    assert sorted(said["deleted_doc_ids"]) == sorted(gone)
    changed = {**by_source["market.txt"], "text": "The fish market is held on Wednesdays."}
    kept = ("doc_id", "text", "metadata")
    update = {"documents": [{key: changed[key] for key in kept}]}
    said = service.ask("/indexes/vellmark/documents", update)
    assert [each["doc_id"] for each in said["updated_documents"]] == [changed["doc_id"]]

    tools = Tools(settings.binaries, cluster.state.kubeconfig)
    demo_rag.kill(tools, _silent(), service)

    page = service.ask("/indexes/vellmark/documents?limit=100")
    left = {each["metadata"]["source"]: each["text"] for each in page["documents"]}
    assert page["total_items"] == len(left) == 10
    assert left.keys() == by_source.keys() - {"park.txt", "theatre.txt"}
    assert left["market.txt"] == changed["text"]


def test_a_bad_secret_is_told_and_takes_no_answer_away(
    kubectl: Callable[..., str], service: Service
) -> None:
    def change(secret: str | None) -> None:
        patch = {"spec": {"inferenceService": {"accessSecret": secret}}}
        kubectl("patch", "ragengine", NAME, "--type=merge", f"--patch={json.dumps(patch)}")

    change("nowhere")
    told: dict[str, Any] = until(lambda: _complaint(kubectl, "nowhere"), 60)
    assert "nowhere" in told["message"]
    assert service.retrieve(QUESTION)
    change(None)
    until(
        lambda: condition(get(kubectl, "ragengine", NAME), "ServiceReady")["status"] == "True", 120
    )


def test_down_takes_its_node_too(cluster: Cluster, kubectl: Callable[..., str]) -> None:
    said = run_demo("down")
    assert "RAGEngines: gone" in said
    assert "nothing is left" in said
    assert cluster.leftovers() == []


def _is_ready(kubectl: Callable[..., str]) -> bool:
    return condition(get(kubectl, "ragengine", NAME), "ServiceReady")["status"] == "True"


def _complaint(kubectl: Callable[..., str], word: str) -> dict[str, Any] | None:
    conditions = get(kubectl, "ragengine", NAME)["status"]["conditions"]
    return next((each for each in conditions if word in each.get("message", "")), None)


def _silent() -> Any:
    class Silent:
        def __call__(self, line: str) -> None:
            pass

        def wait(self, title: str, seconds: float, look: Callable[[], str | None]) -> str:
            return until(look, seconds) or ""

    return Silent()
