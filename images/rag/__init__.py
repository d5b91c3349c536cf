"""The retrieval service: documents in, the right passages out, and answers that name them.

An image of its own. Of ours it knows `apis.container`, and what it copies from `oci`, `hub` and
`serving`. Data first (`documents`, `errors`), then what is decided (chunks, ranks, budgets), then
the thin shell of HTTP around it.
"""
