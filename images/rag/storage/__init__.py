"""Indexes on disk: one SQLite file each, one writer by a lock, followers beside it, snapshots.

What `apply` has returned from is in the file, and synced; memory, which answers searches, shows it
only then. docs/rag/persistence.md says what is guaranteed where.
"""
