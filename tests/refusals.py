"""What the CRD alone refuses, rule by rule: the API server and `kaito validate` say the same.

Each Workspace here is wrong in one thing. `old` is what is stored before an update.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from apis.gpu import GPU
from apis.kaito import messages as m
from apis.kaito.validation import Facts
from kube.meta import Manifest

FACTS = Facts(
    node_provisioner="byo",
    feature_gates={"enableMIG": True, "enableAccelerator": True},
    preset_known=lambda name: name.startswith("phi-"),
    instance_type=lambda _: GPU(1, "A100", 80),
)
"""Of an installation that has nothing to object to: what is left are the CRD's rules."""

_ABSENT = object()


@dataclass(frozen=True)
class Refusal:
    """A rule of docs/workspace/validation.md, an object that breaks it, and what is said."""

    rule: str
    what: str
    new: Manifest
    field: str
    message: str
    old: Manifest | None = None

    @property
    def id(self) -> str:
        return f"{self.rule} {self.what}".strip()


def changed(manifest: Manifest, fields: Mapping[str, Any]) -> Manifest:
    """A copy with the fields at these paths set, or taken away where they are _ABSENT."""
    result = deepcopy(manifest)
    for path, value in fields.items():
        *above, last = path.split(".")
        parent = result
        for name in above:
            parent = parent.setdefault(name, {})
        if value is _ABSENT:
            parent.pop(last, None)
        else:
            parent[last] = value
    return result


SERVED: Manifest = {
    "apiVersion": "kaito.sh/v1beta1",
    "kind": "Workspace",
    "metadata": {"name": "ws", "namespace": "default"},
    "resource": {"count": 1, "labelSelector": {"matchLabels": {"apps": "phi"}}},
    "inference": {"preset": {"name": "phi-4"}},
}
TUNED: Manifest = {
    **{key: SERVED[key] for key in ("apiVersion", "kind", "metadata", "resource")},
    "tuning": {
        "preset": {"name": "phi-4"},
        "method": "qlora",
        "input": {"name": "data", "urls": ["https://example.com/data.parquet"]},
        "output": {"image": "registry.example.com/out:1", "imagePushSecret": "push"},
    },
}


def served(**fields: Any) -> Manifest:
    return changed(SERVED, {path.replace("__", "."): value for path, value in fields.items()})


def tuned(**fields: Any) -> Manifest:
    return changed(TUNED, {path.replace("__", "."): value for path, value in fields.items()})


def adapter(strength: str | None = None, **source: Any) -> Manifest:
    given = {"name": "a", "image": "registry.example.com/a:1", **source}
    kept = {"source": {key: value for key, value in given.items() if value is not None}}
    return kept if strength is None else {**kept, "strength": strength}


def adapted(*adapters: Manifest) -> Manifest:
    annotated = {"metadata__annotations": {"kaito.sh/runtime": "transformers"}}
    return served(inference__adapters=list(adapters), **annotated)


def partitioned(**partition: Any) -> Manifest:
    return served(resource__partition=partition)


def selecting(*expressions: tuple[str, str, list[str]], **labels: str) -> Manifest:
    wanted = [{"key": key, "operator": op, "values": values} for key, op, values in expressions]
    return served(resource__labelSelector={"matchExpressions": wanted, "matchLabels": labels or {}})


_ADAPTERS = "inference.adapters"
_FIRST = f"{_ADAPTERS}[0]"
_SELECTOR = "resource.labelSelector"
_PARTITION = "resource.partition"
_MIG = {"mode": "mig", "profile": "1g.10gb"}
_HALF = {"mode": "accelerator", "count": 2}
_TEMPLATE = {"spec": {"containers": [{"name": "a", "image": "registry.example.com/a:1"}]}}
_CPU = {"volumeSource": {"emptyDir": {}}}

