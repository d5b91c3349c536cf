#!/bin/sh
# KAITO's name for what joins the nodes of one model: leader or worker, with KAITO's flags.
exec python -m serving.vllm.cluster "$@"
