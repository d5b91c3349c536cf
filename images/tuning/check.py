"""`python -m tuning.check`: everything that can be refused before weights and data are brought.

The config is judged by the classes that will take it, and the registry is asked whether it takes
the result.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

from apis import reports
from tuning import artifacts, machine, settings
from tuning import config as configs
from tuning.failures import told
from tuning.judge import judge


def main(words: Sequence[str], environment: Mapping[str, str]) -> int:
    """0; or the exit code of the first thing that is refused: 78 for the config, 77 for the
    registry."""
    found = settings.read(words, environment, "tuning.check")
    print(reports.line(reports.Stage(stage=reports.CHECK)), flush=True)
    with told(found.termination_log):
        config = configs.load(found.config_file, found.method)
        if found.output:
            artifacts.Repository(found.output, found.credentials, environment).check()
        here = machine.found(found.device, checking=True)
        judge(config, here, found.target_modules)
    print("tuning.check: the config can be trained with", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
