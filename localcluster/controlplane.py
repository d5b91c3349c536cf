"""etcd, kube-apiserver and, where nodes shall run, controller manager and scheduler.

Two uses. Alone on 127.0.0.1 with free ports it needs no root and is up in seconds: the
API server of integration tests. On the bridge's address, with `full=True`, it is the
control plane of a cluster with real kubelets.
"""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from localcluster import ports
from localcluster.binaries import Binaries
from localcluster.pki import Authority, Pair, kubeconfig, write_private
from localcluster.processes import Daemon, StartError, wait_until

SERVICES_CIDR = "10.96.0.0/16"
PODS_CIDR = "10.244.0.0/16"
_FIRST_SERVICE_ADDRESS = "10.96.0.1"
_READY_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class _Certificates:
    authority: Pair
    api_server: Pair
    etcd_server: Pair
    etcd_client: Pair
    kubelet_client: Pair
    service_accounts: Pair


class ControlPlane:
    """A control plane in a directory; everything about it, data included, lies there."""

    def __init__(
        self,
        directory: Path,
        binaries: Binaries | None = None,
        *,
        address: str = "127.0.0.1",
        secure_port: int = 0,
        full: bool = False,
        with_parent: bool = False,
        api_flags: Mapping[str, str] | None = None,
    ) -> None:
        """`secure_port` 0 is a free one; `with_parent` ends it all with the calling thread.
        `api_flags`: further flags of kube-apiserver, as for its audit log."""
        self._directory = directory
        self._binaries = binaries or Binaries()
        self._address = address
        self._secure_port = secure_port
        self._full = full
        self._with_parent = with_parent
        self._further_api_flags = dict(api_flags or {})

    @property
    def kubeconfig(self) -> Path:
        """The administrator's; there once `start` has returned."""
        return self._directory / "admin.kubeconfig"

    @property
    def authority(self) -> Authority:
        return Authority(self._directory / "pki")

    @property
    def server(self) -> str:
        """The API server's URL."""
        return f"https://{self._address}:{self._ports['api']}"

    @property
    def etcd_port(self) -> int:
        """Where etcd itself answers, to a client certificate."""
        return self._ports["etcd"]

    @property
    def running(self) -> bool:
        return all(daemon.process is not None for daemon in self._daemons())

    def start(self) -> None:
        """Start what does not run yet, and return once the API server is ready."""
        self._directory.mkdir(parents=True, exist_ok=True)
        names = ["etcd", "kube-apiserver"]
        if self._full:
            names += ["kube-controller-manager", "kube-scheduler"]
        programs = self._binaries.paths(names)
        certificates = self._certificates()
        self._start("etcd", programs["etcd"], self._etcd_flags(certificates))
        self._start("kube-apiserver", programs["kube-apiserver"], self._api_flags(certificates))
        self._write_kubeconfig("admin", "kubernetes-admin", "system:masters")
        if self._full:
            manager = "kube-controller-manager"
            self._write_kubeconfig("controller-manager", "system:kube-controller-manager")
            self._write_kubeconfig("scheduler", "system:kube-scheduler")
            self._start(manager, programs[manager], self._manager_flags(certificates))
            self._start("kube-scheduler", programs["kube-scheduler"], self._scheduler_flags())
        self._await_ready()

    def stop(self, grace_seconds: float = 10) -> None:
        """End all its programs; the data stays."""
        for daemon in reversed(self._daemons()):
            daemon.stop(grace_seconds)

    @property
    def _ports(self) -> dict[str, int]:
        chosen = ports.kept(self._directory / "ports.json", ["api", "etcd", "etcd-peer"])
        return {**chosen, "api": self._secure_port} if self._secure_port else chosen

    def _daemons(self) -> list[Daemon]:
        names = ["etcd", "kube-apiserver"]
        if self._full:
            names += ["kube-controller-manager", "kube-scheduler"]
        return [self._daemon(name) for name in names]

    def _daemon(self, name: str) -> Daemon:
        return Daemon(name, self._directory / "run", self._directory / "logs")

    def _start(self, name: str, program: Path, flags: dict[str, str]) -> None:
        argv = [str(program), *(f"--{key}={value}" for key, value in flags.items())]
        self._daemon(name).start(argv, with_parent=self._with_parent)

    def _certificates(self) -> _Certificates:
        authority = self.authority
        names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"]
        addresses = [self._address, "127.0.0.1", _FIRST_SERVICE_ADDRESS, "localhost"]
        own_names = [*addresses, *names, "kubernetes.default.svc.cluster.local"]
        return _Certificates(
            authority=authority.pair,
            api_server=authority.server("api-server", own_names),
            etcd_server=authority.server("etcd-server", ["127.0.0.1", "localhost"]),
            etcd_client=authority.client("etcd-client", "kube-apiserver"),
            kubelet_client=authority.client("kubelet-client", "kube-apiserver", ["system:masters"]),
            service_accounts=authority.service_account_key(),
        )

    def _write_kubeconfig(self, name: str, user: str, group: str = "") -> None:
        client = self.authority.client(name, user, [group] if group else [])
        document = kubeconfig(self.server, self.authority.pair, client)
        write_private(self._directory / f"{name}.kubeconfig", document.encode())

    def _etcd_flags(self, certificates: _Certificates) -> dict[str, str]:
        client = f"https://127.0.0.1:{self._ports['etcd']}"
        peer = f"http://127.0.0.1:{self._ports['etcd-peer']}"
        return {
            "name": "local",
            "data-dir": str(self._directory / "etcd"),
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"local={peer}",
            "cert-file": str(certificates.etcd_server.certificate),
            "key-file": str(certificates.etcd_server.key),
            "client-cert-auth": "true",
            "trusted-ca-file": str(certificates.authority.certificate),
            "unsafe-no-fsync": "true",  # the cluster can be made anew; disks of laptops are slow
            "log-level": "warn",
        }

    def _api_flags(self, certificates: _Certificates) -> dict[str, str]:
        flags = {
            "etcd-servers": f"https://127.0.0.1:{self._ports['etcd']}",
            "etcd-cafile": str(certificates.authority.certificate),
            "etcd-certfile": str(certificates.etcd_client.certificate),
            "etcd-keyfile": str(certificates.etcd_client.key),
            "bind-address": self._address,
            "advertise-address": self._address,
            "secure-port": str(self._ports["api"]),
            "tls-cert-file": str(certificates.api_server.certificate),
            "tls-private-key-file": str(certificates.api_server.key),
            "client-ca-file": str(certificates.authority.certificate),
            "authorization-mode": "Node,RBAC",
            "enable-admission-plugins": "NodeRestriction",
            "service-cluster-ip-range": SERVICES_CIDR,
            "service-account-issuer": "https://kubernetes.default.svc",
            "service-account-key-file": str(certificates.service_accounts.certificate),
            "service-account-signing-key-file": str(certificates.service_accounts.key),
            "kubelet-client-certificate": str(certificates.kubelet_client.certificate),
            "kubelet-client-key": str(certificates.kubelet_client.key),
            "kubelet-preferred-address-types": "InternalIP",
            "allow-privileged": "true",
            "profiling": "false",
        }
        if not self._full:
            flags["endpoint-reconciler-type"] = "none"  # refuses loopback addresses
        return flags | self._further_api_flags

    def _manager_flags(self, certificates: _Certificates) -> dict[str, str]:
        return {
            "kubeconfig": str(self._directory / "controller-manager.kubeconfig"),
            "root-ca-file": str(certificates.authority.certificate),
            "cluster-signing-cert-file": str(certificates.authority.certificate),
            "cluster-signing-key-file": str(certificates.authority.key),
            "service-account-private-key-file": str(certificates.service_accounts.key),
            "use-service-account-credentials": "true",
            "leader-elect": "false",
            "secure-port": "0",
            "node-monitor-period": "2s",
            "node-monitor-grace-period": "30s",
            "profiling": "false",
        }

    def _scheduler_flags(self) -> dict[str, str]:
        return {
            "kubeconfig": str(self._directory / "scheduler.kubeconfig"),
            "leader-elect": "false",
            "secure-port": "0",
            "profiling": "false",
        }

    def _await_ready(self) -> None:
        def ready() -> bool:
            for daemon in self._daemons():
                daemon.require_running()
            return self._answers("/readyz")

        if not wait_until(ready, _READY_SECONDS):
            log = self._daemon("kube-apiserver").log
            raise StartError(f"kube-apiserver is not ready after {_READY_SECONDS:.0f} s; see {log}")

    def _answers(self, path: str) -> bool:
        """Whether the API server says ok, asked as the administrator."""
        admin = self.authority.client("admin", "kubernetes-admin", ["system:masters"])
        context = ssl.create_default_context(cafile=self.authority.pair.certificate)
        context.load_cert_chain(admin.certificate, admin.key)
        connection = http.client.HTTPSConnection(
            self._address, self._ports["api"], context=context, timeout=2
        )
        try:
            connection.request("GET", path)
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
