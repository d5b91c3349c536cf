"""The main job, told stage by stage: from `kubectl apply` of a Workspace to an answer from a model.

Everything that a user would type is done by the program that a user would run: helm and
kubectl. What is shown of the objects is what kubectl prints.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localcluster import cluster, demo_rag, paths, requirements
from localcluster.binaries import Binaries
from localcluster.images import by_reference
from localcluster.recipes import REGISTRY, TAG
from localcluster.stages import DemoError, Stages, Tools

REPOSITORY = Path(__file__).parents[1]
TOKEN_SECRET = "local-machines"  # noqa: S105 - a name
PROMPT = "The three largest cities of Japan are"
_NODE_SECONDS = 180.0
_SERVING_SECONDS = 900.0
_GONE_SECONDS = 180.0


@dataclass(frozen=True, slots=True)
class Engine:
    """What one value of ENGINE means."""

    example: Path
    workspace: str
    image: str
    huggingface_folder: bool


ENGINES = {
    "llamacpp": Engine(
        REPOSITORY / "examples/workspace-gemma-3-270m.yaml",
        "workspace-gemma-3-270m",
        "kaito-serving-llamacpp",
        huggingface_folder=False,
    ),
    "chat": Engine(
        REPOSITORY / "examples/workspace-gemma-3-270m-chat.yaml",
        "workspace-gemma-3-270m-chat",
        "kaito-serving-llamacpp",
        huggingface_folder=False,
    ),
    "vllm": Engine(
        REPOSITORY / "examples/workspace-gemma-3-270m-vllm.yaml",
        "workspace-gemma-3-270m-vllm",
        "kaito-serving-vllm",
        huggingface_folder=True,
    ),
}


def up(engine: Engine, settings: cluster.Settings, *, rag: bool = False) -> None:
    """All stages, the last of which prints the model's answer; with `rag` then those of a
    RAGEngine that asks it. Safe to call twice."""
    stages = Stages()
    requirements.check()
    local = cluster.Cluster(settings, say=stages)
    images = ["kaito-controllers", engine.image, *(["kaito-rag"] if rag else [])]
    archives = by_reference(local.build(images, TAG))
    local.models(huggingface=engine.huggingface_folder, embedder=rag)
    local.up(archives)
    tools = Tools(settings.binaries, local.state.kubeconfig)
    install(tools, stages, local, archives[f"{REGISTRY}/kaito-controllers:{TAG}"][0])
    apply(tools, stages, engine)
    answer(tools, stages, engine)
    if rag:
        demo_rag.show(tools, stages)


def install(
    tools: Tools,
    stages: Stages,
    local: cluster.Cluster,
    build: str,
    values: Mapping[str, str] | None = None,
) -> None:
    """Both charts, and the CRDs they share, by helm. A changed build rolls the pods. `values` are
    the workspace chart's."""
    common = {"cloudProviderName": "local", "podAnnotations.build": f"b{build}"}
    helm_install(tools, "karpenter-crds", "kube-system", {})
    tools.kubectl("apply", "-f", "-", stdin=json.dumps(token_secret(local)))
    helm_install(
        tools,
        "gpu-provisioner",
        "gpu-provisioner",
        {
            **common,
            "localMachines.url": local.machines_url,
            "localMachines.tokenSecret.name": TOKEN_SECRET,
        },
    )
    helm_install(tools, "workspace", "kaito-workspace", {**common, **(values or {})})
    stages("helm installed charts/karpenter-crds, charts/gpu-provisioner and charts/workspace")
    controllers = (("gpu-provisioner", "gpu-provisioner"), ("workspace", "kaito-workspace"))
    for name, namespace in controllers:
        words = ("rollout", "status", f"deployment/{name}", "--timeout=120s")
        tools.kubectl("--namespace", namespace, *words)
    stages("both controllers run as pods and are ready")


def helm_install(tools: Tools, chart: str, namespace: str, values: dict[str, str]) -> None:
    flags = [word for key, value in values.items() for word in ("--set", f"{key}={value}")]
    where = ("--namespace", namespace, "--create-namespace")
    tools.helm("upgrade", "--install", chart, REPOSITORY / "charts" / chart, *where, *flags)


def token_secret(local: cluster.Cluster) -> dict[str, Any]:
    """The bearer token of the machines API, where the chart looks for it."""
    return {
        "apiVersion": "v1",
        "kind": "List",
        "items": [
            {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": "gpu-provisioner"},
            },
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": TOKEN_SECRET, "namespace": "gpu-provisioner"},
                "stringData": {"token": local.state.machines_token.read_text().strip()},
            },
        ],
    }


