"""The site's words → the refusals of the contract."""

from __future__ import annotations

import pytest

from cloudproviders.arc.errors import classified, cut
from cloudproviders.errors import CloudUnavailableError, CreateError, OfferingRefusedError
from cloudproviders.unavailable import Scope


@pytest.mark.parametrize(
    ("code", "text", "kind", "reason"),
    [
        pytest.param(
            "", "rpc error: code = Unknown desc = OutOfCapacity: no GPU", OfferingRefusedError, "",
            id="no GPU left",
        ),
        pytest.param("", "OutOfNodeCapacity", OfferingRefusedError, "", id="no room on a host"),
        pytest.param("", "host-1: OutOfMemory", OfferingRefusedError, "", id="no memory"),
        pytest.param("", "Not Supported: vm size", OfferingRefusedError, "", id="two words"),
        pytest.param("", "IPOutOfRange", CreateError, "QuotaExceeded", id="no addresses"),
        pytest.param("X", "QuotaViolation", CreateError, "QuotaExceeded", id="a quota"),
        pytest.param("", "DeletePending", CloudUnavailableError, "", id="passing"),
        pytest.param(
            "AgentPoolFailed", "InvalidInput: x", CreateError, "InvalidInput", id="configuration"
        ),
        pytest.param("", "gremlins", CreateError, "AgentPoolFailed", id="nothing known"),
        pytest.param("NewCode", "gremlins", CreateError, "NewCode", id="a code nobody knows"),
        pytest.param("", "ImageNotFoundHere", CreateError, "AgentPoolFailed", id="a longer word"),
    ],
)  # fmt: skip
def test_each_word_has_its_meaning(
    code: str, text: str, kind: type[Exception], reason: str
) -> None:
    told = classified(code, text, "size")

    assert type(told) is kind
    assert code in str(told)
    if isinstance(told, CreateError):
        assert told.reason == reason
    if isinstance(told, OfferingRefusedError):
        assert told.scope == Scope(instance_type="size")


def test_a_quota_says_what_to_do() -> None:
    assert "logical network" in str(classified("", "IPOutOfRange", "size"))


def test_long_texts_fit_on_a_condition() -> None:
    assert len(str(classified("Code", "word " * 200, "size"))) < 250
    assert cut("a\n  b") == "a b"
