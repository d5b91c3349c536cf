"""What the operator may set, and durations."""

from __future__ import annotations

from datetime import timedelta

import pytest

from cloudproviders.provider import GroupKind
from gpu_provisioner import duration, settings


def test_what_is_not_set_has_its_default() -> None:
    found = settings.from_environment({"CLOUD_PROVIDER": "local"})

    assert found == settings.Settings(cloud="local")
    assert (found.metrics_port, found.health_port) == (8080, 8081)
    assert found.timings.launch_timeout == 300
    assert found.timings.registration_timeout == 900


def test_what_is_set() -> None:
    found = settings.from_environment(
        {
            "CLOUD_PROVIDER": "local",
            "LOCAL_MACHINES_URL": "http://10.88.0.1:10700",
            "LOCAL_MACHINES_TOKEN_FILE": "/token",
            "KWOK_BOOT_SECONDS": "1",
            "LAUNCH_TIMEOUT": "60",
            "REGISTRATION_TIMEOUT": "1800",
            "INITIALIZATION_TIMEOUT": "-1",
            "GPU_REPAIR_TOLERATION": "30",
            "NODE_CLASSES": "EC2NodeClass.karpenter.k8s.aws, KaitoNodeClass.kaito.sh",
            "METRICS_PORT": "9090",
            "HEALTH_PROBE_PORT": "0",
            "LEADER_ELECT": "false",
            "LEADER_ELECTION_NAME": "other",
            "POD_NAMESPACE": "kaito",
            "POD_NAME": "gpu-provisioner-0",
            "KUBECONFIG": "/kubeconfig",
            "KUBERNETES_SERVICE_HOST": "fd00::1",
            "KUBERNETES_SERVICE_PORT": "443",
            "LOG_LEVEL": "debug",
            "WORKERS": "5",
            "NODE_REPAIR": "false",
        }
    )

    assert found == settings.Settings(
        cloud="local",
        cloud_settings={
            "LOCAL_MACHINES_URL": "http://10.88.0.1:10700",
            "LOCAL_MACHINES_TOKEN_FILE": "/token",
        },
        node_classes=(
            GroupKind("karpenter.k8s.aws", "EC2NodeClass"),
            GroupKind("kaito.sh", "KaitoNodeClass"),
        ),
        timings=settings.Timings(
            launch_timeout=60,
            registration_timeout=1800,
            initialization_timeout=0,
            gpu_toleration=30,
        ),
        metrics_port=9090,
        health_port=0,
        leader_election=False,
        lease_name="other",
        namespace="kaito",
        identity="gpu-provisioner-0",
        kubeconfig="/kubeconfig",
        api_server="https://[fd00::1]:443",
        log_level="DEBUG",
        workers=5,
        repair=False,
    )


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CLOUD_PROVIDER", ""),
        ("LAUNCH_TIMEOUT", "5m"),
        ("LAUNCH_TIMEOUT", "inf"),
        ("LAUNCH_TIMEOUT", "-5m"),
        ("NODE_CLASSES", "KaitoNodeClass"),
        ("METRICS_PORT", "-1"),
        ("LEADER_ELECT", "maybe"),
        ("NODE_REPAIR", "sometimes"),
    ],
)
def test_nonsense_is_named(variable: str, value: str) -> None:
    with pytest.raises(ValueError, match=variable):
        settings.from_environment({"CLOUD_PROVIDER": "local", variable: value})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("45s", timedelta(seconds=45)),
        ("1h30m", timedelta(minutes=90)),
        ("0s", timedelta()),
        ("Never", None),
        ("1d", None),
        ("1.5h", None),
        ("", None),
    ],
)
def test_durations(text: str, expected: timedelta | None) -> None:
    assert duration.parse(text) == expected
