import asyncio
import json
import logging
import sys

from kube import log


def line(message: str = "m %s", *args: object, **extra: object) -> dict[str, str]:
    record = logging.LogRecord("kube.x", logging.WARNING, "", 0, message, args or ("1",), None)
    for name, value in extra.items():
        setattr(record, name, value)
    parsed: dict[str, str] = json.loads(log.JsonFormatter().format(record))
    return parsed


def test_a_line_has_karpenters_keys() -> None:
    found = line(controller="c", object="x/p", other="left out")
    assert found.pop("time").endswith("+00:00")
    assert found == {
        "level": "WARNING",
        "logger": "kube.x",
        "message": "m 1",
        "controller": "c",
        "object": "x/p",
    }


def test_a_stack_is_one_value() -> None:
    try:
        raise KeyError("bug")
    except KeyError:
        found = line(exc_info=sys.exc_info())
    assert "KeyError: 'bug'" in found["stacktrace"]


async def test_context_belongs_to_its_task() -> None:
    async def within(name: str) -> str:
        with log.context(controller=name):
            await asyncio.sleep(0)
            with log.context(object="inner"):
                assert line()["object"] == "inner"
            assert "object" not in line()
            return line()["controller"]

    assert await asyncio.gather(within("a"), within("b")) == ["a", "b"]
    assert "controller" not in line()


def test_a_group_is_told_in_one_line() -> None:
    group = ExceptionGroup("g", [ValueError("a"), ExceptionGroup("h", [KeyError()])])
    assert log.summary(group) == "ValueError: a; KeyError"


def test_configure_sets_the_level() -> None:
    root = logging.getLogger()
    before, handlers = root.level, root.handlers[:]
    try:
        log.configure("Debug")
        assert root.level == logging.DEBUG
        assert isinstance(root.handlers[0].formatter, log.JsonFormatter)
    finally:
        root.handlers[:] = handlers
        root.setLevel(before)
