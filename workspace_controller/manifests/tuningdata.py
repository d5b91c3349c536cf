"""What a tuning reads and where its result goes: volumes, mounts, and who fills them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from apis import container
from apis.kaito.v1beta1.workspace import DataDestination, DataSource
from kube.meta import Manifest
from workspace_controller.manifests import environment
from workspace_controller.manifests.volumes import Volumes, mounted

_DATA_VOLUME = "data-volume"
_RESULTS_VOLUME = "results-volume"
"""Both are upstream's names."""
_DOCKER_CONFIG = ".dockerconfigjson"


@dataclass(frozen=True, slots=True)
class Data:
    """The data as the trainer finds it. `variables` and `fetched` are for the container that
    downloads it; without variables there is nothing to download."""

    volumes: Volumes
    variables: tuple[Manifest, ...] = ()
    fetched: Volumes = field(default_factory=Volumes)


def data(source: DataSource, *, endpoint: str, token_secret: str) -> Data:
    """URLs, an image and a data set of Hugging Face are downloaded; a volume is mounted, and
    nobody writes to it."""
    if source.volume_source is not None:
        return Data(mounted(_DATA_VOLUME, source.volume_source, container.DATA_DIR, read_only=True))
    read = mounted(_DATA_VOLUME, {"emptyDir": {}}, container.DATA_DIR, read_only=True)
    written = Volumes(mounts=({"name": _DATA_VOLUME, "mountPath": container.DATA_DIR},))
    if source.hugging_face:
        hub = environment.hub(endpoint=endpoint, token_secret=token_secret)
        return Data(read, (_set(container.ENV_DATA_REPOSITORY, source.hugging_face), *hub), written)
    if source.image:
        secrets = credentials("data", source.image_pull_secrets, container.DATA_CREDENTIALS_DIR)
        return Data(read, (_set(container.ENV_DATA_IMAGE, source.image),), written + secrets)
    return Data(read, (_set(container.ENV_DATA_URLS, " ".join(source.urls)),), written)


def results(destination: DataDestination, directory: str) -> Volumes:
    """Where the trainer writes. Only a volume of the user's outlives the pod; what goes into an
    image is pushed from here."""
    source = destination.volume_source
    return mounted(_RESULTS_VOLUME, {"emptyDir": {}} if source is None else source, directory)


def pushing(destination: DataDestination) -> Volumes:
    """The credentials for the result."""
    secret = destination.image_push_secret if destination.image else ""
    return credentials("push", filter(None, [secret]), container.PUSH_CREDENTIALS_DIR)


def credentials(name: str, secrets: Iterable[str], directory: str) -> Volumes:
    """A directory for each Secret, with a Docker `config.json`."""
    found = Volumes()
    for at, secret in enumerate(secrets):
        items = [{"key": _DOCKER_CONFIG, "path": "config.json"}]
        source = {"secret": {"secretName": secret, "items": items}}
        found += mounted(f"{name}-credentials-{at}", source, f"{directory}/{at}", read_only=True)
    return found


def _set(name: str, value: str) -> Manifest:
    return {"name": name, "value": value}
