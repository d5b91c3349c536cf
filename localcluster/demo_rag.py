"""What `make demo RAG=1` adds: documents in, questions about them, a pod killed, a pod upgraded.

Everything goes through the RAGEngine's Service, as any client's requests would.
"""

from __future__ import annotations

import json
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localcluster import rag_traffic
from localcluster.rag_traffic import Traffic
from localcluster.stages import DemoError, Stages, Tools

REPOSITORY = Path(__file__).parents[1]
EXAMPLE = REPOSITORY / "examples/ragengine-minilm.yaml"
DOCUMENTS = REPOSITORY / "examples/vellmark.json"
NAME = "ragengine-minilm"
INDEX = "vellmark"
QUESTION = "How often does the tram of Vellmark run?"
_SERVING_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Service:
    """The RAGEngine, asked at its Service."""

    url: str

    def ask(
        self, path: str, body: object = None, *, method: str | None = None, seconds: float = 120.0
    ) -> Any:
        """The decoded answer. Raises OSError (urllib's errors are such) for everything else."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data, headers, method=method)  # noqa: S310
        with urllib.request.urlopen(request, timeout=seconds) as response:  # noqa: S310
            return json.load(response)

    def retrieve(self, query: str) -> list[dict[str, Any]]:
        return list(self.ask("/retrieve", search_body(query))["results"])

    def doc_ids(self, index: str) -> set[str]:
        """Of all documents of an index."""
        found: set[str] = set()
        while True:
            page = self.ask(f"/indexes/{index}/documents?limit=100&offset={len(found)}")
            found |= {each["doc_id"] for each in page["documents"]}
            if not page["documents"] or len(found) >= page["total_items"]:
                return found

    def chat(self, question: str) -> dict[str, Any]:
        return dict(self.ask("/v1/chat/completions", chat_body(question)))


def search_body(query: str) -> dict[str, Any]:
    return {"index_name": INDEX, "query": query, "max_node_count": 3}


def chat_body(question: str) -> dict[str, Any]:
    """As an OpenAI client sends it; `index_name` is what a RAGEngine knows beside it."""
    return {
        "index_name": INDEX,
        "messages": [{"role": "user", "content": question}],
        "temperature": 0,
        "max_tokens": 32,
        "stop": ["\n"],
    }


def show(tools: Tools, stages: Stages) -> None:
    """All of it, in the order in which a user would try it."""
    service = apply(tools, stages)
    said = service.ask("/index", json.loads(DOCUMENTS.read_text()))
    stages(f"indexed {len(said)} documents of {DOCUMENTS.relative_to(REPOSITORY)}")
    answer(service, stages)
    kill(tools, stages, service)
    answer(service, stages)
    upgrade(tools, stages, service)


def apply(tools: Tools, stages: Stages) -> Service:
    """The RAGEngine, until it answers."""
    tools.kubectl("apply", "-f", EXAMPLE)
    stages(f"kubectl apply -f {EXAMPLE.relative_to(REPOSITORY)}")

    def serving() -> str | None:
        found = tools.get("ragengine", NAME) or {}
        for each in (found.get("status") or {}).get("conditions") or []:
            if (each["type"], each["status"]) == ("ServiceReady", "True"):
                return "ServiceReady=True"
        return None

    try:
        stages.wait("retrieval served", _SERVING_SECONDS, serving)
    except DemoError:
        tools.show("describe", "ragengine", NAME)
        tools.show("get", "pods", "-o", "wide")
        tools.show("logs", f"deployment/{NAME}", "--tail=50")
        raise
    tools.show("get", "ragengines,nodeclaims")
    found = tools.get("service", NAME)
    if found is None:
        raise DemoError(f"Service {NAME} is not there")
    return Service(f"http://{found['spec']['clusterIP']}")


def answer(service: Service, stages: Stages) -> dict[str, Any]:
    """A question, the answer, and what it rests on."""
    body = json.dumps(chat_body(QUESTION))
    print(f"\n$ curl {service.url}/v1/chat/completions -d '{body}'", flush=True)
    said = service.chat(QUESTION)
    for node in said["source_nodes"][:3]:
        source, score = node["metadata"]["source"], node["score"]
        print(f"  [{node['number']}] {source} ({score:.3f}): {node['text'][:70]} …", flush=True)
    stages(f"answer: {said['choices'][0]['message']['content'].strip()}")
    return said


def kill(tools: Tools, stages: Stages, service: Service) -> None:
    """The pod's end without a warning; the index is there again with the next one."""
    before = _pods(tools)
    tools.kubectl("delete", "pod", *before, "--grace-period=0", "--force")
    stages(f"killed {', '.join(before)}")
    stages.wait(
        "in its place answers", _SERVING_SECONDS, lambda: _replacement(_pods(tools), before)
    )

    def found() -> str | None:
        try:
            return ", ".join(service.ask("/indexes", seconds=5))
        except OSError:
            return None  # the Service learns of the pod a moment after its readiness

    stages.wait("indexes that are there again", _SERVING_SECONDS, found)


def upgrade(tools: Tools, stages: Stages, service: Service) -> Traffic:
    """Another pod in the place of the first, while clients search, put and chat."""
    before = _pods(tools)
    with rag_traffic.running(service.url, search_body(QUESTION), chat_body(QUESTION)) as traffic:
        stages.wait("answered before", _SERVING_SECONDS, lambda: traffic.since({}))
        patch = {"spec": {"inferenceService": {"contextWindowSize": 1536}}}
        tools.kubectl("patch", "ragengine", NAME, "--type=merge", f"--patch={json.dumps(patch)}")
        stages("changed the RAGEngine while clients search, put documents and chat")
        stages.wait("pod replaced by", _SERVING_SECONDS, lambda: _replacement(_pods(tools), before))
        then = dict(traffic.answered)
        stages.wait("answered by the new one", _SERVING_SECONDS, lambda: traffic.since(then))
    if traffic.failed:
        raise DemoError(f"{len(traffic.failed)} requests failed, the first: {traffic.failed[0]}")
    stages(f"{traffic} meanwhile, none failed")
    if lost := set(traffic.acknowledged) - service.doc_ids(rag_traffic.INDEX):
        raise DemoError(f"{len(lost)} documents were acknowledged and are lost")
    service.ask(f"/indexes/{rag_traffic.INDEX}", method="DELETE")
    stages(f"all {len(traffic.acknowledged)} documents that were put meanwhile are there")
    return traffic


def _pods(tools: Tools) -> dict[str, bool]:
    """Names, and whether it is on its way out."""
    found = (tools.get("pods", "-l", f"kaito.sh/ragengine={NAME}") or {})["items"]
    return {
        each["metadata"]["name"]: "deletionTimestamp" in each["metadata"] or not _is_ready(each)
        for each in found
    }


def _replacement(now: dict[str, bool], before: dict[str, bool]) -> str | None:
    """The new pod, once it is ready and the old ones are gone."""
    if now.keys() & before.keys() or len(now) != 1:
        return None
    ((name, unready),) = now.items()
    return None if unready else name


def _is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod.get("status", {}).get("conditions") or []
    return any((each["type"], each["status"]) == ("Ready", "True") for each in conditions)
