"""What the webhook server brings along into a controller's memory."""

from __future__ import annotations

import subprocess
import sys

_LOOK = """
import sys
import kube.admission
print("kubernetes" in sys.modules, "requests" in sys.modules)
import kubernetes.config
print(kubernetes.config.__name__)
"""


def test_the_kubernetes_package_is_neither_loaded_nor_lost() -> None:
    said = subprocess.run(
        [sys.executable, "-c", _LOOK], check=True, capture_output=True, text=True
    ).stdout
    assert said.split("\n")[:2] == ["False False", "kubernetes.config"]
