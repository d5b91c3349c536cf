"""KAITO's name for the probes of a model on several nodes."""

import sys

from serving.vllm.health import main

sys.exit(main())
