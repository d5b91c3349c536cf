"""`secrets`: keys, tokens and passwords, by the patterns of detect-secrets.

Only its patterns are used: nothing is verified, so nothing goes to the network, and nothing is
written to a file. Where it would report less than what gives access (the first letters of a GitHub
token, the header of a private key), all of it is replaced.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from detect_secrets.plugins.artifactory import ArtifactoryDetector
from detect_secrets.plugins.aws import AWSKeyDetector
from detect_secrets.plugins.azure_storage_key import AzureStorageKeyDetector
from detect_secrets.plugins.basic_auth import BasicAuthDetector
from detect_secrets.plugins.cloudant import CloudantDetector
from detect_secrets.plugins.discord import DiscordBotTokenDetector
from detect_secrets.plugins.github_token import GitHubTokenDetector
from detect_secrets.plugins.gitlab_token import GitLabTokenDetector
from detect_secrets.plugins.high_entropy_strings import (
    Base64HighEntropyString,
    HexHighEntropyString,
)
from detect_secrets.plugins.ibm_cloud_iam import IbmCloudIamDetector
from detect_secrets.plugins.ibm_cos_hmac import IbmCosHmacDetector
from detect_secrets.plugins.keyword import (
    DENYLIST_REGEX,
    PRECEDED_BY_EQUAL_COMPARISON_SIGNS_QUOTES_REQUIRED_REGEX,
    QUOTES_REQUIRED_DENYLIST_REGEX_TO_GROUP,
)
from detect_secrets.plugins.mailchimp import MailchimpDetector
from detect_secrets.plugins.openai import OpenAIDetector
from detect_secrets.plugins.pypi_token import PypiTokenDetector
from detect_secrets.plugins.sendgrid import SendGridDetector
from detect_secrets.plugins.slack import SlackDetector
from detect_secrets.plugins.softlayer import SoftlayerDetector
from detect_secrets.plugins.square_oauth import SquareOAuthDetector
from detect_secrets.plugins.stripe import StripeDetector
from detect_secrets.plugins.telegram_token import TelegramBotTokenDetector
from detect_secrets.plugins.twilio import TwilioKeyDetector

from rag.guardrails import patterns
from rag.guardrails.options import Options
from rag.guardrails.scanners.scanner import Scanner, SpanScanner
from rag.guardrails.spans import Rule, Rules, Span

MODES: Final = ("all", "partial", "hash")
_TOKENS: Final = (
    ArtifactoryDetector,
    AzureStorageKeyDetector,
    DiscordBotTokenDetector,
    GitHubTokenDetector,
    GitLabTokenDetector,
    MailchimpDetector,
    OpenAIDetector,
    PypiTokenDetector,
    SendGridDetector,
    SlackDetector,
    SquareOAuthDetector,
    StripeDetector,
    TelegramBotTokenDetector,
    TwilioKeyDetector,
)
"""The match is the secret."""
_ASSIGNED: Final = (
    AWSKeyDetector,
    BasicAuthDetector,
    CloudantDetector,
    IbmCloudIamDetector,
    IbmCosHmacDetector,
    SoftlayerDetector,
)
"""A group of the match is the secret, and the rest of it says of what."""
_COMPARED: Final = (
    rf"(?<!\w)(['\"`])([^'\"`]{{1,128}})(\1)[ \t]{{0,8}}[!=]{{2,3}}[ \t]{{0,8}}\w*{DENYLIST_REGEX}"
)
"""`"bar" == password`: with bounds, as detect-secrets' own one, after an apostrophe, would hold
back all of a line."""
_NPM: Final = r"//[^\s]+/:_authToken=[ \t]{0,8}(npm_[^\s]+|[A-Fa-f0-9-]{36})"
"""Likewise, after an address."""
_RANDOM: Final = (Base64HighEntropyString(4.5), HexHighEntropyString(3.0))
"""With upstream's limits of entropy, in bits a character."""
_KEY: Final = "[A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
_BLOCKS: Final = rf"-----BEGIN {_KEY}[\s\S]*?(?:-----END {_KEY}|\Z)"
_PUTTY: Final = r"PuTTY-User-Key-File-[23][\s\S]*?(?:Private-MAC: ?[0-9a-f]*|\Z)"
_OTHERS: Final = (
    r"eyJ[A-Za-z0-9_=-]{8,}\.[A-Za-z0-9_=-]+(?:\.[A-Za-z0-9_.+/=-]*)?",  # JSON web token
    r"\bhf_[A-Za-z0-9]{30,}",  # Hugging Face
    r"\bAIza[A-Za-z0-9_-]{35}",  # Google
    r"\bsk-(?:proj|ant|svcacct|admin)-[A-Za-z0-9_-]{20,}",  # OpenAI, Anthropic
    r"\bgithub_pat_[A-Za-z0-9_]{22,}",
)
"""Beyond detect-secrets, which knows none of these or finds them in part."""
_AROUND: Final = " \t\r\f\v=:\"'"
Replace = Callable[[str], str]


