"""Pages that are written from code: fields from the models, commands from argparse, variables from
the settings. `python -m docs.generators [--check]`."""
