"""`python -m tuning`: train, evaluate, save, push. Exit codes are those of `apis.reports`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

from tuning import config as configs
from tuning import machine, settings
from tuning.failures import terminate, told
from tuning.interruption import Interruption
from tuning.settings import Settings


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Starts one process for each GPU where there are several, else does the work itself."""
    found = settings.read(arguments, environment, "tuning")
    with told(found.termination_log):
        interruption = Interruption()
        config = configs.load(found.config_file, found.method)
        if found.rank < 0:
            here = machine.found(found.device)
            count = machine.processes(here, found.processes, config.model.get("device_map"))
            if count > 1:
                program = ["-m", "tuning", *arguments]
                return machine.run(count, program, environment, gpu=here.gpu)
        _work(found, config, environment, interruption)
    return 0


def _work(
    found: Settings,
    config: configs.TrainingConfig,
    environment: Mapping[str, str],
    interruption: Interruption,
) -> None:
    from serving import machine as container

    # Before torch is imported, which counts the whole machine's cores.
    os.environ.setdefault("OMP_NUM_THREADS", str(container.cpus()))
    from tuning.run import Run

    run = Run(found, config, environment, interruption)
    if found.leads:
        run.board.serve(found.port)
    if line := run.work():
        terminate(found.termination_log, line)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