def build(options: Options) -> Scanner:
    replace = _REPLACE[options.choice("redact_mode", MODES, "all")]
    return SpanScanner(Rules(list(_rules(replace))))


_REPLACE: Final[dict[str, Replace]] = {
    "all": lambda _: "******",
    "partial": lambda secret: f"{secret[:2]}..{secret[-2:]}" if len(secret) > 8 else "******",
    "hash": lambda secret: hashlib.sha256(secret.encode()).hexdigest(),
}


def _rules(replace: Replace) -> Iterator[Rule]:
    for each in _patterns(_TOKENS):
        yield Rule(_line(each), _token(replace))
    for each in _patterns(_ASSIGNED):
        yield Rule(_line(each), _longest_group(replace))
    for pattern, group in QUOTES_REQUIRED_DENYLIST_REGEX_TO_GROUP.items():
        if pattern != PRECEDED_BY_EQUAL_COMPARISON_SIGNS_QUOTES_REQUIRED_REGEX:
            yield Rule(_line(pattern), _group(group, replace))
    yield Rule(patterns.read(_COMPARED, one_line=True), _group(2, replace))
    yield Rule(patterns.read(_NPM, one_line=True), _group(1, replace))
    for random in _RANDOM:
        yield Rule(_line(random.regex), _if_random(random, replace))
    for text in _OTHERS:
        yield Rule(patterns.read(text, one_line=True), _group(0, replace))
    for text in (_BLOCKS, _PUTTY):
        yield Rule(patterns.read(text), _group(0, replace))


def _patterns(detectors: Sequence[Any]) -> Iterator[re.Pattern[str]]:
    for detector in detectors:
        yield from detector.denylist


def _line(pattern: re.Pattern[str]) -> patterns.Pattern:
    """detect-secrets looks at each line by itself."""
    return patterns.read(pattern.pattern, pattern.flags, one_line=True)


def _group(group: int, replace: Replace) -> Callable[[Any], Sequence[Span]]:
    def accept(match: Any) -> Sequence[Span]:
        return (Span(match.start(group), match.end(group), replace(match[group])),)

    return accept


def _token(replace: Replace) -> Callable[[Any], Sequence[Span]]:
    """Without what some of the patterns take along from around it."""

    def accept(match: Any) -> Sequence[Span]:
        secret = match[0].strip(_AROUND)
        start = match.start() + match[0].index(secret)
        return (Span(start, start + len(secret), replace(secret)),)

    return accept


def _longest_group(replace: Replace) -> Callable[[Any], Sequence[Span]]:
    """Of these patterns the secret is the longest group; all of the match, where there is none."""

    def accept(match: Any) -> Sequence[Span]:
        found = range(1, match.re.groups + 1)
        group = max(found, key=lambda each: len(match[each] or ""), default=0)
        return _group(group if match[group] else 0, replace)(match)

    return accept


def _if_random(detector: Any, replace: Replace) -> Callable[[Any], Sequence[Span]]:
    def accept(match: Any) -> Sequence[Span]:
        entropy = detector.calculate_shannon_entropy(match[2])
        return _group(2, replace)(match) if entropy > detector.entropy_limit else ()

    return accept
