"""No secret stands in a log: not one that we know, in any spelling, nor what looks like one.

`assert_none(logs, secrets)` is for the end of a run: `logs` are all texts by name (of the
controllers, of pods, what a demo printed; not the API server's audit log, which has bodies),
`secrets` what was planted, by a name that may be told. A failure names the log, the line and the
secret, and never repeats it.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import yaml
from detect_secrets.plugins import (
    aws,
    azure_storage_key,
    basic_auth,
    github_token,
    gitlab_token,
    jwt,
    npm,
    openai,
    private_key,
    pypi_token,
    slack,
    stripe,
)

SHORTEST = 8
"""Characters; what is shorter stands in any log by chance."""
_DETECTORS = (
    aws.AWSKeyDetector(),
    azure_storage_key.AzureStorageKeyDetector(),
    basic_auth.BasicAuthDetector(),
    github_token.GitHubTokenDetector(),
    gitlab_token.GitLabTokenDetector(),
    jwt.JwtTokenDetector(),
    npm.NpmDetector(),
    openai.OpenAIDetector(),
    private_key.PrivateKeyDetector(),
    pypi_token.PypiTokenDetector(),
    slack.SlackDetector(),
    stripe.StripeDetector(),
)
"""Those that go by a form; what goes by a word or by chance (entropy) would find names and
digests in every line of ours."""
_OWN = {
    "Hugging Face token": re.compile(r"\bhf_[A-Za-z0-9]{30,}"),
    "Authorization header": re.compile(r"\b(?:Bearer|Basic) [A-Za-z0-9+/._~=-]{16,}"),
    "Azure client secret": re.compile(r"\b[A-Za-z0-9_~.-]{3}\dQ~[A-Za-z0-9_~.-]{31,34}\b"),
    "Google API key": re.compile(r"\bAIza[0-9A-Za-z_-]{35}"),
    "registry credentials": re.compile(r'"auths?"\s*:\s*[{"]'),
}


@dataclass(frozen=True, slots=True)
class Found:
    """A secret in a log, without the secret."""

    log: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.log}:{self.line} has {self.what}"


def assert_none(logs: Mapping[str, str], secrets: Mapping[str, str]) -> None:
    """AssertionError that names every place."""
    found = list(find(logs, secrets))
    assert not found, "\n".join(map(str, found))


def find(logs: Mapping[str, str], secrets: Mapping[str, str]) -> Iterator[Found]:
    """Every place, the known ones first; ValueError where a secret is too short to look for."""
    for name, value in secrets.items():
        spelled = spellings(name, value)
        for log, text in logs.items():
            for how, spelling in spelled.items():
                if (at := text.find(spelling)) >= 0:
                    yield Found(log, _line(text, at), f"{name}, {how}")
                    break
    for log, text in logs.items():
        yield from _looking_like_one(log, text)


def spellings(name: str, value: str) -> dict[str, str]:
    """How the secret may stand in a log, by the name of the spelling."""
    value = value.strip()
    if len(value) < SHORTEST:
        raise ValueError(f"{name} has less than {SHORTEST} characters: plant a longer one")
    found = {
        "as it is": value,
        "as JSON": json.dumps(value)[1:-1],
        "as repr": repr(value)[1:-1],
        "URL-encoded": quote(value, safe=""),
        "URL-encoded as a path": quote(value),
        "URL-encoded as a form": quote_plus(value),
        "in hexadecimal": value.encode().hex(),
        **_base64(value.encode()),
    }
    if "-----BEGIN" in value:  # of a key, any line is too much
        body = [line for line in value.splitlines() if len(line) > 40 and "-----" not in line]
        found |= {f"its line {number}": line for number, line in enumerate(body, 1)}
    return found


def of_kubeconfig(path: Path) -> dict[str, str]:
    """Its tokens, passwords and private keys."""
    users = yaml.safe_load(path.read_text()).get("users") or []
    found: dict[str, str] = {}
    for each in users:
        for kind, value in _of_user(each.get("user") or {}):
            found[f"{kind} of {each['name']} in the kubeconfig"] = value
    return found


def _of_user(user: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for kind in ("token", "password"):
        if user.get(kind):
            yield kind, str(user[kind])
    if data := user.get("client-key-data"):
        yield "client key", base64.b64decode(data).decode()
    elif file := user.get("client-key"):
        yield "client key", Path(file).read_text()


def _base64(value: bytes) -> dict[str, str]:
    """Also as a part of something longer, as `user:password`, where it begins at any of three
    places of a group; and as URLs have it."""
    found = {}
    for offset, start in enumerate((0, 2, 3)):
        whole = base64.b64encode(b"\0" * offset + value).decode()
        inner = whole[start : (offset + len(value)) * 8 // 6]
        found[f"in Base64 (from byte {offset})"] = inner
        found[f"in URL-safe Base64 (from byte {offset})"] = inner.translate({43: "-", 47: "_"})
    return found


def _looking_like_one(log: str, text: str) -> Iterator[Found]:
    for number, line in enumerate(text.splitlines(), 1):
        for what in _kinds(line):
            yield Found(log, number, f"what looks like a secret ({what})")


def _kinds(line: str) -> Iterator[str]:
    for detector in _DETECTORS:
        if any(detector.analyze_string(line)):
            yield detector.secret_type
    for what, form in _OWN.items():
        if form.search(line):
            yield what


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1
