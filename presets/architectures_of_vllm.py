"""Write architectures.yaml from a wheel of vLLM: `python -m presets.architectures_of_vllm WHEEL`.

vLLM's own answer needs torch and a minute; its sources say the same. To be run when the serving
image's vLLM moves to another minor version, which a test asks for.
"""

from __future__ import annotations

import ast
import sys
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from presets.architectures import FILE, Architectures

_MODELS = "vllm.model_executor.models"
_QUANTIZATION = "vllm/model_executor/layers/quantization/__init__.py"
_NOT_SERVED = ("_SPECULATIVE_DECODING_MODELS", "_OOT_SUPPORTED_MODELS")
_REMOVED = "_PREVIOUSLY_SUPPORTED_MODELS"
_LORA = "SupportsLoRA"

_HEAD = """\
# What vLLM serves: made from the sources of its wheel by `python -m presets.architectures_of_vllm`.
# lora, plain: with and without adapters (its interface SupportsLoRA); removed: the last version
# that had it; quantizations: formats of stored weights.
"""

Read = Callable[[str], str | None]
"""A source file by its path in the wheel; None where there is none."""


def main() -> None:
    wheel = Path(sys.argv[1])
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        found = architectures(
            wheel.name.split("-")[1],
            lambda path: archive.read(path).decode() if path in names else None,
        )
    FILE.write_bytes(_HEAD.encode() + msgspec.yaml.encode(found))


def architectures(version: str, read: Read) -> Architectures:
    """What the registry in these sources serves."""
    tables = _tables(read(f"{_MODELS.replace('.', '/')}/registry.py") or "")
    removed = tables.pop(_REMOVED, {})
    classes = _Classes(read)
    adaptable = {
        architecture: classes.inherits(_module(str(module)), name, _LORA)
        for table, entries in tables.items()
        if table not in _NOT_SERVED
        for architecture, (module, name) in entries.items()
    }
    return Architectures(
        vllm=version,
        lora=tuple(sorted(name for name, yes in adaptable.items() if yes)),
        plain=tuple(sorted(name for name, yes in adaptable.items() if not yes)),
        removed={name: str(last) for name, last in sorted(removed.items())},
        quantizations=tuple(sorted(_quantizations(read(_QUANTIZATION) or ""))),
    )


def _module(short: str) -> str:
    return short if short.startswith("vllm.") else f"{_MODELS}.{short}"


def _tables(source: str) -> dict[str, dict[str, tuple[str, str]]]:
    """The registry's literal tables by name; what one merges from another is there already."""
    found = {}
    for statement in ast.parse(source).body:
        if not isinstance(statement, ast.Assign) or not isinstance(statement.value, ast.Dict):
            continue
        name = statement.targets[0]
        if isinstance(name, ast.Name) and name.id.endswith("_MODELS"):
            pairs = zip(statement.value.keys, statement.value.values, strict=True)
            found[name.id] = {
                ast.literal_eval(key): ast.literal_eval(value) for key, value in pairs if key
            }
    return found


def _quantizations(source: str) -> list[str]:
    for statement in ast.parse(source).body:
        match statement:
            case ast.Assign([ast.Name("QuantizationMethods")], ast.Subscript(slice=words)):
                return list(ast.literal_eval(words))
    return []


@dataclass(frozen=True, slots=True)
class _Module:
    bases: Mapping[str, list[str]]
    imports: Mapping[str, tuple[str, str]]


@dataclass(slots=True)
class _Classes:
    """Classes of vLLM and what they inherit, over the files that they are spread over."""

    read: Read
    known: dict[str, _Module | None] = field(default_factory=dict)

    def inherits(self, module: str, name: str, wanted: str) -> bool:
        if name.rsplit(".", 1)[-1] == wanted:
            return True
        found = self._module(module)
        if found is None:
            return False
        if name in found.bases:
            return any(self.inherits(module, base, wanted) for base in found.bases[name])
        if name in found.imports:
            return self.inherits(*found.imports[name], wanted)
        return False

    def _module(self, name: str) -> _Module | None:
        if name not in self.known:
            path = name.replace(".", "/")
            package = self.read(f"{path}/__init__.py")
            source = package or self.read(f"{path}.py")
            inside = name if package else name.rpartition(".")[0]
            self.known[name] = None if source is None else _parsed(source, inside)
        return self.known[name]


def _parsed(source: str, package: str) -> _Module:
    bases: dict[str, list[str]] = {}
    imports: dict[str, tuple[str, str]] = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef):
            bases.setdefault(node.name, [_named(base) for base in node.bases])
        elif isinstance(node, ast.ImportFrom):
            module = _absolute(node, package)
            for alias in node.names:
                known = imports.get(alias.asname or alias.name, ("", ""))
                # One file for each maker of GPUs: ours are NVIDIA's.
                if "nvidia" not in known[0]:
                    imports[alias.asname or alias.name] = (module, alias.name)
    return _Module(bases, imports)


def _named(base: ast.expr) -> str:
    return ast.unparse(base.value if isinstance(base, ast.Subscript) else base)


def _absolute(node: ast.ImportFrom, package: str) -> str:
    parts = package.split(".")
    inside = parts[: len(parts) - node.level + 1] if node.level else []
    return ".".join([*inside, *([node.module] if node.module else [])])


if __name__ == "__main__":
    main()