def apply(tools: Tools, stages: Stages, engine: Engine) -> None:
    """The Workspace, and what becomes of it."""
    example = engine.example.relative_to(REPOSITORY)
    tools.kubectl("apply", "-f", engine.example)
    stages(f"kubectl apply -f {example}")
    selector = f"kaito.sh/workspace={engine.workspace}"

    def claim() -> dict[str, Any] | None:
        items = (tools.get("nodeclaims", "-l", selector) or {}).get("items") or []
        return items[0] if items else None

    def condition(kind: str) -> Callable[[], str | None]:
        return lambda: _true(claim(), kind)

    stages.wait("NodeClaim", 60, lambda: (claim() or {}).get("metadata", {}).get("name"))
    stages.wait("node launched", _NODE_SECONDS, condition("Launched"))
    stages.wait("node registered", _NODE_SECONDS, condition("Registered"))
    stages.wait("node initialized", _NODE_SECONDS, condition("Initialized"))

    def serving() -> str | None:
        return _true(tools.get("workspace", engine.workspace), "InferenceReady")

    try:
        stages.wait("model served", _SERVING_SECONDS, serving)
    except DemoError:
        tools.show("describe", "workspace", engine.workspace)
        tools.show("get", "pods", "-o", "wide")
        raise
    tools.show("get", "workspace")
    tools.show("get", "nodeclaim")
    tools.show("get", "pods,services", "-o", "wide")


def answer(tools: Tools, stages: Stages, engine: Engine) -> None:
    """One request to the Service, as any OpenAI client would send it."""
    service = tools.get("service", engine.workspace)
    if service is None:
        raise DemoError(f"Service {engine.workspace} is not there")
    url = f"http://{service['spec']['clusterIP']}/v1/completions"
    body = {"model": "gemma-3-270m", "prompt": PROMPT, "max_tokens": 24, "temperature": 0}
    print(f"$ curl {url} -H 'Content-Type: application/json' -d '{json.dumps(body)}'", flush=True)
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=120) as response:  # noqa: S310
            said = json.load(response)
    except urllib.error.URLError as error:
        raise DemoError(f"{url}: {error}") from error
    print(json.dumps(said, indent=2), flush=True)
    stages(f"answer: {PROMPT}{said['choices'][0]['text']!s}")


def down(settings: cluster.Settings) -> None:
    """Delete the Workspaces, see that their nodes and claims go, take the cluster down."""
    stages = Stages()
    local = cluster.Cluster(settings, say=stages)
    if local.running:
        tools = Tools(settings.binaries, local.state.kubeconfig)
        tools.show("delete", "ragengines,workspaces", "--all", "--wait=false")

        def gone(kind: str) -> Callable[[], str | None]:
            def look() -> str | None:
                left = (tools.get(kind) or {}).get("items") or []
                return None if left else "gone"

            return look

        stages.wait("RAGEngines", _GONE_SECONDS, gone("ragengines.kaito.sh"))
        stages.wait("Workspaces", _GONE_SECONDS, gone("workspaces.kaito.sh"))
        stages.wait("NodeClaims", _GONE_SECONDS, gone("nodeclaims"))
        tools.show("get", "nodes")
    local.down()
    left = local.leftovers()
    if left:
        raise DemoError("left behind: " + ", ".join(left))
    stages("nothing is left: no process, mount, namespace, interface, route or cgroup")


def _true(manifest: dict[str, Any] | None, kind: str) -> str | None:
    """A line for a condition that holds, None while it does not."""
    conditions = ((manifest or {}).get("status") or {}).get("conditions") or []
    for condition in conditions:
        if condition["type"] == kind and condition["status"] == "True":
            return f"{kind}=True"
    return None


def main() -> int:
    parser = argparse.ArgumentParser(prog="localcluster.demo", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    starting = commands.add_parser("up", help="the main job, end to end")
    starting.add_argument("--engine", choices=sorted(ENGINES), default="llamacpp")
    starting.add_argument("--rag", action="store_true", help="and a RAGEngine that asks the model")
    commands.add_parser("down", help="delete the Workspace, take the cluster down")
    arguments = parser.parse_args()
    cache = paths.cache_directory(os.environ)
    settings = cluster.Settings(cache, Binaries(cache, paths.assets_directory(os.environ)))
    try:
        if arguments.command == "up":
            engine = "chat" if arguments.rag else arguments.engine
            up(ENGINES[engine], settings, rag=arguments.rag)
        else:
            down(settings)
    except (DemoError, *cluster.FAILURES) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
