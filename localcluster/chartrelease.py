"""Write the charts as a release has them: `python -m localcluster.chartrelease REGISTRY FOLDER`.

In the tree their images are what `make images` builds, `localhost/…`, which no cluster pulls. A
chart that somebody installs from a registry names the images of its own release instead: REGISTRY,
such as ghcr.io/OWNER. The tags are the charts' appVersion already; `--controllers-tag` gives that
of the controllers a digest, as VERSION@sha256:…, which goes where a user sets another tag. Values
keep their comments. Nothing but the standard library is needed.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

CHARTS = Path(__file__).parents[1] / "charts"
_CONTROLLERS = "kaito-controllers"
_TAG = re.compile(r"([A-Za-z0-9_][A-Za-z0-9._-]{0,127}(@sha256:[0-9a-f]{64})?)?")
_REGISTRY = re.compile(r"[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*")


class ChartReleaseError(Exception):
    """A chart has no such value, or the value cannot be an image's."""


def settings(registry: str, tag: str = "") -> dict[str, dict[str, str]]:
    """By chart, what the values of its images are, by their paths."""
    if not _REGISTRY.fullmatch(registry):
        raise ChartReleaseError(f"{registry!r} is no registry and path, such as ghcr.io/owner")
    if not _TAG.fullmatch(tag):
        raise ChartReleaseError(f"{tag!r} is no tag, nor a tag, @sha256: and 64 hexadecimal digits")
    image = {"repository": f"{registry}/{_CONTROLLERS}", "tag": tag}
    return {
        "gpu-provisioner": {f"controller.image.{name}": value for name, value in image.items()},
        "workspace": {
            **{f"image.{name}": value for name, value in image.items()},
            "presetRegistryName": registry,
        },
    }


def write(told: Mapping[str, Mapping[str, str]], target: Path, charts: Path = CHARTS) -> None:
    """All charts into that folder, which must not be there; their READMEs say the same."""
    shutil.copytree(charts, target)
    for chart, values in told.items():
        for path, value in values.items():
            _replace(target / chart / "values.yaml", _value_line(path), value)
            _replace(target / chart / "README.md", _readme_row(path), value)


def _replace(file: Path, find: re.Pattern[str], value: str) -> None:
    text = file.read_text(encoding="utf-8")
    replaced, times = find.subn(lambda found: f'{found[1]}"{value}"{found[2]}', text)
    if times != 1:
        raise ChartReleaseError(f"{file} has {times} times what {find.pattern!r} finds")
    file.write_text(replaced, encoding="utf-8")


def _value_line(path: str) -> re.Pattern[str]:
    """The line of that value, in YAML of one key a line and two blanks a level: below each key,
    only deeper lines stand before the next one."""
    before = ""
    *parents, last = path.split(".")
    for depth, key in enumerate(parents):
        before += rf"^{'  ' * depth}{key}:\n(?:(?:{'  ' * (depth + 1)}.*)?\n)*?"
    return re.compile(rf"({before}^{'  ' * len(parents)}{last}: )\S+($)", re.MULTILINE)


def _readme_row(path: str) -> re.Pattern[str]:
    return re.compile(rf"(^\| `{re.escape(path)}` \| `)[^`]*(` \|)", re.MULTILINE)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m localcluster.chartrelease", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("registry", help="and path, such as ghcr.io/OWNER")
    parser.add_argument("folder", type=Path, help="where the charts are written")
    parser.add_argument("--controllers-tag", default="", metavar="VERSION@sha256:…")
    told = parser.parse_args(argv)
    try:
        write(settings(told.registry.lower(), told.controllers_tag), told.folder)
    except (ChartReleaseError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
