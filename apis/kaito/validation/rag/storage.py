"""Rules on what keeps the indexes (ours: upstream looks at none of it)."""

from __future__ import annotations

from apis import container
from apis.errors import Errors, FieldError
from apis.kaito import grammar, ragmessages
from apis.kaito.v1beta1.ragengine import RAGEngine, StorageSpec
from apis.kaito.validation.facts import Facts
from apis.kaito.validation.rag import names, parts, urls
from apis.kaito.validation.rag.judged import Judged

_PATH = "spec.storage"
_VOLUME = f"{_PATH}.persistentVolume"
_DATABASE = f"{_PATH}.vectorDB"


def claims(engine: RAGEngine, _: Facts) -> Errors:
    kept = _kept(engine)
    if kept.persistent_volume is not None:
        named = kept.persistent_volume.persistent_volume_claim
        yield from names.claim(f"{_VOLUME}.persistentVolumeClaim", named, needed=True)
    yield from names.claim(f"{_PATH}.persistentVolumeClaim", kept.persistent_volume_claim)


def mount_paths(engine: RAGEngine, _: Facts) -> Errors:
    kept = _kept(engine)
    if kept.persistent_volume is not None:
        yield from _mount_path(f"{_VOLUME}.mountPath", kept.persistent_volume.mount_path)
    yield from _mount_path(f"{_PATH}.mountPath", kept.mount_path)


def one_volume(engine: RAGEngine, _: Facts) -> Errors:
    """Both forms may stand beside each other, as the webhook writes them, and say the same."""
    kept = _kept(engine)
    nested, claim, path = kept.persistent_volume, kept.persistent_volume_claim, kept.mount_path
    if nested is None or not claim:
        return
    if claim != nested.persistent_volume_claim or (path and path != nested.mount_path):
        yield FieldError(f"{_PATH}.persistentVolumeClaim", ragmessages.ONE_VOLUME)


def database_engine(engine: RAGEngine, _: Facts) -> Errors:
    database = parts.database(engine)
    if database is not None and database.engine.lower() not in container.RAG_STORES:
        yield FieldError(f"{_DATABASE}.engine", ragmessages.ENGINE)


def database_url(engine: RAGEngine, _: Facts) -> Errors:
    """As R-3, where it is looked at."""
    database = parts.database(engine)
    if database is not None and database.engine.lower() == container.RAG_STORES[1]:
        yield from urls.service(f"{_DATABASE}.url", database.url)


def database_secret(engine: RAGEngine, _: Facts) -> Errors:
    database = parts.database(engine)
    if database is not None:
        yield from names.secret(f"{_DATABASE}.accessSecret", database.access_secret)


_NOTHING = StorageSpec()


def _kept(engine: RAGEngine) -> StorageSpec:
    return parts.storage(engine) or _NOTHING


def _mount_path(path: str, given: str) -> Errors:
    if given and not grammar.is_(grammar.MOUNT_PATH, given):
        yield FieldError(path, ragmessages.MOUNT_PATH)
    if grammar.is_(grammar.OWN_PATH, given):
        yield FieldError(path, ragmessages.OWN_PATH)


def _claims(engine: RAGEngine) -> object:
    kept = _kept(engine)
    nested = kept.persistent_volume
    return nested and nested.persistent_volume_claim, kept.persistent_volume_claim


def _mount_paths(engine: RAGEngine) -> object:
    kept = _kept(engine)
    nested = kept.persistent_volume
    return nested and nested.mount_path, kept.mount_path


def _both_forms(engine: RAGEngine) -> object:
    kept = _kept(engine)
    return kept.persistent_volume, kept.persistent_volume_claim, kept.mount_path


RULES = (
    Judged(claims, _claims),
    Judged(mount_paths, _mount_paths),
    Judged(one_volume, _both_forms),
    Judged(database_engine, parts.database),
    Judged(database_url, parts.database),
    Judged(database_secret, parts.database),
)