CREATED: tuple[Refusal, ...] = (
    Refusal("W-C1", "dot", served(metadata__name="ws.1"), "metadata.name", m.NAME),
    Refusal("W-C1", "long", served(metadata__name="a" * 64), "metadata.name", m.NAME),
    Refusal("W-C2", "neither", served(inference=_ABSENT), "inference", m.ONE_WORKLOAD),
    Refusal("W-C2", "both", tuned(inference=SERVED["inference"]), "inference", m.ONE_WORKLOAD),
    Refusal(
        "W-C9",
        "Exists",
        selecting(("a", "Exists", []), apps="phi"),
        f"{_SELECTOR}.matchExpressions[0]",
        m.SELECTOR_PLAIN,
    ),
    Refusal(
        "W-C9",
        "two values",
        selecting(("a", "In", ["b"]), ("c", "In", ["d", "e"])),
        f"{_SELECTOR}.matchExpressions[1]",
        m.SELECTOR_PLAIN,
    ),
    Refusal(
        "W-C10",
        "all reserved",
        selecting(("kaito.sh/workspacenamespace", "In", ["a"]), **{"kaito.sh/workspace": "other"}),
        _SELECTOR,
        m.SELECTOR_RESERVED,
    ),
    Refusal("W-C12", "count", partitioned(**_MIG, count=1), f"{_PARTITION}.count", m.MIG_COUNT),
    Refusal(
        "W-C12",
        "suffix",
        partitioned(mode="mig", profile="1g.10gb+me"),
        f"{_PARTITION}.profile",
        m.MIG_PROFILE,
    ),
    Refusal("W-C12", "no profile", partitioned(mode="mig"), f"{_PARTITION}.profile", m.MIG_PROFILE),
    Refusal(
        "W-C13",
        "profile",
        partitioned(**_HALF, profile="1g.10gb"),
        f"{_PARTITION}.profile",
        m.ACCELERATOR_PROFILE,
    ),
    Refusal(
        "W-C13",
        "no count",
        partitioned(mode="accelerator"),
        f"{_PARTITION}.count",
        m.ACCELERATOR_COUNT,
    ),
    Refusal("W-C18", "neither", served(inference={}), "inference.preset", m.ONE_SOURCE),
    Refusal(
        "W-C18", "both", served(inference__template=_TEMPLATE), "inference.preset", m.ONE_SOURCE
    ),
    Refusal(
        "W-C22",
        "eleven",
        adapted(*(adapter(name=f"a{n}") for n in range(11))),
        _ADAPTERS,
        m.MANY_ADAPTERS,
    ),
    Refusal("W-C22", "one name", adapted(adapter(), adapter()), _ADAPTERS, m.ADAPTER_NAMES),
    Refusal("W-C22", "no source", adapted({}), f"{_FIRST}.source", m.ADAPTER_SOURCE),
    Refusal("W-C25", "no node", tuned(resource=_ABSENT), "resource", m.TUNING_NODE),
    Refusal("W-C25", "two", tuned(resource__count=2), "resource.count", m.TUNING_ONE_NODE),
    Refusal("W-C26", "", tuned(resource__partition=_MIG), _PARTITION, m.TUNING_WHOLE),
    Refusal("W-C27", "", tuned(tuning__method="qlor"), "tuning.method", m.TUNING_METHOD),
    Refusal("W-C27", "none", tuned(tuning__method=_ABSENT), "tuning.method", m.TUNING_METHOD),
    Refusal("W-C29", "nothing", tuned(tuning__input={"name": "d"}), "tuning.input", m.TUNING_INPUT),
    Refusal("W-C29", "two", tuned(tuning__input__image="a/b:1"), "tuning.input", m.TUNING_INPUT),
    Refusal(
        "W-C29",
        "image",
        tuned(tuning__input={"image": "A/B"}),
        "tuning.input.image",
        m.IMAGE,
    ),
    Refusal(
        "W-C29",
        "long image",
        tuned(tuning__input={"image": "a" * 256}),
        "tuning.input.image",
        m.IMAGE_LENGTH,
    ),
    Refusal(
        "W-C29",
        "Hugging Face beside an image",
        tuned(tuning__input={"huggingFace": "o/d", "image": "a/b:1"}),
        "tuning.input",
        m.TUNING_INPUT,
    ),
    Refusal(
        "W-C29",
        "malformed Hugging Face",
        tuned(tuning__input={"huggingFace": "m"}),
        "tuning.input.huggingFace",
        m.HUGGING_FACE,
    ),
    Refusal("W-C30", "nothing", tuned(tuning__output={}), "tuning.output", m.TUNING_OUTPUT),
    Refusal(
        "W-C30",
        "both",
        tuned(tuning__output__volumeSource={"emptyDir": {}}),
        "tuning.output",
        m.TUNING_OUTPUT,
    ),
    Refusal(
        "W-C30",
        "no secret",
        tuned(tuning__output__imagePushSecret=_ABSENT),
        "tuning.output.imagePushSecret",
        m.PUSH_SECRET,
    ),
    Refusal("W-C30", "image", tuned(tuning__output__image="a:b:c"), "tuning.output.image", m.IMAGE),
    Refusal(
        "W-C30",
        "long image",
        tuned(tuning__output__image="a" * 256),
        "tuning.output.image",
        m.IMAGE_LENGTH,
    ),
    Refusal("W-C31", "missing", tuned(tuning__preset=_ABSENT), "tuning.preset", m.TUNING_PRESET),
    Refusal(
        "private preset",
        "",
        served(inference__preset__accessMode="private"),
        "inference.preset.presetOptions.image",
        m.PRIVATE_IMAGE,
    ),
    Refusal(
        "preset image",
        "upper case",
        served(inference__preset__presetOptions={"image": "Model"}),
        "inference.preset.presetOptions.image",
        m.IMAGE,
    ),
    Refusal(
        "preset image",
        "long",
        served(inference__preset__presetOptions={"image": "a" * 256}),
        "inference.preset.presetOptions.image",
        m.IMAGE_LENGTH,
    ),
    Refusal("early form", "", served(spec={"resource": {}}), "spec", m.AT_ROOT),
)

