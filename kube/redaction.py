"""Secrets taken out of words that are not ours, before anybody reads them.

Services repeat what they were sent, and libraries put whole answers into their errors; those words
go to logs, events and conditions. What we know to be secret is not written in the first place; this
is for the rest, and goes by form: headers, fields and parameters that hold secrets by their name,
and tokens that show by themselves what they are. Pure.
"""

from __future__ import annotations

import re

HIDDEN = "***"

_VALUE = r"[^\s\"'\\,;&<>)}\]]"
_NAMES = (
    r"(?:proxy-)?authorization|x-amz-security-token|x-amz-credential|x-amz-signature|x-goog-signature"
    r"|x-api-key|api[-_]?key|(?:set-)?cookie|client[-_]?(?:secret|assertion)|pass(?:word|wd|phrase)"
    r"|(?:access|refresh|id|session|security|identity|bearer|registry|auth)[-_]?token"
    r"|(?:aws[-_]?)?secret[-_]?access[-_]?key|private[-_]?key|x-[a-z-]{0,40}token|sig|hf[-_]?token"
)
_PARTS = (
    # name: value, "name": "value" (also within JSON within JSON), name=value
    rf"\b(?P<name>{_NAMES})(?P<is>\\*[\"']?\s{{0,8}}[:=]\s{{0,8}}\\*[\"']?"
    rf"(?:(?:bearer|basic|token|negotiate)\s{{1,8}})?){_VALUE}{{2,}}",
    # A word of prose ("Basic authentication failed") has no digit in it, and ends soon.
    rf"\b(?P<scheme>bearer|basic)(?P<blank>\s{{1,8}})"
    rf"(?:(?={_VALUE}{{0,15}}[0-9]){_VALUE}{{12,}}|{_VALUE}{{16,}})",
    r"(?P<url>[a-z][a-z0-9+.-]{1,15}://)[^\s/:@\"'\\]{1,256}:[^\s/@\"'\\]{1,256}(?P<at>@)",
    r"\b(?:hf_|sk-|gh[pousr]_|glpat-|xox[abprs]-)[A-Za-z0-9_-]{16,}",
    r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    r"(?<![\w-])eyJ[A-Za-z0-9_-]{6,}\.eyJ[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_-]*)?",
    # Base64 with its lines' ends, also within JSON within JSON: what comes after it is kept.
    r"-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----"
    r"(?:(?:\s|\\{1,32}[nr]){0,4}(?:Proc-Type|DEK-Info):[ A-Za-z0-9,-]{1,80}){0,2}"
    r"(?:[A-Za-z0-9+/=\s]|\\{1,32}[nr/])*",
)
_SECRETS = re.compile("|".join(_PARTS), re.IGNORECASE)
_SIGNS = (
    *("auth", "token", "secret", "signature", "sig=", "sig:", 'sig"', "key", "pass", "cookie"),
    *("bearer", "basic", "credential", "assertion", "@", "hf_", "sk-", "gh", "glpat-", "xox"),
    *("akia", "asia", "eyj", "-----begin"),
)
"""Without one of them there is no secret: most lines are done with in microseconds."""
_KEPT = ("name", "is", "scheme", "blank", "url")


def redacted(text: str) -> str:
    """The text, in which `***` stands for what looks like a secret. JSON stays JSON."""
    lowered = text.lower()
    if not any(sign in lowered for sign in _SIGNS):
        return text
    return _SECRETS.sub(_hidden, text)


def _hidden(found: re.Match[str]) -> str:
    kept = "".join(found[name] or "" for name in _KEPT)
    return f"{kept}{HIDDEN}{found['at'] or ''}"
