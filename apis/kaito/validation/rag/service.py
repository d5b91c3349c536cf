"""Rules on the model that answers."""

from __future__ import annotations

from apis.errors import Errors, FieldError
from apis.kaito import ragmessages
from apis.kaito.v1beta1.ragengine import RAGEngine
from apis.kaito.validation.facts import Facts
from apis.kaito.validation.rag import names, parts, urls
from apis.kaito.validation.rag.judged import Judged

PATH = "spec.inferenceService"


def url(engine: RAGEngine, _: Facts) -> Errors:
    """R-3. Without one there is retrieval alone."""
    given = parts.service(engine).url
    if given:
        yield from urls.service(f"{PATH}.url", given)


def window(engine: RAGEngine, _: Facts) -> Errors:
    """R-4."""
    if parts.service(engine).context_window_size <= 0:
        yield FieldError(f"{PATH}.contextWindowSize", ragmessages.CONTEXT_WINDOW)


def secret(engine: RAGEngine, _: Facts) -> Errors:
    yield from names.secret(f"{PATH}.accessSecret", parts.service(engine).access_secret)


RULES = (
    Judged(url, lambda engine: parts.service(engine).url),
    Judged(window, lambda engine: parts.service(engine).context_window_size),
    Judged(secret, lambda engine: parts.service(engine).access_secret),
)
