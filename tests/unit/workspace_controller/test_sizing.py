"""Node counts and flags by the installation's estimator."""

from __future__ import annotations

import dataclasses

import pytest

from presets.estimate import Estimator
from tests.builders import a_workspace, a_world, settings
from workspace_controller.workspace.sizing import size


@pytest.mark.parametrize(("estimator", "share"), [("fit", 0.92), ("kaito", 0.84)])
def test_the_installation_says_by_which_estimator(estimator: Estimator, share: float) -> None:
    installed = dataclasses.replace(settings(), estimator=estimator)
    sized = size(a_workspace(instance_type="local-gpu-1"), a_world(), installed)
    assert sized is not None
    assert sized.served is not None
    assert sized.served.fit.gpu_memory_utilization == share
