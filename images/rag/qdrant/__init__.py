"""Indexes in a Qdrant server: a collection each, with dense and sparse vectors of the same chunks.

The server finds and filters; ranks are fused here, by the same code as for indexes in memory, so
that a score means the same. Several replicas of the service may share a server.
"""
