"""The user's `inference_config.yaml`: its shape, and which options are not the user's to set.

Standard library only: each serving image carries a copy of this file, so that admission, controller
and image refuse the same things in the same words.

An option is owned where the plan of the nodes, the Service, a probe or the pod rests on it. All
others are the user's and win over what the controller says.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

ENGINES = ("vllm", "transformers", "llamacpp", "tgi")
"""Each has a section of its name."""
KV_CACHE_SHARE = "kv_cache_cpu_memory_utilization"
TOP_LEVEL = (*ENGINES, KV_CACHE_SHARE, "max_probe_steps")
"""The last does nothing, and KAITO's ConfigMaps have it."""

CONTEXT = {
    "vllm": "max-model-len",
    "transformers": "max-model-len",
    "llamacpp": "ctx-size",
    "tgi": "max-total-tokens",
}
"""How each engine calls the tokens of the longest request: the user's, and the plan's measure."""
GPU_SHARE = {"vllm": "gpu-memory-utilization", "tgi": "cuda-memory-fraction"}
"""The share of each GPU's memory: the user's, and the plan's measure."""


@dataclass(frozen=True, slots=True)
class Owned:
    """Whose an option is, what the user does instead, and the values that change nothing."""

    owner: str
    remedy: str
    harmless: tuple[str, ...] = ()


_SERVICE = "the Service and the probes, which reach the server by plain HTTP on its port"
_LAYOUT = "the plan of the nodes"
_OTHER_NODES = "leave it out, or choose other nodes by resource.instanceType"
_WEIGHTS = "the preset, which says what weights are served"
_ADAPTERS = "inference.adapters"
_POD = "the controller, which mounts the pod's volumes"
_KEYS = "a Secret: in this file everybody who reads ConfigMaps would know the key"
_NAME_SECRET = "annotate the Workspace with kaito.sh/api-key-secret"  # noqa: S105


def _owned(
    names: str, owner: str, remedy: str = "leave it out", *, harmless: tuple[str, ...] = ()
) -> dict[str, Owned]:
    return {name: Owned(owner, remedy, harmless) for name in names.split()}


_OWNED: Mapping[str, Mapping[str, Owned]] = {
    "vllm": {
        **_owned("port", _SERVICE, harmless=("5000",)),
        **_owned("host", _SERVICE, harmless=("0.0.0.0",)),
        **_owned("uds grpc ssl-keyfile ssl-certfile ssl-ca-certs ssl-cert-reqs", _SERVICE),
        **_owned("api-server-count", "the image, which starts one API server"),
        **_owned("config", "the image, which reads inference_config.yaml alone"),
        **_owned("served-model-name", "the Workspace, whose clients ask by the preset's name"),
        **_owned("model model-tag", _WEIGHTS, "name another in inference.preset"),
        **_owned("revision tokenizer-revision code-revision", _WEIGHTS),
        **_owned("download-dir", _POD, harmless=("/workspace/weights",)),
        **_owned(
            "tensor-parallel-size pipeline-parallel-size data-parallel-size"
            " prefill-context-parallel-size nnodes node-rank master-addr master-port headless"
            " data-parallel-size-local data-parallel-start-rank data-parallel-rank"
            " data-parallel-address data-parallel-rpc-port data-parallel-backend"
            " data-parallel-hybrid-lb data-parallel-external-lb"
            " data-parallel-multi-port-external-lb data-parallel-supervisor-port device-ids",
            _LAYOUT,
            _OTHER_NODES,
        ),
        **_owned(
            "distributed-executor-backend",
            _LAYOUT,
            "annotate the Workspace with kaito.sh/distributed-executor",
        ),
        **_owned("lora-modules", _ADAPTERS, "list the adapters there"),
        **_owned("enable-lora", _ADAPTERS, harmless=("true", "")),
        **_owned("api-key", _KEYS, _NAME_SECRET),
    },
    "transformers": {
        **_owned("port", _SERVICE, harmless=("5000",)),
        **_owned("host", _SERVICE, harmless=("0.0.0.0",)),
        **_owned("pretrained-model-name-or-path", _WEIGHTS, "name another in inference.preset"),
        **_owned("revision allow-remote-files force-download", _WEIGHTS),
        **_owned("served-model-name", "the Workspace, whose clients ask by the preset's name"),
        **_owned("cache-dir", _POD),
        **_owned("api-key", _KEYS, _NAME_SECRET),
    },
    "llamacpp": {
        **_owned("port", _SERVICE, harmless=("5000",)),
        **_owned("host", _SERVICE, harmless=("0.0.0.0",)),
        **_owned("model", _WEIGHTS, "name another in inference.preset"),
        **_owned("alias", "the Workspace, whose clients ask by the preset's name"),
        **_owned("api-key api-key-file", _KEYS, _NAME_SECRET),
    },
    "tgi": {
        **_owned("port", _SERVICE, harmless=("5000",)),
        **_owned("hostname", _SERVICE, harmless=("0.0.0.0",)),
        **_owned("ngrok ngrok-authtoken ngrok-edge", _SERVICE),
        **_owned("model-id", _WEIGHTS, "name another in inference.preset"),
        **_owned("revision", _WEIGHTS),
        **_owned("num-shard sharded master-addr master-port", _LAYOUT, _OTHER_NODES),
        **_owned("huggingface-hub-cache weights-cache-override", _POD),
        **_owned("lora-adapters", _ADAPTERS, "list the adapters there"),
        **_owned("api-key", _KEYS, _NAME_SECRET),
    },
}

