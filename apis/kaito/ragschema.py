"""Schema keywords that the versions of RAGEngine share; for their order see `schema`."""

from __future__ import annotations

from typing import Any

from apis.container import RAG_STORES
from apis.kaito import cel, grammar, messages, ragmessages, schema
from apis.model import Rule, rules

RAG_ENGINE: dict[str, Any] = rules(
    cel.ratcheted("has(self.spec)", ragmessages.SPEC, field=".spec"),
    Rule(
        f"{cel.CREATED} || self.metadata.name.matches('^{grammar.SERVICE_NAME}$')",
        ragmessages.NAME,
        field=".metadata",
        on_creation=True,
    ),
)
SPEC: dict[str, Any] = rules(
    cel.ratcheted("has(self.embedding)", ragmessages.EMBEDDING, field=".embedding"),
    Rule("has(self.compute) == has(oldSelf.compute)", messages.PRESENCE_KEPT, field=".compute"),
)

EMBEDDING: dict[str, Any] = rules(
    Rule("has(self.local) != has(self.remote)", ragmessages.ONE_EMBEDDING)
)
LOCAL: dict[str, Any] = rules(
    Rule(
        "(has(self.image) && self.image != '') != (has(self.modelID) && self.modelID != '')",
        ragmessages.ONE_LOCAL,
    )
)
MODEL_ID: dict[str, Any] = {
    "maxLength": 512,
    **rules(
        Rule("!self.startsWith('/')", ragmessages.MODEL_PATH),
        Rule(
            f"self == '' || self.startsWith('/') || {cel.whole(grammar.MODEL_ID)}",
            ragmessages.MODEL_ID,
        ),
    ),
}

URL: dict[str, Any] = {
    "maxLength": grammar.MAX_URL,
    **rules(Rule(cel.whole(grammar.SERVICE_URL), ragmessages.URL)),
}
OPTIONAL_URL: dict[str, Any] = {
    "maxLength": grammar.MAX_URL,
    **rules(Rule(f"self == '' || {cel.whole(grammar.SERVICE_URL)}", ragmessages.URL)),
}
CONTEXT_WINDOW: dict[str, Any] = {
    "format": "int64",
    **rules(Rule("self > 0", ragmessages.CONTEXT_WINDOW)),
}


def _named(message: str, *, needed: bool) -> dict[str, Any]:
    """An object of the namespace."""
    named = cel.whole(grammar.DNS_SUBDOMAIN)
    rule = named if needed else f"self == '' || {named}"
    return {**schema.OBJECT_NAME, **rules(Rule(rule, message))}


SECRET = _named(ragmessages.SECRET, needed=False)
CLAIM = _named(ragmessages.CLAIM, needed=True)
FLAT_CLAIM = _named(ragmessages.CLAIM, needed=False)
CONFIG_MAP = _named(ragmessages.CONFIG_MAP, needed=True)

ENGINE: dict[str, Any] = {
    "maxLength": 64,
    **rules(Rule(f"self.lowerAscii() in {cel.texts(RAG_STORES)}", ragmessages.ENGINE)),
}
VECTOR_DB: dict[str, Any] = rules(
    Rule(
        f"self.engine.lowerAscii() != 'qdrant' || {cel.whole(grammar.SERVICE_URL, 'self.url')}",
        ragmessages.URL,
        field=".url",
    )
)
DATABASE_URL: dict[str, Any] = {"maxLength": grammar.MAX_URL}
MOUNT_PATH: dict[str, Any] = {
    "maxLength": 512,
    **rules(
        Rule(f"self == '' || {cel.whole(grammar.MOUNT_PATH)}", ragmessages.MOUNT_PATH),
        Rule(f"!{cel.whole(grammar.OWN_PATH)}", ragmessages.OWN_PATH),
    ),
}
STORAGE: dict[str, Any] = rules(
    Rule(
        "!has(self.persistentVolume) || !has(self.persistentVolumeClaim)"
        " || self.persistentVolumeClaim == ''"
        " || self.persistentVolumeClaim == self.persistentVolume.persistentVolumeClaim"
        " && (!has(self.mountPath) || self.mountPath == ''"
        " || has(self.persistentVolume.mountPath)"
        " && self.mountPath == self.persistentVolume.mountPath)",
        ragmessages.ONE_VOLUME,
        field=".persistentVolumeClaim",
    )
)
