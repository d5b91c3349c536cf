"""Documents into an index: split, embedded and stored, one stage beside the other.

results    what goes in, and what came of it
settings   sizes and limits
checking   what a request may hold
tokens     how long a text is for the embedding model
outline    headings of a Markdown text
pieces     where a text is cut: `text`, `markdown`, `code`
fitting    what is too long in parts that fit
sentences  where sentences begin
embedded   what is embedded of a chunk: title and headings, then its text
chunking   a document in chunks
caller     whether anybody still waits for them
judging    what is to be done with each document
groups     documents that are embedded and stored at once, and the vectors that can be kept
refusals   what the embedder does not take, found among what it does
pipeline   cut, embed, store
service    Ingester: put, update, delete
"""
