"""Certificates: who is named, who signed, and that a second start changes nothing."""

from __future__ import annotations

import base64
from ipaddress import ip_address
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.x509.oid import NameOID

from localcluster.pki import Authority, Pair, kubeconfig


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "pki")


def _certificate(pair: Pair) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pair.certificate.read_bytes())


def _subject(pair: Pair, oid: x509.ObjectIdentifier) -> list[str]:
    return [str(item.value) for item in _certificate(pair).subject.get_attributes_for_oid(oid)]


def test_what_it_issues_is_signed_by_it(authority: Authority) -> None:
    issued = authority.client("admin", "kubernetes-admin")
    _certificate(issued).verify_directly_issued_by(_certificate(authority.pair))


def test_a_client_is_its_user_in_its_groups(authority: Authority) -> None:
    node = authority.client("node", "system:node:a", ["system:nodes"])
    assert _subject(node, NameOID.COMMON_NAME) == ["system:node:a"]
    assert _subject(node, NameOID.ORGANIZATION_NAME) == ["system:nodes"]


def test_a_server_is_known_by_names_and_addresses(authority: Authority) -> None:
    pair = authority.server("api", ["10.88.0.1", "kubernetes.default.svc"])
    names = _certificate(pair).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.IPAddress) == [ip_address("10.88.0.1")]
    assert names.get_values_for_type(x509.DNSName) == ["kubernetes.default.svc"]


def test_keys_are_private(authority: Authority) -> None:
    assert authority.pair.key.stat().st_mode & 0o077 == 0


def test_a_second_start_keeps_everybodys_identity(authority: Authority, tmp_path: Path) -> None:
    before = authority.client("admin", "kubernetes-admin").certificate.read_bytes()
    again = Authority(tmp_path / "pki")
    assert again.client("admin", "kubernetes-admin").certificate.read_bytes() == before
    assert again.pair.certificate.read_bytes() == authority.pair.certificate.read_bytes()


def test_a_pair_whose_certificate_was_not_written_any_more_is_made_anew(
    authority: Authority,
) -> None:
    broken = authority.client("admin", "kubernetes-admin")
    broken.certificate.unlink()
    mended = authority.client("admin", "kubernetes-admin")
    _certificate(mended).verify_directly_issued_by(_certificate(authority.pair))


def test_certificates_of_a_node_lie_with_the_node(authority: Authority, tmp_path: Path) -> None:
    pair = authority.client("kubelet", "system:node:a", into=tmp_path / "node")
    assert pair.key == tmp_path / "node/kubelet.key"


def test_a_kubeconfig_has_everything_inside(authority: Authority) -> None:
    client = authority.client("admin", "kubernetes-admin")
    document = yaml.safe_load(kubeconfig("https://10.88.0.1:6443", authority.pair, client))
    assert document["clusters"][0]["cluster"]["server"] == "https://10.88.0.1:6443"
    key = base64.b64decode(document["users"][0]["user"]["client-key-data"])
    assert key == client.key.read_bytes()
