"""The site: every page of the repository that people read, made by Sphinx from plain Markdown.

The source folder is the repository (`make docs` says so), so that a link between two pages is the
same on a code host and here, README and charts included. Nothing is fetched, neither while it is
made nor by the pages: a cluster without the internet has documentation too.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from sphinx.addnodes import pending_xref

if TYPE_CHECKING:
    from docutils import nodes  # type: ignore[import-untyped]
    from sphinx.application import Sphinx

ROOT = Path(__file__).parent.parent

project = "kaito-py"
author = "the authors of kaito-py"
copyright = "the authors of kaito-py, Apache-2.0"
release = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

extensions = ["myst_parser"]
root_doc = "docs/index"
include_patterns = [
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "charts/*/README.md",
    "docs/**.md",
]
exclude_patterns = [
    *sorted(
        path.name
        for path in ROOT.iterdir()
        if path.is_dir() and path.name not in {"charts", "docs"}
    ),
    "charts/*/files",
    "charts/*/templates",
]
"""By name, so that they are not walked at all: an environment has a hundred thousand files."""

myst_enable_extensions = ["attrs_inline"]
myst_heading_anchors = 4
suppress_warnings = ["myst.header"]  # generated tables may begin below the second level
html_theme = "pydata_sphinx_theme"
html_title = "kaito-py"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_extra_path = ["_extra"]
html_copy_source = False
html_show_sourcelink = False
html_sidebars = {"**": ["sidebar-nav-bs"]}
html_context = {"default_mode": "auto"}
html_theme_options = {
    "navbar_end": ["theme-switcher"],
    "navbar_persistent": ["search-field"],
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_prev_next": False,
    "header_links_before_dropdown": 6,
    "show_toc_level": 2,
}

OPEN_SECTIONS = {
    "docs/designs/index": ("docs/designs/*.md",),
    "docs/operations/index": ("docs/operations/*.md",),
    "docs/reference/index": ("charts/*/README.md",),
    "docs/security/index": ("docs/security/*.md", "SECURITY.md"),
}
"""Pages that belong to these whether or not the index names them; elsewhere a page that no index
links is an error, as it would be found by nobody."""

_ENTRY = re.compile(r"^- \[[^]]*\]\((?!https?:)([^)#\s]+\.md)(?:#[^)]*)?\)", re.MULTILINE)


def children(name: str, text: str) -> list[str]:
    """The pages with which the list items of an index page begin, in that order."""
    folder = (ROOT / name).parent
    paths = [(folder / link).resolve().relative_to(ROOT) for link in _ENTRY.findall(text)]
    return [path.with_suffix("").as_posix() for path in paths]


def contents(name: str, text: str) -> list[str]:
    """What stands below an index page: its links, then what is its own by its folder."""
    found = children(name, text)
    for pattern in OPEN_SECTIONS.get(name, ()):
        pages = (path.relative_to(ROOT).with_suffix("").as_posix() for path in ROOT.glob(pattern))
        found += sorted(page for page in pages if page != name and page not in found)
    return found


def add_contents(app: Sphinx, name: str, source: list[str]) -> None:
    """Give index pages a table of contents: the Markdown itself needs no directive."""
    if name.endswith("/index"):
        body = "\n".join((":hidden:", "", *(f"/{page}" for page in contents(name, source[0]))))
        source[0] += f"\n\n```{{toctree}}\n{body}\n```\n"


def plain_folders(app: Sphinx, document: nodes.document) -> None:
    """A folder has a page on a code host and none here: its name stays, as text. A link to what
    does not exist is still an error."""
    for link in list(document.findall(pending_xref)):
        if ((ROOT / link["refdoc"]).parent / link["reftarget"]).is_dir():
            link.replace_self(link.children)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", add_contents)
    app.connect("doctree-read", plain_folders)
    return {"parallel_read_safe": True}
