"""Step: what a RAGEngine names must be there, before a node is paid for and a pod waits for it.

A pod whose Secret is absent hangs without a word that a user would find. Secrets are not watched:
they are asked for in the rounds in which a new pod may need them. Pure.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from apis import container
from apis.errors import describe
from apis.kaito.v1beta1.ragengine import RAGEngine
from apis.kaito.validation import rag as rules
from apis.kaito.validation.rag import settings as settings_rules
from kube.meta import Key
from kube.objects import Unstructured
from workspace_controller import namesakes
from workspace_controller.errors import UserError
from workspace_controller.manifests import ragenvironment
from workspace_controller.manifests.ragenvironment import SecretUse
from workspace_controller.plan import Plan
from workspace_controller.ragengine import conditions as c
from workspace_controller.ragengine.observed import Observed
from workspace_controller.settings import Settings

POLICY_TEMPLATE = "ragengine-guardrails-policy-template"
"""In the release's namespace: upstream's name for the policy of those who name none."""
_GUARDRAILS = "spec.guardrails"
_AGAIN_SECONDS = 10.0


def references(engine: RAGEngine, seen: Observed, settings: Settings) -> Plan:
    """Nothing; raises UserError for what is lacking, or what admission would have refused."""
    if seen.namesake:
        said = namesakes.message(engine, seen.namesake)
        raise UserError(c.SERVICE_READY, namesakes.REASON_NAME_TAKEN, said)
    if seen.foreign:
        said = f"{seen.foreign} exists and is not this RAGEngine's; delete it, or create this one"
        raise UserError(
            c.SERVICE_READY,
            namesakes.REASON_NAME_TAKEN,
            f"{said} anew under another name",
            look_again=_AGAIN_SECONDS,
        )
    _refuse_invalid(engine, seen, settings)
    _refuse_missing_claim(engine, seen)
    _refuse_missing_policy(engine, seen)
    for use in ragenvironment.secrets(engine):
        _refuse_missing_secret(engine, use, seen.secrets)
    return Plan()


def to_ask_for(engine: RAGEngine, seen: Observed) -> tuple[str, ...]:
    """The Secrets that a next pod needs, and that no running pod shows to be there."""
    ready = engine.condition(c.SERVICE_READY)
    current = ready.observed_generation == engine.metadata.generation
    known = _in_use(seen.deployment) if ready.status == "True" and current else frozenset()
    names = (each.name for each in ragenvironment.secrets(engine))
    return tuple(dict.fromkeys(name for name in names if name not in known))


def config_key(engine: RAGEngine, release: str) -> Key | None:
    """The ConfigMap that the guardrails policy comes from; `release` is its namespace."""
    asked = ragenvironment.guardrails(engine)
    if not asked.enabled:
        return None
    if asked.config_map_ref is not None:
        return Key(engine.metadata.namespace, asked.config_map_ref.name)
    return Key(release, POLICY_TEMPLATE)


def settings_key(engine: RAGEngine) -> Key | None:
    """The ConfigMap that sets what its service does."""
    name = settings_rules.config_map_name(engine)
    return Key(engine.metadata.namespace, name) if name else None


def config_index(release: str) -> Callable[[RAGEngine], tuple[str, ...]]:
    """By the policy's ConfigMap, and that of the settings."""

    def index(engine: RAGEngine) -> tuple[str, ...]:
        found = (config_key(engine, release), settings_key(engine))
        return tuple(dict.fromkeys(str(key) for key in found if key is not None))

    return index


def claim_index(engine: RAGEngine) -> tuple[str, ...]:
    """By the claim that it names."""
    asked = ragenvironment.volume(engine)
    return (str(Key(engine.metadata.namespace, asked.persistent_volume_claim)),) if asked else ()


