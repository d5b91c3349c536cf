"""`kaito model-image`: weights packed as an OCI image, looked at, and pushed."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from apis import container
from hub.choice import MISTRAL, Request
from hub.repository import ENDPOINT
from kaito import exits, output
from kaito.modelimage import describe, pack, places, provenance, source
from kaito.modelimage.pack import Labels
from kaito.modelimage.places import InDirectory, Place
from kaito.modelimage.source import Hub
from oci import credentials, layout
from oci.credentials import Credentials
from oci.errors import TransferError
from oci.image import Packed, digest
from oci.layers import Layer
from oci.progress import Moved
from oci.reference import insecure_hosts
from oci.registry import Registry
from oci.web import Web

_MIB = 1 << 20
_INTERRUPTED = 130
_ENDS = (
    " Exit status 0 where it is done, 1 where it cannot be, 2 where a file cannot be read,"
    " 130 where it was interrupted."
)
_PLACES = "oci:DIRECTORY[:TAG] or docker://REGISTRY/NAME:TAG"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """`model-image` with its commands; `run` is their `run` default."""
    parser = subparsers.add_parser(
        "model-image",
        help="pack a model as an OCI image, look at one, push one",
        description="Model images for the annotation kaito.sh/model-weights: layers that versions"
        " share, with licence and provenance. Registries without TLS are named in"
        f" ${container.ENV_INSECURE_REGISTRIES}.",
    )
    commands = parser.add_subparsers(dest="model_image", required=True, metavar="COMMAND")
    _build_parser(commands)
    inspect = commands.add_parser(
        "inspect",
        help="what an image holds, and where it is from",
        description="Print labels, layers and files of a model image." + _ENDS,
    )
    inspect.add_argument("image", metavar="IMAGE", help=_PLACES)
    output.add_argument(inspect, output.TEXT, output.JSON, output.YAML)
    inspect.set_defaults(run=run, act=_inspect)
    push = commands.add_parser(
        "push",
        help="a layout on disk to a registry",
        description="Push an image; layers that the registry has are not sent again." + _ENDS,
    )
    push.add_argument("image", metavar="IMAGE", help="oci:DIRECTORY[:TAG]")
    push.add_argument("to", metavar="TO", help="docker://REGISTRY/NAME:TAG")
    push.set_defaults(run=run, act=_push)
    for each in (inspect, push):
        _add_registry_arguments(each)


def run(args: argparse.Namespace) -> int:
    """Exit status 1 or 2 with the reason where it cannot be done."""
    try:
        args.act(args, os.environ)
    except KeyboardInterrupt:
        print("stopped: nothing is named that is not whole; run it again to go on", file=sys.stderr)
        return _INTERRUPTED
    except TransferError as error:
        return exits.failed(error, exits.NO)
    except OSError as error:
        return exits.failed(error)
    return exits.DONE


def _build_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    build = commands.add_parser(
        "build",
        help="pack a model",
        description="Pack a model of a directory or of Hugging Face as an image." + _ENDS,
    )
    build.add_argument(
        "model", metavar="MODEL", help="a directory, or owner/name[@commit] of Hugging Face"
    )
    build.add_argument("-o", "--output", required=True, metavar="TO", help=_PLACES)
    build.add_argument("--file", default="", help="the GGUF file, where there are several")
    build.add_argument("--load-format", default="", choices=("", MISTRAL), help="as the engine's")
    for name, what in (
        ("title", "default: the model's name"),
        ("version", "default: none"),
        ("source", "URL; default: the repository's"),
        ("licenses", "SPDX expression; default: what the model card says"),
        ("base-model", "what it was tuned from; default: what the model card says"),
    ):
        build.add_argument(f"--{name}", default="", help=what)
    build.add_argument("--platform", default="linux/amd64", help="of the nodes")
    build.add_argument("--token-env", default=container.ENV_TOKEN, metavar="NAME")
    build.add_argument("--cache", type=Path, metavar="DIRECTORY", help="what keeps downloads")
    build.set_defaults(run=run, act=_build)
    _add_registry_arguments(build)


def _add_registry_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--push-credentials",
        "--credentials",
        dest="credentials",
        type=Path,
        metavar="PATH",
        help="a Docker config.json, or a directory with some; default: $DOCKER_CONFIG or ~/.docker",
    )
    parser.add_argument(
        "--mount-from", default="", metavar="NAME", help="a repository that may have the layers"
    )


def _build(args: argparse.Namespace, environment: Mapping[str, str]) -> None:
    place = _place(args.output, environment)
    labels = Labels(
        title=args.title,
        version=args.version,
        source=args.source,
        licenses=args.licenses,
        base_model=args.base_model,
    )
    cache = args.cache or Path(
        environment.get("XDG_CACHE_HOME") or Path.home() / ".cache", "kaito", "downloads"
    )
    model = source.load(
        args.model,
        Request(args.model, file=args.file, load_format=args.load_format),
        Hub(
            endpoint=(environment.get(container.ENV_ENDPOINT) or ENDPOINT).rstrip("/"),
            token=environment.get(args.token_env, ""),
            cache=cache,
            web=Web(),
            watch=_watch,
        ),
    )
    image = pack.image(model, labels, platform=args.platform, packed=_packed)
    statement = provenance.attached(model, image, pack.file_digests(model, image))
    _send(place, image, [statement], args, environment)


def _push(args: argparse.Namespace, environment: Mapping[str, str]) -> None:
    place, to = _place(args.image, environment), _place(args.to, environment)
    if not isinstance(place, InDirectory) or isinstance(to, InDirectory):
        raise TransferError("push goes from oci:DIRECTORY to docker://REGISTRY/NAME:TAG")
    _require(place)
    image = layout.read(place.directory, place.tag)
    notes = layout.referrers(place.directory, digest(image.manifest))
    _send(to, image, notes, args, environment)


def _inspect(args: argparse.Namespace, environment: Mapping[str, str]) -> None:
    place = _place(args.image, environment)
    _require(place)
    found = describe.look(place, _credentials(args, environment), Web())
    told = output.document(describe.document(found), args.output)
    for line in describe.lines(found) if told is None else [told]:
        print(line)


def _send(
    to: Place,
    image: Packed,
    notes: Sequence[Packed],
    args: argparse.Namespace,
    environment: Mapping[str, str],
) -> None:
    """The image gets its name last, when it and all that is said of it are there."""
    moved: list[int] = []
    if isinstance(to, InDirectory):
        for each in notes:
            layout.write(each, to.directory, wrote=moved.append)
        found = layout.write(image, to.directory, to.tag, wrote=moved.append)
        name = str(to)
    else:
        registry = Registry(to.reference, _credentials(args, environment), Web())
        found = digest(image.manifest)
        registry.push(image, found, mount_from=args.mount_from, sent=moved.append)
        for each in notes:
            registry.push(each, sent=moved.append)
        if not to.reference.digest:
            registry.push(image)
        name = f"oci://{to.reference.tagged(to.reference.wanted)}"
    total = sum(each.size for packed in (image, *notes) for each in packed.blobs)
    _tell(f"{sum(moved) / _MIB:.1f} of {total / _MIB:.1f} MiB were not there yet")
    print(f"{name}@{found}" if not isinstance(to, InDirectory) else f"{name} {found}")


def _place(text: str, environment: Mapping[str, str]) -> Place:
    return places.parse(
        text, insecure_hosts(environment.get(container.ENV_INSECURE_REGISTRIES, ""))
    )


def _require(place: Place) -> None:
    """FileNotFoundError where there is not even a directory to judge."""
    if isinstance(place, InDirectory) and not place.directory.is_dir():
        raise FileNotFoundError(f"there is no directory {place.directory}")


def _credentials(args: argparse.Namespace, environment: Mapping[str, str]) -> Credentials:
    if args.credentials is not None:
        if not args.credentials.exists():
            raise FileNotFoundError(f"--push-credentials: there is no {args.credentials}")
        return credentials.load(args.credentials)
    own = Path(environment.get("DOCKER_CONFIG") or Path.home() / ".docker", "config.json")
    return credentials.load(own) if own.is_file() else credentials.NONE


def _watch(moved: Moved) -> None:
    _tell(f"downloaded {moved.done / _MIB:.0f} of {moved.total / _MIB:.0f} MiB")


def _packed(names: str, layer: Layer) -> None:
    _tell(f"{layer.digest[:19]}  {layer.size / _MIB:9.1f} MiB  {names}")


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