_KV_TRANSFER = Owned(
    "the pod's role of prefill or decode, which moves the cache between pods", "leave it out"
)
_OF_THE_IMAGE = Owned("the image, which the controller tells", "leave it out")
_OF_THE_FILE = Owned("the image", f"set {KV_CACHE_SHARE} at the top of the file")

_NO_BITSANDBYTES = (
    "vLLM has no bitsandbytes: choose fp8 (8 bits), a model whose weights are stored in fewer bits"
    " (AWQ, GPTQ), or larger nodes"
)
_REFUSED: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "vllm": {
        "quantization": ("bitsandbytes", _NO_BITSANDBYTES),
        "load-format": ("bitsandbytes", _NO_BITSANDBYTES),
        "load-in-4bit": ("", _NO_BITSANDBYTES),
        "load-in-8bit": ("", _NO_BITSANDBYTES),
    }
}
"""What the engine does not have although the plan could reckon with it: the value (empty: any),
and what to do instead."""

_SHORT: Mapping[str, Mapping[str, str]] = {
    "vllm": {
        "tp": "tensor-parallel-size", "pp": "pipeline-parallel-size", "dp": "data-parallel-size",
        "pcp": "prefill-context-parallel-size", "n": "nnodes", "r": "node-rank",
        "q": "quantization",
        "dpl": "data-parallel-size-local", "dpn": "data-parallel-rank",
        "dpr": "data-parallel-start-rank", "dpa": "data-parallel-address",
        "dpp": "data-parallel-rpc-port", "dpb": "data-parallel-backend",
        "dph": "data-parallel-hybrid-lb", "dpe": "data-parallel-external-lb",
    },
    "llamacpp": {
        "m": "model", "a": "alias", "served-model-name": "alias", "c": "ctx-size",
        "np": "parallel", "t": "threads", "ngl": "n-gpu-layers", "b": "batch-size",
        "ub": "ubatch-size", "sm": "split-mode",
    },
    "tgi": {"p": "port", "max-input-length": "max-input-tokens"},
}  # fmt: skip

_WHOLE_WORDS = frozenset({"tokenizer"})
"""Flags of vLLM with which an owned one begins."""

