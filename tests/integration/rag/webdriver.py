"""A browser, driven by the W3C's WebDriver protocol. Waiting is done in the page: it says so itself
when it has changed."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
ENTER, LEFT, RIGHT, HOME, END = "\ue007", "\ue012", "\ue014", "\ue011", "\ue010"
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
_STARTED = re.compile(r"started successfully on port (\d+)")
_UNTIL = """
const holds = () => (%s), seconds = %d;
return new Promise((resolve, reject) => {
  const watcher = new MutationObserver(check);
  const timer = setTimeout(() => { watcher.disconnect(); reject(new Error("it never held")); },
                           seconds * 1000);
  function check() {
    const found = holds();
    if (!found) return false;
    watcher.disconnect(); clearTimeout(timer); resolve(found);
    return true;
  }
  if (!check()) {
    const all = {childList: true, attributes: true, characterData: true};
    watcher.observe(document, {subtree: true, ...all});
  }
});
"""


class Browser:
    """One window."""

    def __init__(self, port: int, options: dict[str, Any]) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._session = ""
        capabilities = {
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        made = self._ask("POST", "", {"capabilities": {"alwaysMatch": capabilities}})
        self._session = f"/{made['sessionId']}"

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        text = json.dumps(body or {}) if method == "POST" else None
        self._connection.request(method, f"/session{self._session}{path}", text)
        answer = self._connection.getresponse()
        value = json.loads(answer.read())["value"]
        assert answer.status == 200, f"{value['error']}: {value['message']}"
        return value

    def open(self, address: str) -> None:
        self._ask("POST", "/url", {"url": address})

    def run(self, script: str, *arguments: Any) -> Any:
        """What `script` returns; a promise is waited for."""
        return self._ask("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def until(self, holds: str, seconds: int = 20) -> Any:
        """As soon as the expression is true: its value."""
        try:
            return self.run(_UNTIL % (holds, seconds))
        except AssertionError as error:
            raise AssertionError(
                f"{holds}: {error}\n{self.run('return document.body.innerText')}"
            ) from None

    def text(self, css: str) -> str:
        """As it is shown."""
        found = self.run("return document.querySelector(arguments[0])?.innerText", css)
        assert isinstance(found, str), css
        return found

    def texts(self, css: str) -> list[str]:
        script = "return [...document.querySelectorAll(arguments[0])].map((each) => each.innerText)"
        return list(self.run(script, css))

    def click(self, css: str, *, times: int = 1) -> None:
        element = self._find(css)
        if times == 1:
            self._ask("POST", f"/element/{element}/click")
        else:
            move = {"type": "pointerMove", "x": 0, "y": 0, "origin": {_ELEMENT: element}}
            presses = [{"type": kind, "button": 0} for kind in ("pointerDown", "pointerUp")]
            source = {"type": "pointer", "id": "mouse", "actions": [move, *presses * times]}
            self._ask("POST", "/actions", {"actions": [source]})

    def type(self, css: str, text: str) -> None:
        """In place of what is there; into a file input a line for each path."""
        element = self._find(css)
        kind = self.run("return document.querySelector(arguments[0]).type", css)
        if kind not in ("file", "button", "submit"):
            self._ask("POST", f"/element/{element}/clear")
        self._ask("POST", f"/element/{element}/value", {"text": text})

    def press(self, key: str) -> None:
        """Wherever the focus is."""
        keys = [{"type": kind, "value": key} for kind in ("keyDown", "keyUp")]
        source = {"type": "key", "id": "keyboard", "actions": keys}
        self._ask("POST", "/actions", {"actions": [source]})

    def choose(self, css: str, value: str) -> None:
        self.click(f'{css} option[value="{value}"]')

    def command(self, name: str, **parameters: Any) -> Any:
        """Of the browser's own protocol."""
        return self._ask("POST", "/goog/cdp/execute", {"cmd": name, "params": parameters})

    def log(self, kind: str) -> list[dict[str, Any]]:
        """`browser` or `performance`: what came since it was last asked for."""
        return list(self._ask("POST", "/se/log", {"type": kind}))

    def requests(self) -> list[str]:
        """The addresses that were asked since this was last called."""
        events = [json.loads(each["message"])["message"] for each in self.log("performance")]
        sent = [each for each in events if each["method"] == "Network.requestWillBeSent"]
        return [each["params"]["request"]["url"] for each in sent]

    def picture(self, path: Path) -> None:
        """Of the whole page, however long."""
        taken = self.command("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(taken["data"]))

    def close(self) -> None:
        with contextlib.closing(self._connection):
            self._ask("DELETE", "")

    def _find(self, css: str) -> str:
        found = self._ask("POST", "/element", {"using": "css selector", "value": css})
        return str(found[_ELEMENT])


@contextlib.contextmanager
def chromium(directory: Path) -> Iterator[Browser]:
    """With nothing of this machine's user, and nothing left of it."""
    driver = subprocess.Popen(
        ["chromedriver", "--port=0"],
        stdout=subprocess.PIPE,
        env={**os.environ, "HOME": str(directory)},
        text=True,
        start_new_session=True,
    )
    assert driver.stdout is not None
    try:
        found = next(filter(None, map(_STARTED.search, driver.stdout)), None)
        assert found is not None, "chromedriver did not start"
        arguments = [*FLAGS, f"--user-data-dir={directory / 'profile'}", "--window-size=1000,800"]
        browser = Browser(int(found[1]), {"args": arguments})
        try:
            yield browser
        finally:
            browser.close()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(driver.pid, signal.SIGTERM)
        driver.wait(10)
        driver.stdout.read()
        driver.stdout.close()
