"""The certificates of a webhook server: made by ourselves, or given. Pure, but for randomness.

An authority of our own signs the server's certificate. Both are replaced when two thirds of
their life are over. A new authority is trusted beside the old one, so that replicas which still
show the old certificate are believed until they show the new one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kube.x509 import AUTHORITY_USAGE, general_name, key_pem

AUTHORITY_LIFE = timedelta(days=3650)
SERVER_LIFE = timedelta(days=90)
_CLOCK_SKEW = timedelta(hours=1)
_MAX_COMMON_NAME = 64


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a server shows, and whom to trust so as to believe it. All PEM."""

    chain: bytes
    key: bytes = field(repr=False)
    authorities: bytes


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate of our own making, with what it takes to make the next. All PEM.

    `authorities` begins with the one that signs, whose key is `authority_key`.
    """

    authorities: bytes
    authority_key: bytes = field(repr=False)
    chain: bytes
    key: bytes = field(repr=False)

    @property
    def certificate(self) -> Certificate:
        return Certificate(self.chain, self.key, self.authorities)


def renewed(old: Issued | None, names: Iterable[str], now: datetime) -> Issued:
    """The same where it still has time, else the next. Unreadable counts as none."""
    names = tuple(names)
    try:
        if old is None:
            return _issue(*_authority(now), b"", names, now)
        signing, *former = x509.load_pem_x509_certificates(old.authorities)
        shown = x509.load_pem_x509_certificates(old.chain)[0]
        key = _load_key(old.authority_key)
    except ValueError:
        return _issue(*_authority(now), b"", names, now)
    if _due(signing, now):
        still = [each for each in (signing, *former) if each.not_valid_after_utc > now]
        return _issue(*_authority(now), b"".join(map(_pem, still)), names, now)
    if _due(shown, now) or not _named(shown, names):
        return _issue(signing, key, b"".join(map(_pem, former)), names, now)
    return old


def _due(certificate: x509.Certificate, now: datetime) -> bool:
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    return now >= certificate.not_valid_before_utc + life * 2 / 3


def _named(certificate: x509.Certificate, names: tuple[str, ...]) -> bool:
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return set(found) == set(map(general_name, names))


def _authority(now: datetime) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("kaito-webhook-ca")
    made = (
        _builder(name, name, key, now, AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(AUTHORITY_USAGE, critical=True)
        .sign(key, hashes.SHA256())
    )
    return made, key


def _issue(
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    former: bytes,
    names: tuple[str, ...],
    now: datetime,
) -> Issued:
    key = ec.generate_private_key(ec.SECP256R1())
    server = (
        _builder(_name(names[0]), authority.subject, key, now, SERVER_LIFE)
        .add_extension(x509.SubjectAlternativeName(map(general_name, names)), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    return Issued(_pem(authority) + former, key_pem(authority_key), _pem(server), key_pem(key))


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    now: datetime,
    life: timedelta,
) -> x509.CertificateBuilder:
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + life)
        .add_extension(identifier, critical=False)
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common[:_MAX_COMMON_NAME])])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _load_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("the authority's key is of another sort than ours")
    return key
