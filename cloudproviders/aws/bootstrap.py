"""User data: how a machine finds its cluster, and with which labels and taints it joins. Pure.

AL2023: a NodeConfig for nodeadm (awslabs.github.io/amazon-eks-ami/nodeadm), in a MIME archive.
Bottlerocket: TOML settings (bottlerocket.dev, settings.kubernetes). Custom: as the user wrote it.
"""

from __future__ import annotations

import base64
import json
import tomllib
from collections.abc import Mapping, Sequence
from email import message_from_string
from typing import Any

import yaml

from apis.karpenter.nodeclasses.ec2 import EC2NodeClassSpec
from apis.karpenter.v1 import labels as names
from apis.karpenter.v1.nodeclaim import Taint
from cloudproviders.aws.cluster import Cluster
from cloudproviders.aws.images import AL2023, BOTTLEROCKET, CUSTOM
from cloudproviders.errors import CreateError

LIMIT = 16 * 1024
"""Bytes of user data before base64 (EC2's limit)."""

BOUNDARY = "//"
_NODE_CONFIG = "application/node.eks.aws"
_SHELL = 'text/x-shellscript; charset="us-ascii"'

_KUBELET_MAY = (
    "kubernetes.io/hostname",
    "kubernetes.io/arch",
    "kubernetes.io/os",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
)
_KUBELET_DOMAINS = ("kubelet.kubernetes.io", "node.kubernetes.io")


def user_data(
    family: str,
    cluster: Cluster,
    spec: EC2NodeClassSpec,
    labels: Mapping[str, str],
    taints: Sequence[Taint],
) -> str:
    """CreateError where the family is unknown, the user's own part is no such document, or the
    whole is larger than EC2 takes."""
    labels = {key: value for key, value in labels.items() if settable(key)}
    if family == AL2023:
        text = _al2023(cluster, spec, labels, taints)
    elif family == BOTTLEROCKET:
        text = _bottlerocket(cluster, spec, labels, taints)
    elif family == CUSTOM:
        text = spec.user_data
    else:
        raise CreateError("UnsupportedAMIFamily", f"amiFamily {family!r} cannot be bootstrapped")
    if (size := len(text.encode())) > LIMIT:
        raise CreateError(
            "UserDataSizeLimitExceeded",
            f"user data is {size} bytes of {LIMIT}: shorten userData or the claim's labels",
        )
    return text


def encoded(text: str) -> str:
    """As launch templates want it."""
    return base64.b64encode(text.encode()).decode()


def settable(label: str) -> bool:
    """Whether a kubelet starts with the label: it refuses most of Kubernetes' own domains."""
    domain, slash, _ = label.partition("/")
    if not slash or label in _KUBELET_MAY:
        return True
    if any(domain == allowed or domain.endswith(f".{allowed}") for allowed in _KUBELET_DOMAINS):
        return True
    return not any(
        domain == own or domain.endswith(f".{own}") for own in ("kubernetes.io", "k8s.io")
    )


def _al2023(
    cluster: Cluster, spec: EC2NodeClassSpec, labels: Mapping[str, str], taints: Sequence[Taint]
) -> str:
    return _mime([(_NODE_CONFIG, _node_config(cluster, spec, labels, taints)), *_users_parts(spec)])


def _node_config(
    cluster: Cluster, spec: EC2NodeClassSpec, labels: Mapping[str, str], taints: Sequence[Taint]
) -> str:
    kubelet = spec.kubelet.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    config: dict[str, Any] = {
        "apiVersion": "node.eks.aws/v1alpha1",
        "kind": "NodeConfig",
        "spec": {
            "cluster": {
                "name": cluster.name,
                "apiServerEndpoint": cluster.endpoint,
                "certificateAuthority": cluster.ca,
                "cidr": cluster.cidr,
            },
            "kubelet": {
                "config": {**kubelet, "registerWithTaints": [_taint(each) for each in taints]},
                "flags": [f"--node-labels={_joined(labels)}"],
            },
        },
    }
    if spec.instance_store_policy:
        config["spec"]["instance"] = {"localStorage": {"strategy": spec.instance_store_policy}}
    return yaml.safe_dump(config, sort_keys=True, width=4096)


