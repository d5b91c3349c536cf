"""The protocols of AWS' services, as much as an emulator needs: what is asked, how to say no."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from urllib.parse import parse_qsl

_SCOPE = re.compile(r"Credential=(?P<key>[^/]+)/\d+/[^/]+/(?P<service>[^/]+)/")
_NODE_GROUP = re.compile(r"^/clusters/[^/]+/node-groups(?P<name>/[^/]+)?$")

EC2_NAMESPACE = "http://ec2.amazonaws.com/doc/2016-11-15/"


@dataclass(frozen=True, slots=True)
class Asked:
    """`action` is the API reference's name; `form` the parameters of EC2's query protocol."""

    service: str
    access_key: str
    action: str
    form: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes
    headers: Mapping[str, str]


def asked(method: str, path: str, headers: Mapping[str, str], body: bytes) -> Asked:
    scope = _SCOPE.search(headers.get("Authorization", ""))
    service = scope["service"] if scope else ""
    key = scope["key"] if scope else ""
    if target := headers.get("X-Amz-Target"):
        return Asked(service, key, target.rpartition(".")[2], {}, body)
    if service == "eks":
        return Asked(service, key, _eks_action(method, path), {}, body)
    form = dict(parse_qsl(body.decode(), keep_blank_values=True))
    return Asked(service, key, form.get("Action", ""), form, body)


def _eks_action(method: str, path: str) -> str:
    group = _NODE_GROUP.match(path.partition("?")[0])
    if group is None:
        return "DescribeCluster" if method == "GET" else ""
    if not group["name"]:
        return "CreateNodegroup" if method == "POST" else "ListNodegroups"
    return {"GET": "DescribeNodegroup", "DELETE": "DeleteNodegroup"}.get(method, "")


def refusal(service: str, code: str, message: str, status: int) -> Answer:
    """A service's error, in the service's protocol."""
    if service in {"ssm", "sqs"}:
        text = json.dumps({"__type": code, "message": message})
        return Answer(status, text.encode(), {"Content-Type": "application/x-amz-json-1.1"})
    if service == "eks":
        told = {"Content-Type": "application/json", "x-amzn-errortype": code}
        return Answer(status, json.dumps({"message": message}).encode(), told)
    error = f"<Error><Code>{escape(code)}</Code><Message>{escape(message)}</Message></Error>"
    if service == "iam":
        return xml(f"<ErrorResponse>{error}<RequestId>r</RequestId></ErrorResponse>", status)
    return xml(f"<Response><Errors>{error}</Errors><RequestID>r</RequestID></Response>", status)


def xml(text: str, status: int = 200) -> Answer:
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode()
    return Answer(status, body, {"Content-Type": "text/xml"})


def element(name: str, value: object) -> str:
    return f"<{name}>{escape(str(value))}</{name}>"


def numbered(form: Mapping[str, str], prefix: str) -> list[dict[str, str]]:
    """`prefix.1.a`, `prefix.1.b`, `prefix.2.a` … as a list of what follows the number."""
    found: dict[int, dict[str, str]] = {}
    for name, value in form.items():
        if name.startswith(f"{prefix}."):
            number, _, rest = name[len(prefix) + 1 :].partition(".")
            if number.isdigit():
                found.setdefault(int(number), {})[rest] = value
    return [found[number] for number in sorted(found)]
