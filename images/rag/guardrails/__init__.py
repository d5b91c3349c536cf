"""What of a model's answer may be seen.

`policy` (a file, read into values) → `scanners/` (one module a kind of scanner) → `pipeline` (all
of a policy's, one after another, over a whole text or a stream) → `guard` (the policy in force,
and reading it anew). Whatever cannot be scanned is not shown.
"""
