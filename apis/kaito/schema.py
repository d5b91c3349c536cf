"""Schema keywords that the versions of Workspace share.

Rules stand as low as they can: an API server judges a part again only where that part changes
(validation ratcheting), so what has become invalid keeps nobody from writing elsewhere. Limits on
lengths are there because the cost of a rule is estimated from them.
"""

from __future__ import annotations

from typing import Any

from apis.kaito import cel, grammar, messages
from apis.kaito.v1beta1.labels import RESERVED_SELECTOR_KEYS
from apis.model import Rule, rules

CONDITION: dict[str, Any] = {
    "type": "object",
    "required": ["lastTransitionTime", "message", "reason", "status", "type"],
    "properties": {
        "type": {
            "type": "string",
            "maxLength": 316,
            "pattern": (
                r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?"
                r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$"
            ),
        },
        "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
        "reason": {
            "type": "string",
            "minLength": 1,
            "maxLength": 512,
            "pattern": r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
        },
        "message": {"type": "string", "maxLength": 32768},
        "lastTransitionTime": {"type": "string", "format": "date-time"},
        "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
    },
}
"""metav1.Condition as KAITO's CRDs have it: reason and message are required."""

PRESERVED: dict[str, Any] = {
    "type": "object",
    "x-kubernetes-preserve-unknown-fields": True,
}
"""A part of Kubernetes' own API (pod template, volume source), kept whole and not described."""

EARLY_FORM: dict[str, Any] = {
    **PRESERVED,
    "description": "The form of the first articles. The webhook lifts what is in it to the root.",
}


WORKSPACE: dict[str, Any] = rules(
    Rule("!has(self.spec)", messages.AT_ROOT, field=".spec"),
    Rule(
        f"{cel.CREATED} || self.metadata.name.matches('^{grammar.DNS_LABEL}$')",
        messages.NAME,
        field=".metadata",
        on_creation=True,
    ),
    Rule(
        f"{cel.CREATED} || has(self.inference) != has(self.tuning)",
        messages.ONE_WORKLOAD,
        field=".inference",
        on_creation=True,
    ),
    Rule(
        "has(self.inference) == has(oldSelf.inference)", messages.PRESENCE_KEPT, field=".inference"
    ),
    Rule("has(self.tuning) == has(oldSelf.tuning)", messages.PRESENCE_KEPT, field=".tuning"),
    Rule(
        f"{cel.CREATED} || !has(self.tuning) || has(self.resource)",
        messages.TUNING_NODE,
        field=".resource",
        on_creation=True,
    ),
    Rule(
        f"{cel.CREATED} || !has(self.tuning) || self.?resource.?count.orValue(1) == 1",
        messages.TUNING_ONE_NODE,
        field=".resource.count",
        on_creation=True,
    ),
    Rule(
        f"{cel.CREATED} || !has(self.tuning) || !self.?resource.?partition.hasValue()",
        messages.TUNING_WHOLE,
        field=".resource.partition",
        on_creation=True,
    ),
)
INFERENCE: dict[str, Any] = rules(
    cel.ratcheted("has(self.preset) != has(self.template)", messages.ONE_SOURCE, field=".preset"),
    Rule("has(self.template) == has(oldSelf.template)", messages.PRESENCE_KEPT, field=".template"),
    Rule("has(self.preset) == has(oldSelf.preset)", messages.PRESENCE_KEPT, field=".preset"),
)

PRESET: dict[str, Any] = rules(
    Rule(
        "self.name == oldSelf.name"
        f" && {cel.same('accessMode', empty=repr('public'))}"
        f" && {cel.same('presetOptions', 'image')}"
        f" && {cel.same('presetOptions', 'modelAccessSecret')}"
        f" && {cel.same('presetOptions', 'imagePullSecrets', empty='[]')}",
        messages.KEPT,
    ),
    Rule(
        "self.?accessMode.orValue('public') != 'private'"
        " || self.?presetOptions.?image.orValue('') != ''",
        messages.PRIVATE_IMAGE,
        field=".presetOptions.image",
    ),
)
ACCESS_MODE: dict[str, Any] = {"enum": ["public", "private"], "maxLength": 16}
PRESET_NAME: dict[str, Any] = {"maxLength": 512}
OBJECT_NAME: dict[str, Any] = {"maxLength": 253}
OBJECT_NAMES: dict[str, Any] = {"maxItems": 32}

EXPRESSION: dict[str, Any] = rules(
    Rule("self.operator == 'In' && self.?values.orValue([]).size() == 1", messages.SELECTOR_PLAIN)
)
EXPRESSIONS: dict[str, Any] = {"maxItems": 32, "x-kubernetes-list-type": "atomic"}
EXPRESSION_KEY: dict[str, Any] = {"maxLength": 317}
EXPRESSION_VALUES: dict[str, Any] = {"maxItems": 32, "x-kubernetes-list-type": "atomic"}
LABEL: dict[str, Any] = {"maxLength": 63}


