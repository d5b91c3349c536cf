"""SIGTERM, from the first moment on: as the first process of a container, one without a handler
would not be told at all."""

from __future__ import annotations

import signal
from types import FrameType

from tuning.failures import InterruptedTrainingError


class Interruption:
    """Ends the work at once, but while steps are done: then the step is finished first."""

    def __init__(self) -> None:
        self.asked = False
        self._patient = False
        signal.signal(signal.SIGTERM, self._ask)

    def be_patient(self, patient: bool) -> None:
        """InterruptedTrainingError where it was asked for before."""
        self._patient = patient
        if self.asked:
            raise InterruptedTrainingError(_BETWEEN)

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        self.asked = True
        if not self._patient:
            raise InterruptedTrainingError(_BETWEEN)


_BETWEEN = "interrupted between the steps; the last checkpoint is kept"
