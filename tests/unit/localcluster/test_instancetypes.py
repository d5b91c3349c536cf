"""The types of machines: one catalog, told twice, and changes that last."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from localcluster.instancetypes import Faults, InstanceTypes

PROVIDERS_CATALOG = Path(__file__).parents[3] / "cloudproviders/local/catalog.yaml"


def test_the_provider_knows_the_same_types(tmp_path: Path) -> None:
    told = {item["name"]: item for item in yaml.safe_load(PROVIDERS_CATALOG.read_text())["types"]}
    ours = InstanceTypes(tmp_path / "types.json").list()
    assert set(told) == {item.name for item in ours}
    for item in ours:
        there = told[item.name]
        assert (there["cpus"], there["memoryGiB"]) == (item.cpus, item.memory_gib)
        gpu = there.get("gpu")
        assert (gpu is None) == (item.gpu is None)
        if item.gpu is not None:
            known = (gpu["count"], gpu["model"], gpu["memoryGiB"])
            assert known == (item.gpu.count, item.gpu.model, item.gpu.memory_gib)


def test_changes_outlive_the_daemon(tmp_path: Path) -> None:
    InstanceTypes(tmp_path / "types.json").change("local-gpu-1", Faults(capacity=3, sick=True))
    found = InstanceTypes(tmp_path / "types.json").get("local-gpu-1")
    assert found is not None
    assert (found.capacity, found.sick) == (3, True)


def test_what_is_not_given_stays_and_none_is_given(tmp_path: Path) -> None:
    types = InstanceTypes(tmp_path / "types.json")
    types.change("local-gpu-1", Faults(capacity=3, boot_seconds=9))
    changed = types.change("local-gpu-1", Faults(capacity=None))
    assert (changed.capacity, changed.boot_seconds) == (None, 9)


def test_unknown_types_cannot_be_changed(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        InstanceTypes(tmp_path / "types.json").change("local-tpu", Faults(sick=True))
