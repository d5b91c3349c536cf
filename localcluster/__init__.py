"""A real Kubernetes cluster on one Linux machine, for the quick start, tests and benchmarks.

How it is built, and what it is not: docs/localcluster.md.
"""
