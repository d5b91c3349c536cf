"""What stands before a Python server of ours, as one pure ASGI middleware: keys, limit, stop.

`Front(app)` wraps any ASGI server's app; vLLM takes it as --middleware=serving.front.server.Front.
It reads its settings from the environment, once:

KAITO_API_KEYS_DIR   a mounted Secret, each file a key (container.API_KEYS_DIR): 401 without one
KAITO_RATE_LIMIT     requests that the engine works on at once, and as many may wait: 429 beyond
                     twice as many; `off` is no limit; unset is what vLLM says of itself, or none
KAITO_DRAIN_SECONDS  how long requests in work may go on after SIGTERM (stop.SECONDS)
KAITO_STAGES_FILE    where the processes of one server note when they began what (stages)

On SIGTERM /health turns 503 and new requests are refused with 503 and Retry-After; once the others
have ended, or the time is over, the server gets SIGINT and ends as it does by itself. So whoever
serves it must take SIGINT for an orderly end: vLLM does, and `uvicorn.run` does and returns.
SIGTERM is taken over when the lifespan starts: the server must have lifespan on.

`stages.begin(reports.LOAD, "...")` prints the line that the controller reads and notes the time;
READY comes from the middleware, once the lifespan has started, with the metrics of all before it:

kaito_startup_stage_seconds{stage}    download, load, compile, warm; ready is all of it
kaito_ratelimit_rejected_total

Both are in prometheus_client's default registry, in a directory of several processes too.
"""
