"""The server of the image and what PEFT says, for the tests of adapters."""

from tests.engines.serving.conftest import start

__all__ = ["start"]
