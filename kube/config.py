"""Where the API server is and how to prove who we are: kubeconfig files, or a pod's own account.

Plain kubeconfigs are read here. Only credentials that a program must fetch (exec plugins, OIDC)
go through the `kubernetes` package, imported when needed: it costs 200 ms and 40 MiB.
"""

from __future__ import annotations

import base64
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from kube.apiaddress import BY_NAME
from kube.credentials import Credentials, Fixed, Program, TokenFile

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_PROGRAM_KEYS = ("exec", "auth-provider")


class ConfigError(Exception):
    """The kubeconfig, or the pod's service account, does not say enough to connect."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One API server. `ssl` None means plain HTTP."""

    server: str
    ssl: ssl.SSLContext | None = None
    credentials: Credentials = field(default_factory=Fixed)
    server_hostname: str = ""
    proxy: str = field(default="", repr=False)
    """Its user and password may stand in it."""


def load(kubeconfig: str | None, *, service: str = BY_NAME) -> Endpoint:
    """The kubeconfig that is named (several joined by ':', as kubectl does), else the pod's own.

    `service` is the API server as pods see it (kube.apiaddress).
    """
    return _from_files(kubeconfig, "") if kubeconfig else in_cluster(service=service)


def in_cluster(*, service: str = BY_NAME, root: Path = SERVICE_ACCOUNT) -> Endpoint:
    """The service account that kubelet mounts into each pod."""
    authority = root / "ca.crt"
    if not authority.exists():
        raise ConfigError(f"no kubeconfig was given, and {authority} does not exist")
    return Endpoint(
        service, ssl.create_default_context(cafile=str(authority)), TokenFile(root / "token")
    )


def kubeconfig(path: str, context: str = "") -> Endpoint:
    """The named context of a kubeconfig, or its current one; raises ConfigError."""
    return _from_files(path, context)


def _from_files(path: str, context: str) -> Endpoint:
    config = _merged([Path(part).expanduser() for part in path.split(":") if part])
    chosen = context or config.current
    if not chosen:
        raise ConfigError(f"{path} has no current-context")
    where = _named(config.contexts, chosen, "context")
    cluster = _named(config.clusters, str(where.get("cluster", "")), "cluster")
    user = config.users.get(str(where.get("user", "")), {})
    if any(key in user for key in _PROGRAM_KEYS):
        return _through_program(path, chosen)
    server = str(cluster.get("server") or "http://localhost:8080")
    return Endpoint(
        server.rstrip("/"),
        _ssl_context(cluster, user) if server.startswith("https") else None,
        _credentials(user),
        str(cluster.get("tls-server-name", "")),
        str(cluster.get("proxy-url", "")),
    )


@dataclass(slots=True)
class _Config:
    clusters: dict[str, Mapping[str, Any]]
    contexts: dict[str, Mapping[str, Any]]
    users: dict[str, Mapping[str, Any]] = field(repr=False)
    current: str = ""


def _merged(paths: list[Path]) -> _Config:
    """The first file to name a thing wins, as with kubectl; relative paths are the file's own."""
    merged = _Config({}, {}, {})
    found = [path for path in paths if path.exists()]
    if not found:
        raise ConfigError(f"no such kubeconfig: {':'.join(map(str, paths))}")
    for path in found:
        content = yaml.safe_load(path.read_text()) or {}
        merged.current = merged.current or content.get("current-context") or ""
        for known, plural, singular in (
            (merged.clusters, "clusters", "cluster"),
            (merged.contexts, "contexts", "context"),
            (merged.users, "users", "user"),
        ):
            for entry in content.get(plural) or []:
                body = _absolute(entry.get(singular) or {}, path.parent)
                known.setdefault(entry["name"], body)
    return merged


def _absolute(entry: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
    files = ("certificate-authority", "client-certificate", "client-key", "tokenFile")
    return {
        key: str(folder / value) if key in files and value else value
        for key, value in entry.items()
    }


def _named(entries: Mapping[str, Mapping[str, Any]], name: str, kind: str) -> Mapping[str, Any]:
    if name not in entries:
        raise ConfigError(f"the kubeconfig has no {kind} {name!r}")
    return entries[name]


def _credentials(user: Mapping[str, Any]) -> Credentials:
    if user.get("token"):
        return Fixed(f"Bearer {user['token']}")
    if user.get("tokenFile"):
        return TokenFile(Path(user["tokenFile"]))
    if user.get("username"):
        pair = f"{user['username']}:{user.get('password', '')}"
        return Fixed(f"Basic {base64.b64encode(pair.encode()).decode()}")
    return Fixed()


def _ssl_context(cluster: Mapping[str, Any], user: Mapping[str, Any]) -> ssl.SSLContext:
    data = cluster.get("certificate-authority-data")
    context = ssl.create_default_context(
        cafile=cluster.get("certificate-authority") if not data else None,
        cadata=base64.b64decode(data).decode() if data else None,
    )
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    certificate = _pem(user, "client-certificate")
    key = _pem(user, "client-key")
    if certificate and key:
        # OpenSSL takes key pairs from files only; this one is gone once it is loaded.
        with tempfile.NamedTemporaryFile(prefix="kube-client-", suffix=".pem") as pair:
            pair.write(certificate + b"\n" + key)
            pair.flush()
            context.load_cert_chain(pair.name)
    return context


def _pem(user: Mapping[str, Any], name: str) -> bytes:
    if data := user.get(f"{name}-data"):
        return base64.b64decode(data)
    return Path(user[name]).read_bytes() if user.get(name) else b""


def _through_program(path: str, context: str) -> Endpoint:
    def load_configuration() -> Any:
        try:
            from kubernetes.client import Configuration
            from kubernetes.config import ConfigException, load_kube_config
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"{path}: context {context!r} asks a program for credentials, which takes the "
                "package kubernetes, and images leave it out; use a token or a service account"
            ) from error

        configuration = Configuration()
        try:
            load_kube_config(  # type: ignore[no-untyped-call]
                path, context, configuration, persist_config=False
            )
        except ConfigException as error:
            raise ConfigError(f"{path}: {error}") from error
        return configuration

    first = load_configuration()
    if not (first.api_key.get("BearerToken") or first.cert_file):
        raise ConfigError(f"the credential program of context {context!r} gave no credentials")
    context_ssl = ssl.create_default_context(cafile=first.ssl_ca_cert)
    if not first.verify_ssl:
        context_ssl.check_hostname = False
        context_ssl.verify_mode = ssl.CERT_NONE
    if first.cert_file:
        context_ssl.load_cert_chain(first.cert_file, first.key_file)
    return Endpoint(
        str(first.host).rstrip("/"),
        context_ssl,
        Program(load_configuration, first),
        str(first.tls_server_name or ""),
        str(first.proxy or ""),
    )