def _taint(taint: Taint) -> dict[str, str]:
    found = {"key": taint.key, "effect": taint.effect}
    return {**found, "value": taint.value} if taint.value else found


def _joined(labels: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


def _users_parts(spec: EC2NodeClassSpec) -> list[tuple[str, str]]:
    """The user's own: a NodeConfig, a script, or an archive of such, which is taken apart."""
    text = spec.user_data.strip()
    if not text:
        return []
    if text.startswith(("MIME-Version:", "Content-Type:")):
        return _taken_apart(text)
    try:
        is_config = isinstance(yaml.safe_load(text), dict)
    except yaml.YAMLError:
        is_config = False
    return [(_NODE_CONFIG if is_config else _SHELL, spec.user_data)]


def _taken_apart(text: str) -> list[tuple[str, str]]:
    archive = message_from_string(text)
    if not archive.is_multipart():
        raise CreateError("InvalidUserData", "userData is a MIME archive without parts")
    return [
        (str(part.get("Content-Type", _SHELL)), str(part.get_payload()))
        for part in archive.walk()
        if not part.is_multipart()
    ]


def _mime(parts: Sequence[tuple[str, str]]) -> str:
    lines = ["MIME-Version: 1.0", f'Content-Type: multipart/mixed; boundary="{BOUNDARY}"', ""]
    for kind, content in parts:
        lines += [f"--{BOUNDARY}", f"Content-Type: {kind}", "", content.rstrip("\n"), ""]
    return "\n".join([*lines, f"--{BOUNDARY}--", ""])


def _bottlerocket(
    cluster: Cluster, spec: EC2NodeClassSpec, labels: Mapping[str, str], taints: Sequence[Taint]
) -> str:
    try:
        told: dict[str, Any] = tomllib.loads(spec.user_data)
    except tomllib.TOMLDecodeError as wrong:
        raise CreateError("InvalidUserData", f"userData is no TOML: {wrong}") from wrong
    grouped: dict[str, list[str]] = {}
    for taint in taints:
        grouped.setdefault(taint.key, []).append(f"{taint.value}:{taint.effect}")
    ours: dict[str, Any] = {
        "api-server": cluster.endpoint,
        "cluster-certificate": cluster.ca,
        "cluster-name": cluster.name,
        "cluster-dns-ip": (spec.kubelet.cluster_dns or (cluster.dns,))[0],
        "node-labels": dict(labels),
        "node-taints": grouped,
    }
    if spec.kubelet.max_pods is not None:
        ours["max-pods"] = spec.kubelet.max_pods
    ours = {key: value for key, value in ours.items() if value}
    return "".join(_tables(_merged(told, {"settings": {"kubernetes": ours}})))


def _merged(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(base)
    for key, value in over.items():
        old = found.get(key)
        both = isinstance(old, dict) and isinstance(value, Mapping)
        found[key] = _merged(old, value) if both else value  # type: ignore[arg-type]
    return found


def _tables(table: Mapping[str, Any], path: tuple[str, ...] = ()) -> list[str]:
    """TOML: plain values of a table first, then its tables, each under its full name."""
    plain = {key: value for key, value in table.items() if not isinstance(value, dict)}
    lines = [f"[{'.'.join(json.dumps(part) for part in path)}]\n"] if path and plain else []
    lines += [f"{json.dumps(key)} = {_toml(value)}\n" for key, value in plain.items()]
    for key, value in table.items():
        if isinstance(value, dict):
            lines += _tables(value, (*path, key))
    return lines


def _toml(value: Any) -> str:
    """TOML's basic strings, numbers and booleans are JSON's."""
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        return (
            f"{{{', '.join(f'{json.dumps(key)} = {_toml(each)}' for key, each in value.items())}}}"
        )
    return json.dumps(value, default=str)


UNREGISTERED = Taint(key=names.UNREGISTERED_TAINT, effect="NoExecute")
"""Until registration nothing may land on the node."""
