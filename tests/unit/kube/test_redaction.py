"""Secrets are taken out by their form, and ordinary words are let be."""

from __future__ import annotations

import json
import logging
import re
import time

import pytest

from cloudproviders.errors import CloudUnavailableError, CreateError
from kube.log import JsonFormatter
from kube.redaction import redacted

VALUE = "pl4nted-Secret_91"
# Not whole in this file, lest scanners of sources find them.
JWT = "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxIn0." + "c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"Authorization: Bearer {VALUE}, next", "Authorization: Bearer ***, next"),
        (f"authorization: Basic {VALUE}==", "authorization: Basic ***"),
        (f"X-Amz-Security-Token: {VALUE}\nHost: a", "X-Amz-Security-Token: ***\nHost: a"),
        (f"a=1&client_secret={VALUE}&b=2", "a=1&client_secret=***&b=2"),
        (f'{{"password": "{VALUE}", "a": 1}}', '{"password": "***", "a": 1}'),
        (f"aws_secret_access_key={VALUE}", "aws_secret_access_key=***"),
        (f"it sent Bearer {VALUE}.", "it sent Bearer ***"),
        (f"https://user:{VALUE}@example.com/a", "https://***@example.com/a"),
        ("token hf_" + "aB3" * 12 + " refused", "token *** refused"),
        ("key AKIA" + "ABCDEFGHIJKLMNOP", "key ***"),
        (f"assertion {JWT} is old", "assertion *** is old"),
        ("-----BEGIN EC PRIVATE " + "KEY-----\nQUJD\n-----END", "***-----END"),
    ],
)
def test_what_is_secret_by_its_form(text: str, left: str) -> None:
    assert redacted(text) == left
    nested = json.loads(redacted(json.dumps({"message": json.dumps({"said": text})})))
    assert VALUE not in nested["message"]
    assert json.loads(nested["message"])["said"]


@pytest.mark.parametrize(
    "text",
    [
        "Secret default/hf-token has no key HF_TOKEN",
        "annotation kaito.sh/api-key-secret names no Secret",
        "image registry.example/a@sha256:" + "0123456789abcdef" * 4,
        "https://example.com:8443/a@b?c=d",
        "basic node class ready; the bearer of bad news",
        "Basic authentication failed; Bearer authorization too",
        "machines API: 403 Refused: wrong token",
        "reconcileID 4f9a1c1e-0a55-4a39-9c8d-0d3a9d6f2b11",
    ],
)
def test_ordinary_words(text: str) -> None:
    assert redacted(text) == text


def test_long_words_take_no_long_time() -> None:
    begun = time.perf_counter()
    for text in ("a" * 100_000, "authorization" * 10_000, "x://" * 30_000, "bearer " * 20_000):
        redacted(text)
    assert time.perf_counter() - begun < 2.0


@pytest.mark.parametrize(
    "text",
    ["auth " + "x-" * 50_000, "-eyJ" * 50_000, "-----BEGIN PRIVATE " + "KEY-----\\" * 10_000],
    ids=["headers", "tokens", "keys"],
)
def test_a_servers_long_answer_stops_nothing(text: str) -> None:
    """Twice as long is to take twice the time, and not four times."""
    begun = time.perf_counter()
    redacted(text)
    assert time.perf_counter() - begun < 0.5


HEADERS = "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0F1E\n\n"


@pytest.mark.parametrize("end", ["", "-----END RSA PRIVATE " + "KEY-----\n"], ids=["cut", "whole"])
@pytest.mark.parametrize("headers", ["", HEADERS], ids=["plain", "encrypted"])
def test_what_stands_beside_a_key_stays(headers: str, end: str) -> None:
    key = "-----BEGIN RSA PRIVATE " + f"KEY-----\n{headers}QUJD/+{VALUE[:3]}\r\nREVG==\n{end}"
    line = {"message": key, "level": "ERROR", "object": "default/phi-4", "error": "it's said"}
    told = json.loads(redacted(json.dumps(line)))
    assert {**told, "message": ""} == {**line, "message": ""}
    assert told["message"].startswith("***")
    nested = json.loads(redacted(json.dumps({"said": json.dumps(line), "level": "INFO"})))
    assert nested["level"] == "INFO"
    inner = json.loads(nested["said"])
    assert {**inner, "message": ""} == {**line, "message": ""}
    for shown in (told["message"], inner["message"]):
        assert not {"QUJD", "REVG", "0F1E"} & set(re.findall(r"\w+", shown))


def test_lines_of_logs_and_errors_of_clouds() -> None:
    said = f"403: I do not like Authorization: Bearer {VALUE}"
    record = logging.LogRecord("a", logging.ERROR, "", 0, "%s", (said,), None)
    line = json.loads(JsonFormatter().format(record))
    assert line["message"] == "403: I do not like Authorization: Bearer ***"
    assert VALUE not in str(CloudUnavailableError(said))
    assert VALUE not in CreateError("Refused", said).message
