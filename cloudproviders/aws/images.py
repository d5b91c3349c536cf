"""Machine images: EKS' own by SSM parameter, or any by id, name, tags or owner.

Parameters: docs.aws.amazon.com/eks/latest/userguide/retrieve-ami-id.html and
…/retrieve-ami-id-bottlerocket.html.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from apis.karpenter.nodeclasses.ec2 import AMISelectorTerm, EC2NodeClassSpec
from cloudproviders.aws import tags
from cloudproviders.aws.coalescing import Remembered
from cloudproviders.aws.sdk import Amazon, Wire
from cloudproviders.catalog import GPU_RESOURCE
from cloudproviders.instancetype import InstanceType
from kube.clock import Clock

TTL_SECONDS = 60 * 60.0
NEURON_RESOURCE = "aws.amazon.com/neuron"

STANDARD = "standard"
NVIDIA = "nvidia"
NEURON = "neuron"
ANY = ""
"""An image that was named by hand is for whatever is launched from it."""

AL2023 = "AL2023"
BOTTLEROCKET = "Bottlerocket"
CUSTOM = "Custom"

ARCHITECTURES = {"x86_64": "amd64", "arm64": "arm64"}
"""EC2's word → Kubernetes' word."""

DEFAULT_OWNERS = ("self", "amazon")


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """`variant` says which accelerators its drivers are for."""

    id: str
    name: str = ""
    architecture: str = "amd64"
    variant: str = ANY
    root_device: str = ""

    def fits(self, instance_type: InstanceType) -> bool:
        return self.architecture == instance_type.architecture and self.variant in {
            ANY,
            variant_for(instance_type),
        }


def variant_for(instance_type: InstanceType) -> str:
    """The drivers that a type needs. AMD's GPUs have none in any image of EKS: standard."""
    if GPU_RESOURCE in instance_type.capacity:
        return NVIDIA
    return NEURON if NEURON_RESOURCE in instance_type.capacity else STANDARD


def family(spec: EC2NodeClassSpec) -> str:
    """How user data is written: as told, else as the alias says."""
    alias = next((term.alias for term in spec.ami_selector_terms if term.alias), "")
    told = spec.ami_family or alias.partition("@")[0]
    known = {each.casefold(): each for each in (AL2023, BOTTLEROCKET, CUSTOM)}
    return known.get(told.casefold(), told)


def parameters(alias: str, version: str) -> list[tuple[str, str, str]]:
    """The SSM parameters of an alias as (name, architecture, variant); none of a family that
    has none here. `version` is the cluster's."""
    name, _, release = alias.partition("@")
    latest = release in {"", "latest"}
    if name.casefold() == AL2023.casefold():
        root = f"/aws/service/eks/optimized-ami/{version}/amazon-linux-2023"
        return [
            (
                f"{root}/{arch}/{variant}/"
                + (
                    "recommended"
                    if latest
                    else f"amazon-eks-node-al2023-{arch}-{variant}-{version}-{release}"
                )
                + "/image_id",
                ARCHITECTURES[arch],
                variant,
            )
            for arch, variant in _AL2023_IMAGES
        ]
    if name.casefold() == BOTTLEROCKET.casefold():
        number = "latest" if latest else release.removeprefix("v")
        return [
            (
                f"/aws/service/bottlerocket/aws-k8s-{version}{suffix}/{arch}/{number}/image_id",
                ARCHITECTURES[arch],
                variant,
            )
            for arch in ARCHITECTURES
            for suffix, variant in (("", STANDARD), ("-nvidia", NVIDIA))
        ]
    return []


_AL2023_IMAGES = (
    ("x86_64", STANDARD),
    ("x86_64", NVIDIA),
    ("x86_64", NEURON),
    ("arm64", STANDARD),
    ("arm64", NVIDIA),
)


class Images:
    """What selector terms stand for now; looked up again every hour."""

    def __init__(self, amazon: Amazon, clock: Clock) -> None:
        self._amazon = amazon
        self._parameters = Remembered(self._parameters_named, TTL_SECONDS, clock)
        self._described = Remembered(self._describe, TTL_SECONDS, clock)

    async def find(self, terms: Iterable[AMISelectorTerm], version: str) -> list[Image]:
        """Those that any term selects; of equals the newest first."""
        found: dict[tuple[str, str, str], Image] = {}
        for term in terms:
            for image in await self._of(term, version):
                found.setdefault((image.id, image.architecture, image.variant), image)
        return list(found.values())

    async def close(self) -> None:
        await self._parameters.close()
        await self._described.close()

    async def _of(self, term: AMISelectorTerm, version: str) -> Sequence[Image]:
        if term.alias:
            listed = parameters(term.alias, version)
            ids = await self._parameters(tuple(name for name, _, _ in listed)) if listed else {}
            return [
                Image(id=ids[name], name=name, architecture=architecture, variant=variant)
                for name, architecture, variant in listed
                if name in ids
            ]
        if name := term.ssm_parameter:
            id = (await self._parameters((name,))).get(name, "")
            return await self._described(((("image-id", id),), ())) if id else []
        query = (("image-id", term.id),) if term.id else tags.filters(term.tags)
        query += (("name", term.name),) if term.name else ()
        owners = (term.owner,) if term.owner else () if term.id else DEFAULT_OWNERS
        return await self._described((query, owners))

    async def _parameters_named(self, names: tuple[str, ...]) -> dict[str, str]:
        """Those that exist: not every image does for every version."""
        answer = await self._amazon.call("get_parameters", Names=list(names))
        return {each["Name"]: each["Value"] for each in answer["Parameters"]}

    async def _describe(self, asked: tuple[tags.Filters, tuple[str, ...]]) -> list[Image]:
        query, owners = asked
        wires = await self._amazon.all(
            "describe_images", "Images", Filters=tags.as_filters(query), Owners=list(owners)
        )
        newest = sorted(wires, key=lambda wire: str(wire.get("CreationDate", "")), reverse=True)
        return [_image(wire) for wire in newest]


def _image(wire: Wire) -> Image:
    architecture = str(wire.get("Architecture", ""))
    return Image(
        id=wire["ImageId"],
        name=wire.get("Name", ""),
        architecture=ARCHITECTURES.get(architecture, architecture),
        root_device=wire.get("RootDeviceName", ""),
    )
