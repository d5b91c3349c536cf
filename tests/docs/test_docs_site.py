"""The site as it is built: whole, found by its search, and readable without a network."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.docs.pages import ROOT, pages
from tests.integration.rag.webdriver import Browser, chromium

_LOOKED_AT = (
    "docs/index.html",
    "docs/concepts/index.html",
    "docs/how-to/three-in-the-morning.html",
    "docs/reference/api/workspace.html",
    "README.html",
    "charts/workspace/README.html",
)
_BUILD = (sys.executable, "-m", "sphinx", "--quiet", "--no-color", "-c", "docs", "-b", "html")


@dataclass(frozen=True, slots=True)
class Built:
    folder: Path
    warnings: str


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """As `make docs` builds it, elsewhere; a warning, which ends that, is for a test to tell."""
    made = tmp_path_factory.mktemp("site")
    ran = subprocess.run(
        [*_BUILD, "-d", str(made / "doctrees"), str(ROOT), str(made / "html")],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert ran.returncode == 0, ran.stderr
    return Built(made / "html", ran.stderr)


@pytest.fixture(scope="module")
def site(built: Built) -> Path:
    return built.folder


def test_it_is_built_without_a_warning(built: Built):
    assert built.warnings == ""


class Html(HTMLParser):
    """The ids of a page, and what it refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.targets: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id":
                self.ids.add(value or "")
            elif name in {"href", "src"}:
                self.targets.append(value or "")


@pytest.fixture(scope="module")
def parsed(site: Path) -> dict[Path, Html]:
    """By path; what the theme brings for its own build is no page."""
    found = (path for path in site.rglob("*.html") if site / "_static" not in path.parents)
    return {path.resolve(): Html(path.read_text()) for path in found}


def test_every_page_is_in_it(site: Path):
    missing = [
        each.name for each in pages() if not (site / each.name).with_suffix(".html").exists()
    ]
    assert not missing
    assert 'url=docs/index.html"' in (site / "index.html").read_text()


def test_no_link_inside_leads_nowhere(parsed: dict[Path, Html]):
    broken = []
    for path, page in parsed.items():
        for target in page.targets:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            to = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchors = parsed[to].ids if to in parsed and parts.fragment else {parts.fragment}
            if not to.exists() or unquote(parts.fragment) not in anchors:
                broken.append(f"{path.name}: {target}")
    assert len(parsed) > 80
    assert not broken


def test_nothing_is_fetched_from_elsewhere(site: Path, parsed: dict[Path, Html]):
    """Scripts, styles and pictures; links that a reader may follow are another matter."""
    for path in parsed:
        text = path.read_text()
        assert 'src="http' not in text, path
        assert 'rel="stylesheet" href="http' not in text, path


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if not shutil.which("chromedriver"):
        pytest.fail("chromedriver is missing: make system")
    with chromium(tmp_path_factory.mktemp("browser")) as found:
        yield found


@pytest.mark.parametrize("name", _LOOKED_AT)
def test_pages_open_without_a_network_and_without_complaint(
    site: Path, browser: Browser, name: str
):
    browser.command("Network.enable")
    browser.command(
        "Network.emulateNetworkConditions",
        **{"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1},
    )
    browser.log("browser"), browser.requests()  # what came before
    browser.open((site / name).as_uri())
    browser.until("document.readyState === 'complete' && document.querySelector('h1')")
    assert [each for each in browser.log("browser") if each["level"] == "SEVERE"] == []
    assert not [each for each in browser.requests() if not each.startswith(("file:", "data:"))]
    assert browser.run("return [...document.images].every((each) => each.naturalWidth > 0)")
    assert browser.run("return document.querySelectorAll('.bd-sidebar-primary a, nav a').length")


def test_the_picture_is_shown(site: Path, browser: Browser):
    browser.open((site / "docs/concepts/index.html").as_uri())
    browser.until("document.images.length && [...document.images].every((each) => each.complete)")
    width = browser.run("return document.querySelector('img[src*=architecture]').naturalWidth")
    assert width > 0


def test_search_finds_a_page_by_its_words(site: Path, browser: Browser):
    browser.open((site / "search.html").as_uri() + "?q=quota+exhausted")
    browser.until("document.querySelectorAll('#search-results li a').length > 0")
    found = browser.run(
        "return [...document.querySelectorAll('#search-results li a')].map((each) => each.href)"
    )
    assert any("debugging.html" in address for address in found)