_LONG_NUMBER = re.compile(r"(\d+(?:\.\d+)?)([kKmMgG])")
_SCALE = {"k": 10**3, "m": 10**6, "g": 10**9, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def canonical(engine: str, key: object) -> str:
    """One spelling of an option: dashes, no dashes in front, the long name. What follows a dot
    names a field and stays as it is."""
    first, dot, field = str(key).strip().lstrip("-").partition(".")
    first = first.replace("_", "-")
    return _SHORT.get(engine, {}).get(first, first) + dot + field


def top(key: object) -> str:
    """One spelling of a key at the top of the file."""
    return str(key).strip().replace("-", "_")


def owned(engine: str) -> tuple[str, ...]:
    """Names of the options that are not the user's."""
    return tuple(_OWNED[engine])


def section(document: object, engine: str) -> dict[str, object]:
    """The engine's options in one spelling; empty where there are none that could be read."""
    for key, value in document.items() if isinstance(document, Mapping) else ():
        if top(key) == engine and isinstance(value, Mapping):
            return {canonical(engine, name): given for name, given in value.items()}
    return {}


def complaints(document: object, *, disaggregated: bool = False) -> Iterator[str]:
    """What is wrong with the file, a sentence each; `disaggregated`: prefill or decode pods."""
    if document is None:
        return
    if not isinstance(document, Mapping):
        yield f"must be a map of {', '.join(TOP_LEVEL)}"
        return
    yield from _twice("", [(str(key), top(key)) for key in document])
    for key, value in document.items():
        name = top(key)
        if name not in TOP_LEVEL:
            near = difflib.get_close_matches(name.lower(), TOP_LEVEL, n=1)
            hint = f'did you mean "{near[0]}"' if near else f"the keys are {', '.join(TOP_LEVEL)}"
            yield f'"{key}" is no key of this file: {hint}; options of vLLM go below vllm'
        elif name == KV_CACHE_SHARE:
            yield from _share(name, value, least=0.0)
        elif name in ENGINES and value is not None:
            yield from _section(name, value, disaggregated=disaggregated)


def tokens(given: object) -> int | None:
    """A context as engines take it: 4096, "4096", 16k (thousands), 16K (1024s); None for auto,
    -1 and nothing at all. ValueError for anything else."""
    text = str("" if given is None else given).strip()
    if text in ("", "auto", "-1"):
        return None
    if text.isascii() and text.isdigit() and int(text):
        return int(text)
    if (found := _LONG_NUMBER.fullmatch(text)) is not None:
        return int(float(found[1]) * _SCALE[found[2]])
    raise ValueError(text)


def repeated(node: object, prefix: str = "") -> Iterator[str]:
    """Keys that a map of the file has twice, which YAML's readers pass over in silence.

    `node` is the file as PyYAML composes it: a map's `value` is a list of pairs of nodes.
    """
    pairs = getattr(node, "value", None)
    seen = set()
    for pair in pairs if isinstance(pairs, list) else ():
        if not isinstance(pair, tuple):
            continue
        name = f"{prefix}{pair[0].value}"
        if name in seen:
            yield f"{name} is there twice: keep one"
        seen.add(name)
        yield from repeated(pair[1], f"{name}.")


def _section(engine: str, given: object, *, disaggregated: bool) -> Iterator[str]:
    if not isinstance(given, Mapping):
        yield f"{engine} must be a map of options"
        return
    yield from _twice(f"{engine}.", [(str(key), canonical(engine, key)) for key in given])
    for key, value in given.items():
        option = canonical(engine, key)
        owned = _owner(engine, option, disaggregated=disaggregated)
        if owned is not None and not _changes_nothing(option, value, owned):
            yield f"{engine}.{key} belongs to {owned.owner}: {owned.remedy}"
        elif (why := _refused(engine, option, value)) is not None:
            yield f"{engine}.{key} {value}: {why}"
        elif option == CONTEXT.get(engine):
            yield from _context(f"{engine}.{key}", value)
        elif option == GPU_SHARE.get(engine):
            yield from _share(f"{engine}.{key}", value, least=0.01)


def _owner(engine: str, option: str, *, disaggregated: bool) -> Owned | None:
    name = option.partition(".")[0].rstrip("+")
    if name == "kaito-kv-cache-cpu-memory-utilization":
        return _OF_THE_FILE
    if name.startswith("kaito-"):
        return _OF_THE_IMAGE
    if name == "kv-transfer-config" and disaggregated:
        return _KV_TRANSFER
    owned = _OWNED[engine]
    name = name.removeprefix("no-")
    if name in owned or engine != "vllm" or name in _WHOLE_WORDS or len(name) < 3:
        return owned.get(name)
    # vLLM's parser takes the beginning of a flag for the flag.
    return next((owned[each] for each in owned if each.startswith(name)), None)


def _refused(engine: str, option: str, value: object) -> str | None:
    given, why = _REFUSED.get(engine, {}).get(option, ("", ""))
    said = str(value).strip().lower()
    if not why or said in ("false", "none"):
        return None
    return why if given in ("", said) else None


def _changes_nothing(option: str, value: object, owned: Owned) -> bool:
    said = "" if value is None else str(value).strip().lower()
    return not option.startswith("no-") and said in owned.harmless


def _twice(prefix: str, names: list[tuple[str, str]]) -> Iterator[str]:
    """Two spellings of one key."""
    first: dict[str, str] = {}
    for spelled, name in names:
        if name in first:
            yield f"{prefix}{first[name]} and {prefix}{spelled} are one option: keep one"
        first.setdefault(name, spelled)


def _context(path: str, value: object) -> Iterator[str]:
    try:
        tokens(value)
    except ValueError:
        yield (
            f'{path} "{value}" is no positive integer and not auto: give the tokens of the'
            " longest request"
        )


def _share(path: str, value: object, *, least: float) -> Iterator[str]:
    try:
        inside = least <= float(str(value)) <= 1.0
    except ValueError:
        inside = False
    if not inside:
        yield f'{path} "{value}" is no share from {least:g} to 1'
