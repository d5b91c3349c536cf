"""Chat completions: a question answered from what an index holds, or handed on as it is.

In the order of a request: `fields` (what of the body is ours), `messages` (may it pass, and does it
want context), `query` (the question, and what came before), `tokens` and `budget` (what fits),
`prompt` (where it goes), `llm` (who answers), `guarded` (what of it may be seen), `citations`
(what it rests on), `stream` (the same, piece by piece). `service` puts them in a row.

Nothing here outlives a request but connections, token counts and the list of served models.
"""
