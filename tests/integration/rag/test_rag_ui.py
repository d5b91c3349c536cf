"""The page at /ui, as a person uses it: in a real browser, before the real service."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from rag_ui_service import HELD, Service, serving
from webdriver import END, ENTER, HOME, LEFT, RIGHT, Browser, chromium

from localcluster import requirements

ATTACK = "<img src=x onerror=window.hacked=1>"
LONG = "x" * 400
OPEN = "[...document.querySelectorAll('main > section:not([hidden])')].map((each) => each.id)"
CARDS = "document.querySelectorAll('#listing .card').length"
ANSWERED = "document.querySelector('.said:not(.user):last-child:not([aria-busy])')"


@dataclass
class Visit:
    """The page, open, and the service behind it."""

    browser: Browser
    service: Service
    refusals: set[int] = field(default_factory=set)
    """Statuses that the browser may complain of."""

    def put(self, name: str, *documents: dict[str, Any]) -> None:
        body = {"index_name": name, "documents": documents}
        assert httpx.post(f"{self.service.address}/index", json=body).status_code == 200

    def begin(self) -> Browser:
        self.browser.open(f"{self.service.address}/ui")
        self.browser.until("document.querySelector('#listing').children.length")
        return self.browser

    def ask(self, question: str, *, whole: bool = True) -> None:
        if self.browser.run(f"return {OPEN}") != ["chat"]:
            self.browser.click("#tab-chat")
        self.browser.type("#question", question + ENTER)
        if whole:
            self.service.teller.gate.open()
            self.browser.until(ANSWERED)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    missing = [str(each) for each in requirements.missing_for_tests()]
    if missing:
        # Where nobody looks at what is skipped, it would never be noticed.
        (pytest.fail if "CI" in os.environ else pytest.skip)("; ".join(missing))
    with chromium(tmp_path_factory.mktemp("browser")) as found:
        yield found


@pytest.fixture
def visit(browser: Browser, tmp_path: Path) -> Iterator[Visit]:
    """In the end nothing went wrong that nobody was told of, and nothing was asked elsewhere."""
    browser.log("browser")
    browser.log("performance")
    with serving(tmp_path) as service:
        found = Visit(browser, service)
        yield found
        assert browser.run("return window.hacked") is None
        complaints = [each["message"] for each in browser.log("browser")]
        statuses = [re.search(r"status of (\d+)", each) for each in complaints]
        unexpected = [
            text
            for text, status in zip(complaints, statuses, strict=True)
            if not status or int(status[1]) not in found.refusals
        ]
        assert unexpected == []
        asked = [each for each in browser.requests() if not each.startswith(("data:", "chrome:"))]
        assert f"{service.address}/ui/" in asked
        assert [each for each in asked if not each.startswith(f"{service.address}/")] == []
        browser.open("about:blank")


def document(text: str, source: str = "manual.md") -> dict[str, Any]:
    return {"text": text, "metadata": {"source": source}}


def test_a_newcomer_is_told_what_to_do_first(visit: Visit) -> None:
    page = visit.begin()
    assert "Name a new index" in page.text("#listing")
    page.click("#send")
    assert page.until("document.querySelector('#notice').innerText") == (
        "Give the new index a name first, above."
    )
    assert page.run("return document.activeElement.id") == "name"
    page.click("#tab-search")
    page.type("#query", "Ada" + ENTER)
    page.until("document.querySelector('#notice').innerText.includes('add documents first')")
    page.click("#tab-documents")
    page.type("#name", "manuals" + ENTER)
    page.until(
        "document.querySelector('#listing').innerText.startsWith('There is no index \"manuals\"')"
    )
    page.click("#send")
    page.until("document.querySelector('#notice').innerText.includes('Choose one or more files')")


def test_files_become_documents_and_it_is_told_how_far_it_is(visit: Visit, tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("Ada wrote the first program.")
    (tmp_path / "two.md").write_text(f"# Notes\n{HELD}")
    page = visit.begin()
    page.type("#name", "manuals")
    page.type("#files", f"{tmp_path / 'one.txt'}\n{tmp_path / 'two.md'}")
    page.click("#send")
    page.until("document.querySelector('#told').innerText === '1 of 2 documents: 1 created'")
    assert page.run("return document.querySelector('#bar-done').position") == 0.5
    assert page.run("return document.querySelector('#send').ariaBusy") == "true"
    visit.service.embedder.gate.open()
    page.until(f"{CARDS} === 2")
    assert page.text("#told") == "2 of 2 documents: 2 created"
    assert page.text("#count") == "Documents: 2"
    assert page.texts("#listing .name") == ["one.txt", "two.md"]
    assert "split_type: markdown" in page.texts("#listing .small")[1]
    assert page.run("return document.querySelector('#index').value") == "manuals"
    assert page.run("return document.querySelector('#files').files.length") == 0
    page.until("!document.querySelector('#send').ariaBusy")


def test_what_cannot_be_added_is_named_and_the_rest_is_added(visit: Visit, tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0")
    (tmp_path / "broken.json").write_text("{")
    lines = [document("Good."), document(" ", ATTACK)]
    (tmp_path / "some.jsonl").write_text("\n".join(map(json.dumps, lines)))
    page = visit.begin()
    page.type("#name", "manuals")
    names = ("picture.png", "broken.json", "some.jsonl")
    page.type("#files", "\n".join(str(tmp_path / each) for each in names))
    page.click("#send")
    page.until(f"{CARDS} === 1 && document.querySelectorAll('#failures li').length === 3")
    assert page.text("#told") == "2 of 2 documents: 1 created, 1 failed"
    picture, broken, empty = page.texts("#failures li")
    assert picture == "picture.png: is no text in UTF-8"
    assert broken.startswith("broken.json: is no JSON: ")
    assert empty == f"{ATTACK}: text: text must not be empty"


def test_text_is_never_read_as_html(visit: Visit) -> None:
    visit.service.teller.pieces = (ATTACK, " [1]")
    visit.put("manuals", document(ATTACK, ATTACK))
    page = visit.begin()
    assert page.text("#listing .text") == ATTACK
    assert page.text("#listing .name") == ATTACK
    page.click("#tab-search")
    page.type("#query", "img onerror" + ENTER)
    page.until("document.querySelector('#hits .card')")
    assert page.text("#hits .text") == ATTACK
    assert page.text("#hits .name") == ATTACK
    visit.ask(ATTACK)
    page.click(".cite")
    assert page.texts(".said > p") == [ATTACK, f"{ATTACK} [1]"]
    assert page.text(".said .card .text") == ATTACK
    assert page.text(".said .card .name") == f"[1] {ATTACK}"
    assert page.run("return document.images.length") == 0


def test_a_search_shows_what_was_asked_for_and_why(visit: Visit) -> None:
    visit.put("manuals", document("The engines analyse. Analysis of an engine by Ada."))
    visit.put("manuals", document("Bob cooks.", "kitchen.md"))
    page = visit.begin()
    page.click("#tab-search")
    page.type("#query", "the analysis of engines")
    page.choose("#mode", "sparse")
    page.type("#top", "3")
    page.type("#filter", '{"source": "manual.md"}' + ENTER)
    page.until("document.querySelector('#hits .card')")
    (asked,) = visit.service.retriever.asked
    assert asked == {
        "name": "manuals", "text": "the analysis of engines", "top_k": 3, "mode": "sparse",
        "metadata_filter": {"source": "manual.md"}, "rerank": False,
    }  # fmt: skip
    assert page.texts("#hits mark") == ["engines", "analyse", "Analysis", "engine"]
    assert page.texts("#hits .name") == ["manual.md"]
    assert "BM25" in page.text("#hits .small")
    assert page.text("#found").startswith("1 passage · search ")


def test_a_filter_that_is_no_json_is_told_in_words(visit: Visit) -> None:
    visit.put("manuals", document("Ada."))
    page = visit.begin()
    page.click("#tab-search")
    page.type("#query", "Ada")
    for text in ("source=manual.md", '["manual.md"]'):
        page.type("#filter", text + ENTER)
        page.until(
            "document.querySelector('#notice').innerText.includes('The metadata filter is no JSON')"
        )
        assert '{"name": "value"}' in page.text("#notice")
        page.type("#filter", ENTER)
        page.until("document.querySelector('#hits .card')")
        assert page.text("#notice") == ""
    assert len(visit.service.retriever.asked) == 2
    visit.refusals = {422}
    page.type("#top", "1000" + ENTER)
    page.until("document.querySelector('#notice').innerText.startsWith('max_node_count: ')")


def test_an_answer_comes_in_pieces_and_leads_to_its_sources(visit: Visit) -> None:
    visit.put("manuals", document("Ada wrote it.", "a.md"), document("Bob read it.", "b.md"))
    page = visit.begin()
    visit.ask("Who wrote it?", whole=False)
    page.until("document.querySelector('.said:last-child').innerText.trim() === 'Ada'")
    assert page.run(f"return {ANSWERED}") is None
    visit.service.teller.gate.open()
    page.until(ANSWERED)
    assert page.texts(".said > p") == ["Who wrote it?", "Ada wrote it [1]."]
    assert page.text("summary") == "Sources: 2, the answer names 1"
    assert page.run("return document.querySelector('details').open") is False
    page.click(".cite")
    assert page.run("return document.querySelector('details').open") is True
    assert page.texts(".card.shown .name") == ["[1] a.md"]
    visit.ask("And who read it?")
    (_, second) = visit.service.llm.asked
    told = [(each["role"], each["content"]) for each in second["messages"]]
    assert ("assistant", "Ada wrote it [1].") in told


def test_an_answer_can_be_stopped_and_a_new_chat_knows_nothing_of_it(visit: Visit) -> None:
    visit.put("manuals", document("Ada wrote it."))
    page = visit.begin()
    visit.ask("Who wrote it?", whole=False)
    page.until("document.querySelector('.said:last-child').innerText.trim() === 'Ada'")
    page.click("#stop")
    page.until(ANSWERED)
    assert page.text(".broken") == "Stopped."
    assert visit.service.teller.gone.wait(10)
    visit.service.teller.gone.clear()
    visit.ask("Once more?", whole=False)
    page.until("document.querySelector('.said:last-child').innerText.trim() === 'Ada'")
    page.click("#clear")
    assert visit.service.teller.gone.wait(10)
    assert page.texts(".said") == []
    page.until("!document.querySelector('#put').ariaBusy")
    visit.ask("Another?")
    roles = [each["role"] for each in visit.service.llm.asked[-1]["messages"]]
    assert roles.count("user") == 1
    assert "assistant" not in roles


def test_an_answer_that_breaks_off_is_no_whole_one(visit: Visit) -> None:
    visit.service.teller.pieces = ("Ada ", "*")
    visit.put("manuals", document("Ada wrote it."))
    page = visit.begin()
    visit.ask("Who wrote it?")
    assert page.text(".said:last-child > p").strip() == "Ada"
    assert page.text(".broken") != ""
    assert page.text("#notice") == page.text(".broken")


def test_a_question_that_was_refused_can_be_asked_again(visit: Visit) -> None:
    visit.refusals = {404}
    page = visit.begin()
    page.type("#name", "nothing")
    visit.ask("Who wrote it?", whole=False)
    page.until("document.querySelector('.broken')")
    assert page.text(".broken") == "No such index: 'nothing' exists."
    assert page.run("return document.querySelector('#question').value") == "Who wrote it?"


def test_a_key_is_asked_for_and_kept_in_the_tab_only(visit: Visit, tmp_path: Path) -> None:
    visit.refusals = {401}
    visit.put("manuals", document("Ada."))
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "one").write_text("secret-key")
    page = visit.begin()
    page.until("document.querySelector('#notice').innerText.includes('asks for an API key')")
    assert page.run("return document.activeElement.id") == "key"
    page.type("#key", "wrong" + ENTER)
    page.until("document.querySelector('#notice').innerText.includes('does not know this API key')")
    page.type("#key", "secret-key " + ENTER)
    page.until(f"{CARDS} === 1")
    assert page.text("#notice") == ""
    assert page.run("return [{...sessionStorage}, {...localStorage}, document.cookie]") == [
        {"kaito-rag-key": "secret-key"}, {}, "",
    ]  # fmt: skip
    page.open(f"{visit.service.address}/ui/")
    page.until(f"{CARDS} === 1")
    page.type("#key", ENTER)
    page.until("document.querySelector('#notice').innerText.includes('asks for an API key')")
    assert page.run("return sessionStorage.length") == 0
    assert page.run("return document.querySelectorAll('.card').length") == 0


def test_what_is_deleted_is_deleted_at_the_second_press(visit: Visit) -> None:
    visit.put("manuals", document("Ada.", "a.md"), document("Bob.", "b.md"))
    visit.put("others", document("Eve."))
    page = visit.begin()
    page.click("#listing .danger", times=2)  # a double click is no second thought
    assert page.texts("#listing .danger") == ["Really?", "Delete"]
    page.press(ENTER)
    page.until(f"{CARDS} === 1")
    assert page.texts("#listing .name") == ["b.md"]
    page.click("#drop")
    page.choose("#index", "others")
    page.until("document.querySelector('#listing .text')?.innerText === 'Eve.'")
    assert page.text("#drop") == "Delete the index"
    page.click("#drop")
    assert page.text("#drop") == "Really delete it?"
    page.press(ENTER)
    page.until("document.querySelector('#index').value === 'manuals'")
    page.until("document.querySelector('#listing .text')?.innerText === 'Bob.'")
    assert httpx.get(f"{visit.service.address}/indexes").json() == ["manuals"]


def test_many_documents_are_shown_in_pages(visit: Visit) -> None:
    visit.put("manuals", *(document(f"Text {at}.", f"{at}.md") for at in range(12)))
    page = visit.begin()
    assert page.text("#page") == "1 to 10 of 12"
    page.click("#after")
    page.until(f"{CARDS} === 2")
    assert page.texts("#listing .name") == ["10.md", "11.md"]
    assert page.text("#page") == "11 to 12 of 12"
    page.click("#before")
    page.until(f"{CARDS} === 10")


def test_tabs_are_reached_by_arrow_keys(visit: Visit) -> None:
    page = visit.begin()
    page.run("document.querySelector('#tab-documents').focus()")
    for key, section in (
        (RIGHT, "search"), (RIGHT, "chat"), (RIGHT, "documents"), (LEFT, "chat"),
        (HOME, "documents"), (END, "chat"),
    ):  # fmt: skip
        page.press(key)
        assert page.run(f"return {OPEN}") == [section]
        assert page.run("return document.activeElement.id") == f"tab-{section}"
        assert page.run("return document.activeElement.ariaSelected") == "true"


def test_a_telephone_shows_all_of_it(visit: Visit) -> None:
    """Nothing has to be scrolled sideways, however long a word or a name is."""
    visit.service.teller.pieces = (LONG, " [1]")
    visit.put("manuals", {"text": LONG, "metadata": {"source": LONG, "id": LONG}})
    visit.put(LONG[:200], document("Ada."))
    visit.browser.command(
        "Emulation.setDeviceMetricsOverride",
        width=400,
        height=800,
        deviceScaleFactor=1,
        mobile=False,
    )
    try:
        page = visit.begin()
        page.click("#tab-search")
        page.type("#query", LONG + ENTER)
        page.until("document.querySelector('#hits .card')")
        visit.ask(LONG)
        page.click(".cite")
        for each in ("documents", "search", "chat"):
            page.click(f"#tab-{each}")
            root = "document.scrollingElement"
            wide, room = page.run(f"return [{root}.scrollWidth, {root}.clientWidth]")
            assert room <= 400
            assert wide <= room, each
    finally:
        visit.browser.command("Emulation.clearDeviceMetricsOverride")
