"""What looks through the logs finds what it is for; else an empty result would say nothing."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.e2e import secrets_in_logs
from tests.e2e.secrets_in_logs import assert_none, find, of_kubeconfig

VALUE = "pl@nted/Secret+91?"
PEM = "-----BEGIN PRIVATE KEY-----\n" + "QUJD" * 16 + "\n-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(f"token {VALUE} refused", id="as it is"),
        pytest.param(json.dumps({"message": f"no {VALUE}"}), id="in JSON"),
        pytest.param(f"GET /?key={quote(VALUE, safe='')}", id="in a URL"),
        pytest.param(base64.b64encode(VALUE.encode()).decode(), id="in Base64"),
        pytest.param(base64.b64encode(f"user:{VALUE}".encode()).decode(), id="user and password"),
        pytest.param(base64.b64encode(f"a:{VALUE} and more".encode()).decode(), id="in the midst"),
        pytest.param(base64.urlsafe_b64encode(VALUE.encode()).decode(), id="URL-safe"),
        pytest.param(VALUE.encode().hex(), id="hexadecimal"),
    ],
)
def test_a_known_secret_is_found_in_every_spelling(line: str) -> None:
    logs = {"controller": f"started\n{line}\n", "pod": "started"}
    (found,) = list(find(logs, {"HF_TOKEN": VALUE}))[:1]
    assert str(found).startswith("controller:2 has HF_TOKEN, ")
    with pytest.raises(AssertionError) as told:
        assert_none(logs, {"HF_TOKEN": VALUE})
    assert VALUE not in str(told.value)


def test_a_line_of_a_key_is_enough() -> None:
    (found,) = find({"log": "x " + "QUJD" * 16}, {"key": PEM})
    assert found.what == "key, its line 1"


# Not whole in this file, lest scanners of sources find them.
LOOK_ALIKE = {
    "AWS": "AKIA" + "IOSFODNN7EXAMPLE",
    "GitHub": "ghp_" + "a" * 36,
    "a URL with a password": "https://user:hunter22@registry.example/v2/",
    "JSON web token": "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxIn0." + "c2lnbmF0dXJl",
    "private key": "-----BEGIN RSA " + "PRIVATE KEY-----",
    "Hugging Face": "hf_" + "aB3" * 12,
    "header": "Authorization: Bearer " + "abcDEF123456" * 3,
    "Azure storage": "AccountKey=" + "A" * 86 + "==",
    "Azure client secret": "abc8Q~" + "a" * 34,
    "pull secret": '{"auths": {"registry.example": {}}}',
}


@pytest.mark.parametrize("line", LOOK_ALIKE.values(), ids=LOOK_ALIKE)
def test_what_looks_like_a_secret_is_found(line: str) -> None:
    assert list(find({"log": f"INFO {line}"}, {}))


def test_ordinary_lines_are_let_be() -> None:
    lines = [
        '{"level": "INFO", "time": "2026-11-22T08:00:00.000+00:00", "logger": "kube.lease",'
        ' "message": "leader: pod-7f9c6d5b8-abcde"}',
        "image registry.example/a@sha256:" + "0123456789abcdef" * 4,
        "Secret default/hf-token has no key HF_TOKEN",
        "reconcileID 4f9a1c1e-0a55-4a39-9c8d-0d3a9d6f2b11 wsabc123def NodeClaimNotReady",
        "https://huggingface.co/org/model/resolve/0123456789012345678901234567890123456789/x",
        "ExecStart=/usr/bin/kubelet --bootstrap-kubeconfig=/var/lib/kubelet/bootstrap",
    ]
    assert list(find({"log": "\n".join(lines)}, {"token": VALUE})) == []


def test_short_secrets_are_refused() -> None:
    with pytest.raises(ValueError, match="plant a longer one"):
        secrets_in_logs.spellings("password", "short")


def test_secrets_of_a_kubeconfig(tmp_path: Path) -> None:
    key = base64.b64encode(PEM.encode()).decode()
    path = tmp_path / "kubeconfig"
    path.write_text(
        json.dumps(
            {
                "users": [
                    {"name": "a", "user": {"token": VALUE}},
                    {"name": "b", "user": {"client-key-data": key, "client-certificate-data": key}},
                ]
            }
        )
    )
    assert of_kubeconfig(path) == {
        "token of a in the kubeconfig": VALUE,
        "client key of b in the kubeconfig": PEM,
    }
