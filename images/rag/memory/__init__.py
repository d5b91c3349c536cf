"""An index in memory: exact dense search, BM25, filters, and the fusion of both.

What a store that keeps the same on disk calls (`rag.storage`):

    analyzer = Analyzer("english")            # rag.memory.analysis; one for all indexes
    analyzer.signature                        # str; what was packed with another is packed anew
    analyzer.pack(text) -> bytes              # a chunk's terms for BM25, 6 bytes each

    index = MemoryIndex(dimension, analyzer)  # rag.memory.index
    packed = index.pack(batch)                # list[list[bytes]]: packed[i][j] is that of
                                              # batch.put[i].chunks[j]; to be stored beside it
    prepared = index.prepare(batch, packed)   # all that takes time or can fail; changes nothing,
                                              # and several may be prepared at once; packed may
                                              # be None
    ...                                       # the transaction on disk
    index.commit(prepared)                    # readers see all of it, or nothing; then small
                                              # segments are merged, in this thread
    index.apply(batch, packed=None)           # prepare and commit in one

    index.search(queries) -> Iterator[list[Hit]]  # any number of threads; never waits for a writer
    index.count() -> (documents, chunks)
    index.doc_ids() -> list[str]
    index.nbytes -> int                       # what it holds, but for what Python needs around

Restoring is `apply` in batches of any size; the bigger the quicker (25,000 chunks is a good one),
and with `packed` from disk no text is looked at. Commits take effect in the order in which they are
made. `put` replaces the document of that id wholly, `delete` of what is not there is no error,
and within one batch `delete` comes first; of two puts of one id the last one counts.

Raises EmbedderError in `prepare` and `search` where a vector has another dimension, or is not
finite.
"""
