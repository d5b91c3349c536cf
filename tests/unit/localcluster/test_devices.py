"""What the device plugin says, in the kubelet's words and bytes."""

from __future__ import annotations

import json
from pathlib import Path

from localcluster.deviceapi import message
from localcluster.deviceplugin import Devices


def test_the_file_is_what_is_advertised(tmp_path: Path) -> None:
    file = tmp_path / "devices.json"
    file.write_text(json.dumps({"count": 2, "healthy": True, "delaySeconds": 3}))
    assert Devices.read(file) == Devices(2, True, 3)
    assert Devices.read(file).listing() == [("GPU-0", "Healthy"), ("GPU-1", "Healthy")]


def test_sick_devices_are_still_told() -> None:
    assert Devices(1, healthy=False).listing() == [("GPU-0", "Unhealthy")]


def test_devices_have_the_bytes_of_v1beta1() -> None:
    device = message("Device")(ID="GPU-0", health="Healthy")
    assert device.SerializeToString() == b"\x0a\x05GPU-0\x12\x07Healthy"


def test_a_map_has_the_bytes_of_its_entries() -> None:
    response = message("ContainerAllocateResponse")()
    response.envs.add(key="A", value="1")
    assert response.SerializeToString() == b"\x0a\x06\x0a\x01A\x12\x011"


def test_a_registration_names_the_version_first() -> None:
    request = message("RegisterRequest")(version="v1beta1", endpoint="e", resource_name="r")
    assert request.SerializeToString() == b"\x0a\x07v1beta1\x12\x01e\x1a\x01r"
