"""LoRA adapters beside the model: one directory each, brought by an init container.

Where the engine takes adapters while it runs, all that belongs to them is a hot part of the pod
template: new pods start with it, and running pods get it from a loader pod
(`workspace_controller.manifests.loader`), which has the same volumes and init containers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from apis import container
from apis.kaito.v1beta1.labels import RUNTIME_ADAPTERS_ANNOTATION
from apis.kaito.v1beta1.workspace import AdapterSpec, DataSource, Workspace
from kube.meta import Manifest
from presets.fits import Fit
from presets.model import Model
from workspace_controller.manifests import environment, ownership, security
from workspace_controller.manifests.volumes import Volumes, mounted

ADAPTERS_ANNOTATION = "kaito.sh/adapters"
"""On the pod template and on pods: JSON, adapter → hash of its source. What a pod was started
with, or has loaded since. Pods without it take no adapters while they run."""

COLD_ADAPTERS_ANNOTATION = "kaito.sh/adapters-at-start"
"""The same where the engine takes adapters only when it starts; another value, another pod."""

TOKEN_KEY = "token"  # noqa: S105  # the key in the Secret, not its value

_LONGEST_LABEL = 63
_VOLUME = "adapter-volume"
_TOKEN_VOLUME = "adapters-token"  # noqa: S105
_SOURCE_DIR = "/mnt/adapter-source"


@dataclass(frozen=True, slots=True)
class Bringer:
    """Who brings adapters into a pod: the serving image, with the user's token for the hub."""

    image: str
    token_secret: str = ""
    endpoint: str = ""
    """A mirror of huggingface.co; empty is the hub itself."""
    insecure_registries: str = ""
    """Those without TLS, separated by commas."""


def is_hot(name: str) -> bool:
    """Whether a volume or an init container belongs to adapters, which running pods get and lose
    without a restart."""
    return name.startswith((_VOLUME, "pull-", "puller-"))


def taken_at_run_time(workspace: Workspace, model: Model, fit: Fit) -> bool:
    """Whether the engine takes adapters while it runs.

    Room for them is set aside when it starts. That of a mixture of experts is a multiple of any
    other model's, so it is only set aside where somebody has adapters, or asks for it.
    """
    asked = workspace.metadata.annotations.get(RUNTIME_ADAPTERS_ANNOTATION, "")
    preset = workspace.inference.preset if workspace.inference else None
    if preset is None or preset.preset_options.image:
        return False  # nobody knows what an image of the user's own can do
    if fit.engine != "vllm" or fit.nodes > 1 or not model.lora or asked == "false":
        return False
    return not model.moe or asked == "true" or bool(of(workspace))


def of(workspace: Workspace) -> tuple[AdapterSpec, ...]:
    """The adapters that are asked for; one without a source is none."""
    given = workspace.inference.adapters if workspace.inference else ()
    return tuple(spec for spec in given if spec.source is not None)


def hashes(workspace: Workspace) -> dict[str, str]:
    """Adapter → hash of where it comes from and how strong it is."""
    return {spec.source.name: _hash(spec) for spec in of(workspace) if spec.source is not None}


def template_annotations(workspace: Workspace, *, hot: bool) -> dict[str, str]:
    """What the pod template says about its adapters."""
    found = hashes(workspace)
    if not hot and not found:
        return {}
    return {ADAPTERS_ANNOTATION if hot else COLD_ADAPTERS_ANNOTATION: written(found)}


def written(found: Mapping[str, str]) -> str:
    """As the annotation has it."""
    return json.dumps(found, sort_keys=True, separators=(",", ":"))


def read(annotations: Mapping[str, str]) -> dict[str, str] | None:
    """What a pod has; None where it takes no adapters while it runs."""
    try:
        found = json.loads(annotations.get(ADAPTERS_ANNOTATION, "null"))
    except ValueError:
        return None
    return {str(name): str(each) for name, each in found.items()} if type(found) is dict else None


def adapters(
    specs: Iterable[AdapterSpec], bringer: Bringer, *, copied: bool, hot: bool = False
) -> Volumes:
    """Volumes and init containers for all adapters; their pull secrets are the pod's, too.

    `copied`: also from volumes, since what is mounted can neither be changed nor taken away.
    """
    found = Volumes()
    for spec in specs:
        if (source := spec.source) is None:
            continue
        if source.volume_source is not None and not copied:
            found += mounted(_label(_VOLUME, source.name), source.volume_source, directory(source))
        elif source.volume_source is not None:
            found += _copied(spec, source, bringer)
        elif source.hugging_face:
            found += _fetched(spec, source, bringer)
        elif source.image:
            found += _pulled(spec, source, bringer)
    if found.init_containers or hot:
        found += mounted(_VOLUME, {"emptyDir": {}}, container.ADAPTERS_DIR)
    return found