_RESERVED = cel.texts(sorted(RESERVED_SELECTOR_KEYS))
SELECTOR: dict[str, Any] = {
    "x-kubernetes-map-type": "atomic",
    **rules(
        Rule(
            f"{cel.pairs_within('self', 'oldSelf')} && {cel.pairs_within('oldSelf', 'self')}",
            messages.KEPT,
        ),
        Rule(
            "(!has(self.matchLabels) || self.matchLabels.size() == 0)"
            " && (!has(self.matchExpressions) || self.matchExpressions.size() == 0)"
            f" || has(self.matchLabels) && self.matchLabels.exists(k, !(k in {_RESERVED}))"
            " || has(self.matchExpressions)"
            f" && self.matchExpressions.exists(e, !(e.key in {_RESERVED}))",
            messages.SELECTOR_RESERVED,
        ),
    ),
}
COUNT: dict[str, Any] = rules(Rule("self == oldSelf", messages.KEPT))
RESOURCE: dict[str, Any] = rules(
    Rule(
        "has(self.partition) == has(oldSelf.partition)", messages.PRESENCE_KEPT, field=".partition"
    )
)
PARTITION: dict[str, Any] = rules(
    Rule("self == oldSelf", messages.KEPT),
    Rule("self.mode != 'mig' || !has(self.count)", messages.MIG_COUNT, field=".count"),
    Rule(
        f"self.mode != 'mig' || self.?profile.orValue('') in {cel.texts(grammar.MIG_PROFILES)}",
        messages.MIG_PROFILE,
        field=".profile",
    ),
    Rule(
        "self.mode != 'accelerator' || self.?profile.orValue('') == ''",
        messages.ACCELERATOR_PROFILE,
        field=".profile",
    ),
    Rule(
        "self.mode != 'accelerator' || has(self.count)", messages.ACCELERATOR_COUNT, field=".count"
    ),
)

ADAPTERS: dict[str, Any] = {
    "maxItems": 32,
    **rules(
        Rule(f"self.size() <= {grammar.MAX_ADAPTERS}", messages.MANY_ADAPTERS),
        Rule(
            "self.all(a, !has(a.source) || !has(a.source.name) || a.source.name == ''"
            " || self.exists_one(b, has(b.source) && has(b.source.name)"
            " && b.source.name == a.source.name))",
            messages.ADAPTER_NAMES,
        ),
    ),
}
ADAPTER: dict[str, Any] = rules(
    Rule("has(self.source)", messages.ADAPTER_SOURCE, field=".source"),
    Rule(
        "!has(self.source) || has(self.source.name)"
        f" && size(self.source.name) <= {grammar.MAX_SUBDOMAIN}"
        f" && {cel.whole(grammar.DNS_SUBDOMAIN, 'self.source.name')}",
        messages.ADAPTER_NAME,
        field=".source.name",
    ),
    Rule("self.?source.?urls.orValue([]).size() == 0", messages.ADAPTER_URLS, field=".source.urls"),
    Rule(
        "!has(self.source) || self.source.?urls.orValue([]).size() > 0"
        " || [self.source.?image.orValue('') != '', has(self.source.volumeSource),"
        " self.source.?huggingFace.orValue('') != ''].filter(x, x).size() == 1",
        messages.ADAPTER_ONE,
        field=".source",
    ),
)
STRENGTH: dict[str, Any] = {
    "maxLength": 32,
    **rules(
        Rule(f"{cel.whole(grammar.UNSIGNED_NUMBER)} && double(self) <= 1.0", messages.STRENGTH),
    ),
}
SOURCE_NAME: dict[str, Any] = {"maxLength": 512}
IMAGE: dict[str, Any] = {
    "maxLength": 512,
    **rules(
        Rule(f"self == '' || {cel.whole(grammar.IMAGE)}", messages.IMAGE),
        Rule(f"size(self) <= {grammar.MAX_IMAGE}", messages.IMAGE_LENGTH),
    ),
}
HUGGING_FACE: dict[str, Any] = {
    "maxLength": 512,
    **rules(Rule(f"self == '' || {cel.whole(grammar.HUGGING_FACE)}", messages.HUGGING_FACE)),
}

TUNING: dict[str, Any] = rules(
    cel.ratcheted("has(self.preset)", messages.TUNING_PRESET, field=".preset"),
    cel.ratcheted(
        f"has(self.method) && self.method.lowerAscii() in {cel.texts(grammar.METHODS)}",
        messages.TUNING_METHOD,
        field=".method",
    ),
    Rule(
        "!has(self.method) || !has(oldSelf.method)"
        " || self.method.lowerAscii() == oldSelf.method.lowerAscii()",
        messages.KEPT,
        field=".method",
    ),
    Rule("has(self.preset) == has(oldSelf.preset)", messages.PRESENCE_KEPT, field=".preset"),
    Rule(
        cel.same("input", "name"),
        messages.KEPT,
        field=".input.name",
    ),
)
METHOD: dict[str, Any] = {"maxLength": 64}
INPUT: dict[str, Any] = rules(
    cel.ratcheted(
        "[self.?urls.orValue([]).size() > 0, has(self.volumeSource),"
        " self.?image.orValue('') != '', self.?huggingFace.orValue('') != '']"
        ".filter(x, x).size() == 1",
        messages.TUNING_INPUT,
    ),
)
OUTPUT: dict[str, Any] = rules(
    cel.ratcheted(
        "has(self.volumeSource) != (self.?image.orValue('') != '')",
        messages.TUNING_OUTPUT,
    ),
    cel.ratcheted(
        "self.?image.orValue('') == '' || self.?imagePushSecret.orValue('') != ''",
        messages.PUSH_SECRET,
        field=".imagePushSecret",
    ),
)