UPDATED: tuple[Refusal, ...] = (
    Refusal("W-U1", "other", tuned(), "inference", m.PRESENCE_KEPT, served()),
    Refusal("W-U1", "back", served(), "tuning", m.PRESENCE_KEPT, tuned()),
    Refusal("W-U2", "", served(resource__count=2), "resource.count", m.KEPT, served()),
    Refusal("W-U3", "gone", served(), _PARTITION, m.PRESENCE_KEPT, partitioned(**_HALF)),
    Refusal("W-U3", "added", partitioned(**_HALF), _PARTITION, m.PRESENCE_KEPT, served()),
    Refusal(
        "W-U3",
        "other",
        partitioned(mode="accelerator", count=3),
        _PARTITION,
        m.KEPT,
        partitioned(**_HALF),
    ),
    Refusal("W-U5", "value", selecting(apps="other"), _SELECTOR, m.KEPT, served()),
    Refusal("W-U5", "less", selecting(apps="phi"), _SELECTOR, m.KEPT, selecting(apps="phi", b="c")),
    Refusal("W-U5", "more", selecting(("b", "In", ["c"]), apps="phi"), _SELECTOR, m.KEPT, served()),
    Refusal(
        "W-U8",
        "secret",
        served(inference__preset__presetOptions={"modelAccessSecret": "s"}),
        "inference.preset",
        m.KEPT,
        served(),
    ),
    Refusal(
        "W-U8",
        "name",
        served(inference__preset__name="phi-4-mini-instruct"),
        "inference.preset",
        m.KEPT,
        served(),
    ),
    Refusal(
        "W-U8",
        "gone",
        served(inference={"template": _TEMPLATE}),
        "inference.preset",
        m.PRESENCE_KEPT,
        served(),
    ),
    Refusal("W-U9", "nothing", served(inference={}), "inference.preset", m.ONE_SOURCE, served()),
    Refusal(
        "W-U10",
        "long image",
        adapted(adapter(image="a" * 256)),
        f"{_FIRST}.source.image",
        m.IMAGE_LENGTH,
        served(),
    ),
    Refusal("W-U10", "no source", adapted({}), f"{_FIRST}.source", m.ADAPTER_SOURCE, served()),
    Refusal(
        "W-U10",
        "urls",
        adapted(adapter(image=None, urls=["https://example.com/a"])),
        f"{_FIRST}.source.urls",
        m.ADAPTER_URLS,
        served(),
    ),
    Refusal(
        "W-U10",
        "nothing",
        adapted(adapter(image=None)),
        f"{_FIRST}.source",
        m.ADAPTER_ONE,
        served(),
    ),
    Refusal("W-U10", "two", adapted(adapter(**_CPU)), f"{_FIRST}.source", m.ADAPTER_ONE, served()),
    Refusal(
        "W-U10",
        "no name",
        adapted(adapter(name="")),
        f"{_FIRST}.source.name",
        m.ADAPTER_NAME,
        served(),
    ),
    Refusal(
        "W-U10",
        "bad name",
        adapted(adapter(name="A_b")),
        f"{_FIRST}.source.name",
        m.ADAPTER_NAME,
        served(),
    ),
    Refusal(
        "W-U10",
        "long name",
        adapted(adapter(name="a" * 254)),
        f"{_FIRST}.source.name",
        m.ADAPTER_NAME,
        served(),
    ),
    Refusal(
        "W-U10",
        "image",
        adapted(adapter(image="A")),
        f"{_FIRST}.source.image",
        m.IMAGE,
        served(),
    ),
    Refusal(
        "W-U10",
        "one Hugging Face name",
        adapted(adapter(image=None, huggingFace="owner")),
        f"{_FIRST}.source.huggingFace",
        m.HUGGING_FACE,
        served(),
    ),
    Refusal(
        "W-U10", "strength", adapted(adapter("1.5")), f"{_FIRST}.strength", m.STRENGTH, served()
    ),
    Refusal(
        "W-U10", "no number", adapted(adapter("x")), f"{_FIRST}.strength", m.STRENGTH, served()
    ),
    Refusal(
        "W-U11",
        "no preset",
        tuned(tuning__preset=_ABSENT),
        "tuning.preset",
        m.PRESENCE_KEPT,
        tuned(),
    ),
    Refusal(
        "W-U11",
        "no method",
        tuned(tuning__method=_ABSENT),
        "tuning.method",
        m.TUNING_METHOD,
        tuned(),
    ),
    Refusal("W-U11", "method", tuned(tuning__method="lora"), "tuning.method", m.KEPT, tuned()),
    Refusal(
        "W-U11", "preset", tuned(tuning__preset__name="phi-3"), "tuning.preset", m.KEPT, tuned()
    ),
    Refusal("W-U11", "name", tuned(tuning__input__name="x"), "tuning.input.name", m.KEPT, tuned()),
    Refusal(
        "W-U11",
        "image",
        tuned(tuning__output__image="UPPER"),
        "tuning.output.image",
        m.IMAGE,
        tuned(),
    ),
    Refusal(
        "W-U9",
        "",
        served(),
        "inference.template",
        m.PRESENCE_KEPT,
        served(inference={"template": _TEMPLATE}),
    ),
)

REFUSALS = (*CREATED, *UPDATED)
