import asyncio
import json
import logging
import sys
from collections.abc import Iterator

import pytest

from kube import log


def line(message: str = "m %s", *args: object, **extra: object) -> dict[str, str]:
    record = logging.LogRecord("kube.x", logging.WARNING, "", 0, message, args or ("1",), None)
    for name, value in extra.items():
        setattr(record, name, value)
    parsed: dict[str, str] = json.loads(log.JsonFormatter().format(record))
    return parsed


def test_a_line_has_karpenters_keys() -> None:
    found = line(controller="c", object="x/p", provider_id="kwok://n", other="left out")
    assert found.pop("time").endswith("+00:00")
    assert found == {
        "level": "WARNING",
        "logger": "kube.x",
        "message": "m 1",
        "controller": "c",
        "object": "x/p",
        "provider-id": "kwok://n",
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


@pytest.fixture
def levels() -> Iterator[None]:
    """As they were, afterwards."""
    root = logging.getLogger()
    before, handlers = root.level, root.handlers[:]
    yield
    root.handlers[:] = handlers
    root.setLevel(before)


@pytest.mark.usefixtures("levels")
def test_configure_sets_the_level() -> None:
    log.configure("Debug")
    root = logging.getLogger()
    assert root.level == logging.DEBUG
    assert isinstance(root.handlers[0].formatter, log.JsonFormatter)


@pytest.mark.usefixtures("levels")
def test_libraries_that_log_requests_stay_quiet_whatever_the_level() -> None:
    log.configure("debug")
    for name in ("botocore.auth", "urllib3.connectionpool", "aiohttp.access"):
        assert not logging.getLogger(name).isEnabledFor(logging.INFO)
        with pytest.raises(ValueError, match="credentials"):
            log.set_level("debug", name)


@pytest.mark.usefixtures("levels")
def test_a_part_may_have_its_own_level_and_give_it_back() -> None:
    log.configure("info")
    log.set_level("debug", "kube.some")
    assert logging.getLogger("kube.some.part").isEnabledFor(logging.DEBUG)
    log.set_level("NotSet", "kube.some")
    assert not logging.getLogger("kube.some.part").isEnabledFor(logging.DEBUG)
    log.set_level("warning")
    assert not logging.getLogger("kube.some.part").isEnabledFor(logging.INFO)


@pytest.mark.parametrize(("level", "part"), [("loud", ""), ("notset", ""), ("info", "a b")])
def test_what_is_no_level_is_refused(level: str, part: str) -> None:
    with pytest.raises(ValueError, match=r"level must be|no logger"):
        log.set_level(level, part)
