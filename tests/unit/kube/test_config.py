import base64
import datetime
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kube import config
from kube.credentials import TokenFile
from tests.fakes.clock import FakeClock


@pytest.fixture(scope="module")
def pair() -> tuple[bytes, bytes]:
    """A certificate that is its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM), key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def a_kubeconfig(
    folder: Path, user: dict[str, Any], cluster: dict[str, Any] | None = None, name: str = "main"
) -> str:
    path = folder / f"{name}.yaml"
    content = {
        "current-context": name,
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "clusters": [{"name": name, "cluster": cluster or {"server": "http://localhost:1/"}}],
        "users": [{"name": name, "user": user}],
    }
    path.write_text(yaml.safe_dump(content))
    return str(path)


@pytest.mark.parametrize(
    ("user", "header"),
    [
        ({"token": "t"}, "Bearer t"),
        ({"username": "u", "password": "p"}, "Basic dTpw"),
        ({}, ""),
    ],
)
async def test_plain_credentials(tmp_path: Path, user: dict[str, str], header: str) -> None:
    endpoint = config.load(a_kubeconfig(tmp_path, user))
    assert endpoint.server == "http://localhost:1"
    assert endpoint.ssl is None
    assert await endpoint.credentials.authorization() == header


async def test_a_token_file_is_found_beside_its_kubeconfig(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-file\n")
    endpoint = config.load(a_kubeconfig(tmp_path, {"tokenFile": "token"}))
    assert await endpoint.credentials.authorization() == "Bearer from-file"


def test_certificates_as_data(tmp_path: Path, pair: tuple[bytes, bytes]) -> None:
    certificate, key = (base64.b64encode(part).decode() for part in pair)
    endpoint = config.load(
        a_kubeconfig(
            tmp_path,
            {"client-certificate-data": certificate, "client-key-data": key},
            {
                "server": "https://10.0.0.1",
                "certificate-authority-data": certificate,
                "tls-server-name": "kubernetes",
            },
        )
    )
    assert endpoint.ssl is not None
    assert endpoint.ssl.verify_mode is ssl.CERT_REQUIRED
    assert [each["serialNumber"] for each in endpoint.ssl.get_ca_certs()] == ["01"]
    assert endpoint.server_hostname == "kubernetes"


def test_certificates_as_files(tmp_path: Path, pair: tuple[bytes, bytes]) -> None:
    (tmp_path / "crt").write_bytes(pair[0])
    (tmp_path / "key").write_bytes(pair[1])
    endpoint = config.load(
        a_kubeconfig(
            tmp_path,
            {"client-certificate": "crt", "client-key": "key"},
            {"server": "https://10.0.0.1", "certificate-authority": "crt"},
        )
    )
    assert endpoint.ssl is not None
    assert len(endpoint.ssl.get_ca_certs()) == 1


def test_a_key_that_is_not_the_certificates_is_refused(
    tmp_path: Path, pair: tuple[bytes, bytes]
) -> None:
    other = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    user = {
        "client-certificate-data": base64.b64encode(pair[0]).decode(),
        "client-key-data": base64.b64encode(other).decode(),
    }
    with pytest.raises(ssl.SSLError):
        config.load(a_kubeconfig(tmp_path, user, {"server": "https://10.0.0.1"}))


def test_verification_is_left_out_only_on_demand(tmp_path: Path) -> None:
    cluster = {"server": "https://10.0.0.1", "insecure-skip-tls-verify": True}
    endpoint = config.load(a_kubeconfig(tmp_path, {}, cluster))
    assert endpoint.ssl is not None
    assert endpoint.ssl.verify_mode is ssl.CERT_NONE


async def test_of_several_files_the_first_wins(tmp_path: Path) -> None:
    one = a_kubeconfig(tmp_path, {"token": "1"}, {"server": "http://one"}, "one")
    two = a_kubeconfig(tmp_path, {"token": "2"}, {"server": "http://two"}, "two")
    joined = f"{tmp_path}/absent:{one}:{two}"
    assert config.load(joined).server == "http://one"
    other = config.kubeconfig(joined, "two")
    assert (other.server, await other.credentials.authorization()) == ("http://two", "Bearer 2")


@pytest.mark.parametrize(
    ("context", "says"), [("other", "no context 'other'"), ("dangling", "no cluster 'nowhere'")]
)
def test_what_is_missing_is_named(tmp_path: Path, context: str, says: str) -> None:
    path = a_kubeconfig(tmp_path, {})
    content = yaml.safe_load(Path(path).read_text())
    content["contexts"].append({"name": "dangling", "context": {"cluster": "nowhere"}})
    Path(path).write_text(yaml.safe_dump(content))
    with pytest.raises(config.ConfigError, match=says):
        config.kubeconfig(path, context)


def test_no_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(config.ConfigError, match="no such kubeconfig"):
        config.load(str(tmp_path / "absent"))


async def test_a_pod_has_its_own_account(tmp_path: Path, pair: tuple[bytes, bytes]) -> None:
    (tmp_path / "ca.crt").write_bytes(pair[0])
    (tmp_path / "token").write_text("mine")
    endpoint = config.in_cluster(root=tmp_path)
    assert endpoint.server == "https://kubernetes.default.svc"
    told = config.in_cluster(service="https://[fd00::1]:443", root=tmp_path)
    assert told.server == "https://[fd00::1]:443"
    assert endpoint.ssl is not None
    assert await endpoint.credentials.authorization() == "Bearer mine"


def test_outside_of_a_pod_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(config.ConfigError, match=r"ca\.crt does not exist"):
        config.in_cluster(root=tmp_path)


async def test_a_rotated_token_is_read_after_a_minute_or_a_refusal(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("1")
    clock = FakeClock()
    token = TokenFile(path, clock)
    assert await token.authorization() == "Bearer 1"
    path.write_text("2")
    clock.advance(59)
    assert await token.authorization() == "Bearer 1"
    clock.advance(1)
    assert await token.authorization() == "Bearer 2"
    path.write_text("3")
    token.refused()
    assert await token.authorization() == "Bearer 3"


async def test_an_exec_plugin_is_asked_and_asked_again(
    tmp_path: Path, pair: tuple[bytes, bytes]
) -> None:
    count = tmp_path / "count"
    plugin = tmp_path / "plugin"
    credential = (
        '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential",'
        '"status":{"token":"%s"}}'
    )
    plugin.write_text(
        f"#!/bin/sh\necho x >> {count}\nprintf '{credential}' \"t$(wc -l < {count})\"\n"
    )
    plugin.chmod(0o755)
    user = {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": str(plugin),
            "interactiveMode": "Never",
        }
    }
    cluster = {
        "server": "https://10.0.0.1:6443",
        "certificate-authority-data": base64.b64encode(pair[0]).decode(),
    }
    endpoint = config.load(a_kubeconfig(tmp_path, user, cluster))
    assert endpoint.server == "https://10.0.0.1:6443"
    assert await endpoint.credentials.authorization() == "Bearer t1"
    assert await endpoint.credentials.authorization() == "Bearer t1"
    endpoint.credentials.refused()
    assert await endpoint.credentials.authorization() == "Bearer t2"


def test_an_exec_plugin_needs_a_package_that_images_leave_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "kubernetes.client", None)
    path = a_kubeconfig(tmp_path, {"exec": {"command": "/bin/false"}})
    with pytest.raises(config.ConfigError, match=r"takes the package kubernetes.* use a token"):
        config.load(path)


def test_the_kubernetes_package_is_not_imported_without_need() -> None:
    code = "import kube.manager, kube.config, sys; print('kubernetes' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert printed.stdout.strip() == "False", printed.stderr
