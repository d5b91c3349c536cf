"""The cluster's certificates: one authority of its own, and what it signs.

All keys are P-256, made in a millisecond. Each file is written whole or not at all, and
what is there already is kept, so that a second start changes nobody's identity.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kube.x509 import AUTHORITY_USAGE, general_name, key_pem

LIFETIME = timedelta(days=3650)
_CLOCK_SKEW = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Pair:
    """The paths of a certificate and its key."""

    certificate: Path
    key: Path


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    temporary.rename(path)


class Authority:
    """A certificate authority in a directory; made at the first use."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._pair = self._self_signed()
        self._key = _load_key(self._pair.key)
        self._certificate = x509.load_pem_x509_certificate(self._pair.certificate.read_bytes())

    @property
    def pair(self) -> Pair:
        return self._pair

    def client(
        self, name: str, user: str, groups: Sequence[str] = (), *, into: Path | None = None
    ) -> Pair:
        """A client certificate for a Kubernetes user (common name) in groups (organizations)."""
        pair = _paths(into or self._directory, name)
        return self._signed(pair, user, groups, (), ExtendedKeyUsageOID.CLIENT_AUTH)

    def server(self, name: str, addresses: Sequence[str]) -> Pair:
        """A server certificate for DNS names and IP addresses."""
        pair = _paths(self._directory, name)
        return self._signed(pair, addresses[0], (), addresses, ExtendedKeyUsageOID.SERVER_AUTH)

    def service_account_key(self) -> Pair:
        """The key pair that signs service account tokens (`certificate` is the public key)."""
        pair = _paths(self._directory, "service-account")
        if not _complete(pair):
            key = ec.generate_private_key(ec.SECP256R1())
            write_private(pair.key, key_pem(key))
            public = key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            write_private(pair.certificate, public)
        return pair

    def _self_signed(self) -> Pair:
        pair = _paths(self._directory, "ca")
        if _complete(pair):
            return pair
        key = ec.generate_private_key(ec.SECP256R1())
        name = _distinguished("kaito-localcluster", ())
        certificate = (
            _builder(name, name, key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(AUTHORITY_USAGE, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .sign(key, hashes.SHA256())
        )
        return _store(pair, key, certificate)

    def _signed(
        self,
        pair: Pair,
        common_name: str,
        organizations: Sequence[str],
        addresses: Sequence[str],
        usage: x509.ObjectIdentifier,
    ) -> Pair:
        if _complete(pair):
            return pair
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _distinguished(common_name, organizations)
        builder = (
            _builder(subject, self._certificate.subject, key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), False
            )
        )
        if addresses:
            names = x509.SubjectAlternativeName([general_name(item) for item in addresses])
            builder = builder.add_extension(names, critical=False)
        return _store(pair, key, builder.sign(self._key, hashes.SHA256()))


def kubeconfig(server: str, authority: Pair, client: Pair) -> str:
    """A kubeconfig with everything inside, so that it can be copied anywhere."""

    def inline(path: Path) -> str:
        return base64.b64encode(path.read_bytes()).decode()

    cluster = {"server": server, "certificate-authority-data": inline(authority.certificate)}
    user = {
        "client-certificate-data": inline(client.certificate),
        "client-key-data": inline(client.key),
    }
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "localcluster", "cluster": cluster}],
        "users": [{"name": "localcluster", "user": user}],
        "contexts": [
            {"name": "localcluster", "context": {"cluster": "localcluster", "user": "localcluster"}}
        ],
        "current-context": "localcluster",
    }
    return yaml.safe_dump(document, sort_keys=False)


def _paths(directory: Path, name: str) -> Pair:
    return Pair(directory / f"{name}.crt", directory / f"{name}.key")


def _complete(pair: Pair) -> bool:
    return pair.key.exists() and pair.certificate.exists()  # the certificate is written last


def _store(pair: Pair, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> Pair:
    pair.certificate.unlink(missing_ok=True)
    write_private(pair.key, key_pem(key))
    write_private(pair.certificate, certificate.public_bytes(serialization.Encoding.PEM))
    return pair


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + LIFETIME)
    )


def _distinguished(common_name: str, organizations: Sequence[str]) -> x509.Name:
    return x509.Name(
        [
            *(x509.NameAttribute(NameOID.ORGANIZATION_NAME, item) for item in organizations),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{path} does not hold a P-256 key")
    return key