def _refuse_invalid(engine: RAGEngine, seen: Observed, settings: Settings) -> None:
    """What admission would have said: the webhook may have been away, or the facts have changed."""
    there = (each for each in (seen.config, seen.settings) if each is not None)
    data = {each.metadata.key: each.data for each in there}
    namespace = engine.metadata.namespace
    facts = dataclasses.replace(
        settings.facts, config_map=lambda name: data.get(Key(namespace, name))
    )
    errors = rules.validate_create(engine, facts)
    policy = [each for each in errors if each.path.startswith(_GUARDRAILS)]
    chosen = [each for each in errors if each.path == settings_rules.PATH]
    lacks = settings_key(engine) is not None and seen.settings is None
    for reason, found in (
        (c.REASON_INVALID, [each for each in errors if each not in (*policy, *chosen)]),
        (c.REASON_POLICY_NOT_FOUND, policy),
        (c.REASON_SETTINGS_NOT_FOUND if lacks else c.REASON_SETTINGS_INVALID, chosen),
    ):
        if message := describe(found):
            raise UserError(c.SERVICE_READY, reason, message)


def _refuse_missing_claim(engine: RAGEngine, seen: Observed) -> None:
    asked = ragenvironment.volume(engine)
    if asked is None or seen.volume_claim is not None:
        return
    name, namespace = asked.persistent_volume_claim, engine.metadata.namespace
    raise UserError(
        c.SERVICE_READY,
        c.REASON_CLAIM_NOT_FOUND,
        "spec.storage.persistentVolume.persistentVolumeClaim: there is no PersistentVolumeClaim "
        f'"{name}" in namespace "{namespace}"; create it, and the service follows',
    )


def _refuse_missing_policy(engine: RAGEngine, seen: Observed) -> None:
    asked = ragenvironment.guardrails(engine)
    if not asked.enabled or asked.config_map_ref is not None:
        return
    data = seen.config.data if seen.config else {}
    if container.RAG_GUARDRAILS_KEY not in data:
        raise UserError(
            c.SERVICE_READY,
            c.REASON_POLICY_NOT_FOUND,
            f"{_GUARDRAILS}: the release's namespace has no ConfigMap {POLICY_TEMPLATE} with the "
            f"key {container.RAG_GUARDRAILS_KEY}; name one of your own in configMapRef",
        )


def _refuse_missing_secret(
    engine: RAGEngine, use: SecretUse, found: Mapping[str, frozenset[str] | None]
) -> None:
    if use.name not in found:
        return  # it was not asked for: a running pod has it
    keys, namespace = found[use.name], engine.metadata.namespace
    remedy = f"kubectl -n {namespace} create secret generic {use.name} --from-literal="
    remedy += f"{use.key or next(iter(use.keys), 'key')}=…"
    if keys is None:
        raise UserError(
            c.SERVICE_READY,
            c.REASON_SECRET_NOT_FOUND,
            f'{use.field}: there is no Secret "{use.name}" in namespace "{namespace}": {remedy}',
            look_again=_AGAIN_SECONDS,
        )
    if use.key and use.key not in keys:
        raise UserError(
            c.SERVICE_READY,
            c.REASON_SECRET_KEY_NOT_FOUND,
            f'{use.field}: Secret "{use.name}" has no key {use.key}; its value is looked for there',
            look_again=_AGAIN_SECONDS,
        )
    if use.keys:
        _refuse_other_keys(use, keys)


def _refuse_other_keys(use: SecretUse, keys: frozenset[str]) -> None:
    """A variable that is misspelt would be missing in the pod, and nobody would be told."""
    other = sorted(keys - set(use.keys))
    if keys and not other:
        return
    said = f"has {', '.join(other)}, by which none is opened" if other else "is empty"
    raise UserError(
        c.SERVICE_READY,
        c.REASON_STORE_KEYS_INVALID,
        f'{use.field}: Secret "{use.name}" {said}: the object store takes {", ".join(use.keys)}',
        look_again=_AGAIN_SECONDS,
    )


def _in_use(deployment: Unstructured | None) -> frozenset[str]:
    """Names of Secrets that the stored template needs."""
    return frozenset() if deployment is None else frozenset(_names(deployment.spec))


def _names(part: Any) -> Iterator[str]:
    if isinstance(part, Mapping):
        reference = part.get("secretKeyRef")
        if isinstance(reference, Mapping):
            yield str(reference.get("name", ""))
        yield from _each(name for name in (part.get("secretName"),) if name)
        for value in part.values():
            yield from _names(value)
    elif isinstance(part, list | tuple):
        for each in part:
            yield from _names(each)


def _each(names: Iterable[Any]) -> Iterator[str]:
    return (str(name) for name in names)
