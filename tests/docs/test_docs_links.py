"""No link of a page leads nowhere, and no page is lost."""

from __future__ import annotations

import re
from urllib.parse import unquote

import pytest

from tests.docs.pages import ROOT, Block, Page, blocks, pages

_OUTSIDE = re.compile(r"[a-z][a-z+.-]*:", re.IGNORECASE)
_FOLDERS = (
    "apis|benchmarks|charts|cloudproviders|docs|examples|gpu_provisioner|hub|images|kaito|kube"
)
_FOLDERS += "|localcluster|observability|oci|presets|tests|workspace_controller"
_PATH = re.compile(
    rf"(?<![\w/.-])(?:{_FOLDERS})/[\w./*-]*\.(?:py|md|ya?ml|toml|txt|json|lock|in|gpu)"
)
_PAGES = pages()


def dead(page: Page) -> list[str]:
    found = []
    for line, target in page.links():
        if _OUTSIDE.match(target):
            continue
        path, _, anchor = unquote(target).partition("#")
        to = (page.path.parent / path).resolve() if path else page.path
        if not to.is_relative_to(ROOT) or not to.exists():
            found.append(f"{page.name}:{line}: {target}: there is no such file")
        elif anchor and to.suffix == ".md" and anchor not in Page(to).anchors:
            found.append(f"{page.name}:{line}: {target}: there is no such heading")
    return found


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.name)
def test_every_link_and_anchor_resolves(page: Page):
    assert not dead(page)


def test_links_are_found_at_all():
    assert sum(1 for page in _PAGES for _ in page.links()) > 300


def absent(block: Block) -> list[str]:
    """Files of the repository that code in a sentence or a command names and that are not there; a
    cloud of the reader's own is called acme."""
    return [
        f"{block}: {name}"
        for name in _PATH.findall(block.text)
        if "acme" not in name and not any(ROOT.glob(name))
    ]


def test_files_that_are_named_exist():
    looked = [block for block in blocks() if block.info in {"inline", "bash", "console"}]
    named = sum(1 for block in looked for _ in _PATH.findall(block.text))
    assert named > 40
    assert not [line for block in looked for line in absent(block)]