def volumes(workspace: Workspace, model: Model, fit: Fit, bringer: Bringer) -> Volumes:
    """All that a serving pod has for its adapters' sake."""
    hot = taken_at_run_time(workspace, model, fit)
    found = adapters(of(workspace), bringer, copied=fit.engine == "vllm", hot=hot)
    return found + token(workspace) if hot else found


def token(workspace: Workspace) -> Volumes:
    """What a caller must show that adds and removes adapters; a file, so that a Secret that is
    made anew reaches running pods. Without it a pod serves as well, and takes no adapters."""
    secret = {"secretName": _secret_name(workspace), "optional": True}
    return mounted(_TOKEN_VOLUME, {"secret": secret}, container.ADAPTERS_TOKEN_DIR, read_only=True)


def token_secret(workspace: Workspace, value: str) -> Manifest:
    """Made once, and never read by the controller."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": ownership.child_metadata(workspace, _secret_name(workspace)),
        "type": "Opaque",
        "stringData": {TOKEN_KEY: value},
    }


def strengths(specs: Iterable[AdapterSpec]) -> list[Manifest]:
    """Environment variables named as the adapters; for engines that merge them."""
    return [
        {"name": spec.source.name, "value": spec.strength}
        for spec in specs
        if spec.source is not None and spec.strength
    ]


def directory(source: DataSource) -> str:
    return f"{container.ADAPTERS_DIR}/{source.name}"


def _secret_name(workspace: Workspace) -> str:
    return f"{workspace.metadata.name}-adapters"


def _hash(spec: AdapterSpec) -> str:
    return hashlib.sha256(spec.model_dump_json(by_alias=True).encode()).hexdigest()[:8]


def _label(*parts: str) -> str:
    """Adapters and Secrets may have dots in their names, volumes and containers may not; what had
    to be changed gets a hash, or two of them could become the same."""
    name = "-".join(parts)
    if "." not in name and len(name) <= _LONGEST_LABEL:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name.replace('.', '-')[: _LONGEST_LABEL - 9]}-{digest}"


def _copied(spec: AdapterSpec, source: DataSource, bringer: Bringer) -> Volumes:
    volume = mounted(
        _label(_VOLUME, source.name), source.volume_source or {}, _SOURCE_DIR, read_only=True
    )
    puller = _puller(spec, source, bringer, "copy", _SOURCE_DIR)
    puller["volumeMounts"] += volume.mounts
    return Volumes(volumes=volume.volumes, init_containers=(puller,))


def _fetched(spec: AdapterSpec, source: DataSource, bringer: Bringer) -> Volumes:
    puller = _puller(spec, source, bringer, "fetch", source.hugging_face)
    puller["env"] += environment.hub(endpoint=bringer.endpoint, token_secret=bringer.token_secret)
    return Volumes(init_containers=(puller,))


def _puller(
    spec: AdapterSpec, source: DataSource, bringer: Bringer, command: str, where: str
) -> Manifest:
    variables = {
        container.ENV_ADAPTER_SOURCE: where,
        container.ENV_ADAPTER_DIR: directory(source),
        **({container.ENV_ADAPTER_STRENGTH: spec.strength} if spec.strength else {}),
    }
    return {
        "name": _label("puller", source.name),
        "image": bringer.image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-m", "serving.adapters", command],
        "env": [{"name": key, "value": value} for key, value in variables.items()],
        "securityContext": security.unprivileged(),
        # What it said last is the reason that status and `kubectl describe` show.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": _VOLUME, "mountPath": container.ADAPTERS_DIR}],
    }


def _pulled(spec: AdapterSpec, source: DataSource, bringer: Bringer) -> Volumes:
    credentials = Volumes()
    for at, secret in enumerate(source.image_pull_secrets):
        items = [{"key": ".dockerconfigjson", "path": "config.json"}]
        credentials += mounted(
            _label("pull", source.name, secret),
            {"secret": {"secretName": secret, "items": items}},
            f"{container.ADAPTERS_CREDENTIALS_DIR}/{at}",
            read_only=True,
        )
    puller = _puller(spec, source, bringer, "pull", source.image)
    puller["env"] += environment.registries(bringer.insecure_registries)
    puller["volumeMounts"] += credentials.mounts
    return Volumes(
        volumes=credentials.volumes,
        init_containers=(puller,),
        pull_secrets=source.image_pull_secrets,
    )
