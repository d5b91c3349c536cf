"""Launch templates: what CreateFleet takes images, user data and disks from.

A template is named by the hash of what is in it, so it is never changed, and the same for all
claims that differ in nothing but their tags. What is no longer used is deleted.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from typing import Any

from apis.karpenter.nodeclasses.ec2 import BlockDevice, EC2NodeClassSpec
from cloudproviders.aws import errors, tags
from cloudproviders.aws.coalescing import Remembered
from cloudproviders.aws.images import BOTTLEROCKET, Image
from cloudproviders.aws.reservations import Reservation
from cloudproviders.aws.sdk import Amazon, Wire
from cloudproviders.aws.source import Source
from cloudproviders.errors import CloudError
from kube import quantity
from kube.clock import Clock

UNUSED_SECONDS = 10 * 60.0
"""A fleet needs its template for the moment of the launch only."""

KNOWN_SECONDS = 5 * 60.0
"""So long a template is believed to be there without looking."""

DELETED_AT_ONCE = 20
NAME_LIMIT = 128

ROOT_DEVICE = "/dev/xvda"
BOTTLEROCKET_DATA = "/dev/xvdb"
BOTTLEROCKET_ROOT_GIB = 4

logger = logging.getLogger(__name__)


def data(
    source: Source,
    image: Image,
    user_data: str,
    disk_gib: int,
    reservation: Reservation | None = None,
) -> Wire:
    """RequestLaunchTemplateData. `user_data` in base64."""
    spec = source.spec
    found: Wire = {
        "ImageId": image.id,
        "UserData": user_data,
        "IamInstanceProfile": {"Name": source.profile},
        "BlockDeviceMappings": devices(spec, source.family, image, disk_gib),
        "MetadataOptions": {
            "HttpEndpoint": spec.metadata_options.http_endpoint,
            "HttpProtocolIpv6": spec.metadata_options.http_protocol_ipv6,
            "HttpPutResponseHopLimit": spec.metadata_options.http_put_response_hop_limit,
            "HttpTokens": spec.metadata_options.http_tokens,
        },
        "Monitoring": {"Enabled": bool(spec.detailed_monitoring)},
    }
    groups = [group.id for group in source.security_groups]
    if spec.associate_public_ip_address is None:
        found["SecurityGroupIds"] = groups
    else:
        found["NetworkInterfaces"] = [
            {
                "DeviceIndex": 0,
                "Groups": groups,
                "AssociatePublicIpAddress": spec.associate_public_ip_address,
            }
        ]
    if reservation is not None:
        found["CapacityReservationSpecification"] = {
            "CapacityReservationTarget": {"CapacityReservationId": reservation.id}
        }
        if reservation.block:
            found["InstanceMarketOptions"] = {"MarketType": "capacity-block"}
    return found


def devices(spec: EC2NodeClassSpec, family: str, image: Image, disk_gib: int) -> list[Wire]:
    """The class's own; else one encrypted gp3 volume of that size for images and containers."""
    if spec.block_device_mappings:
        return [
            {"DeviceName": each.device_name, "Ebs": _ebs(each.ebs)}
            for each in spec.block_device_mappings
            if each.ebs is not None
        ]
    if family == BOTTLEROCKET:
        return [_volume(ROOT_DEVICE, BOTTLEROCKET_ROOT_GIB), _volume(BOTTLEROCKET_DATA, disk_gib)]
    return [_volume(image.root_device or ROOT_DEVICE, disk_gib)]


def _volume(device: str, gib: int) -> Wire:
    ebs = {"VolumeSize": gib, "VolumeType": "gp3", "Encrypted": True, "DeleteOnTermination": True}
    return {"DeviceName": device, "Ebs": ebs}


def _ebs(told: BlockDevice) -> Wire:
    size = None if told.volume_size is None else int(quantity.gib(told.volume_size))
    found: Mapping[str, Any] = {
        "VolumeSize": size,
        "VolumeType": told.volume_type or None,
        "Iops": told.iops,
        "Throughput": told.throughput,
        "Encrypted": told.encrypted,
        "DeleteOnTermination": told.delete_on_termination is not False,
        "KmsKeyId": told.kms_key_id or None,
        "SnapshotId": told.snapshot_id or None,
    }
    return {name: value for name, value in found.items() if value is not None}


class LaunchTemplates:
    """The cluster's own, by name."""

    def __init__(self, amazon: Amazon, cluster: str, clock: Clock) -> None:
        self._amazon = amazon
        self._cluster = cluster
        self._clock = clock
        self._data: dict[str, Wire] = {}
        self._used: dict[str, float] = {}
        self._listed = False
        self._made = Remembered(self._make, KNOWN_SECONDS, clock)

    def name_of(self, wire: Wire) -> str:
        digest = hashlib.sha256(json.dumps(wire, sort_keys=True).encode()).hexdigest()[:20]
        prefix = f"kaito.sh/{self._cluster}"[: NAME_LIMIT - len(digest) - 1]
        return f"{prefix}/{digest}"

    async def ensure(self, wire: Wire) -> str:
        """The name of a template with this in it."""
        name = self.name_of(wire)
        self._data[name] = wire
        self._used[name] = self._clock.monotonic()
        await self._made(name)
        return name

    def forget_all(self) -> None:
        """One turned out not to be there: none is believed in."""
        for name in self._data:
            self._made.forget(name)

    async def sweep(self) -> None:
        """Delete what nobody has used for a while, a former process' templates included. What
        cannot be deleted now is tried again in the next round."""
        try:
            if not self._listed:
                now = self._clock.monotonic()
                self._used = {**dict.fromkeys(await self._existing(), now), **self._used}
                self._listed = True
            before = self._clock.monotonic() - UNUSED_SECONDS
            unused = [name for name, at in self._used.items() if at < before]
            for name in unused[:DELETED_AT_ONCE]:
                await self._delete(name)
        except CloudError as failed:
            logger.warning("unused launch templates stay for now: %s", failed)

    async def close(self) -> None:
        await self._made.close()

    async def _existing(self) -> list[str]:
        wires = await self._amazon.all(
            "describe_launch_templates",
            "LaunchTemplates",
            Filters=tags.as_filters(tags.filters({tags.OWNER_TAG: self._cluster})),
        )
        return [wire["LaunchTemplateName"] for wire in wires]

    async def _make(self, name: str) -> None:
        owned = tags.as_list(tags.owned(self._cluster))
        try:
            await self._amazon.call(
                "create_launch_template",
                LaunchTemplateName=name,
                LaunchTemplateData=self._data[name],
                TagSpecifications=[{"ResourceType": "launch-template", "Tags": owned}],
            )
        except errors.ServiceError as refused:
            if refused.code not in errors.ALREADY_EXISTS:
                raise

    async def _delete(self, name: str) -> None:
        try:
            await self._amazon.call("delete_launch_template", LaunchTemplateName=name)
        except errors.ServiceError as refused:
            if refused.code not in errors.NOT_FOUND:
                raise
        self._made.forget(name)
        del self._used[name]
        self._data.pop(name, None)
