"""Node classes: what an EC2NodeClass, or the operator's settings, stand for in the account now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from apis.karpenter.nodeclasses.ec2 import EC2NodeClassSpec
from apis.karpenter.v1.nodeclaim import NodeClaim, NodeClassRef
from apis.karpenter.v1.nodepool import NodePool
from cloudproviders.aws import errors, images, settings
from cloudproviders.aws.cluster import Cluster, Clusters
from cloudproviders.aws.coalescing import Remembered
from cloudproviders.aws.images import Images
from cloudproviders.aws.network import Network
from cloudproviders.aws.profiles import InstanceProfiles
from cloudproviders.aws.reservations import Reservations
from cloudproviders.aws.sdk import Amazon
from cloudproviders.aws.settings import Settings
from cloudproviders.aws.source import Source, problems
from cloudproviders.errors import CreateError, NodeClassNotReadyError
from cloudproviders.nodeclass import (
    NodeClass,
    NodeClassCondition,
    NodeClassStatus,
    static_hash,
)
from cloudproviders.provider import GroupKind
from kube.client import Client
from kube.clock import Clock
from kube.meta import Resource

EC2_NODE_CLASS = GroupKind("karpenter.k8s.aws", "EC2NodeClass")
KAITO_NODE_CLASS = GroupKind("kaito.sh", "KaitoNodeClass")

EC2_NODE_CLASSES: Resource[NodeClass] = Resource(
    "karpenter.k8s.aws", "v1", "EC2NodeClass", "ec2nodeclasses", NodeClass, namespaced=False
)

COMPARED = (
    "subnetSelectorTerms",
    "securityGroupSelectorTerms",
    "amiSelectorTerms",
    "capacityReservationSelectorTerms",
)
"""Drift of these is found by comparing machines with what they select."""

CLASS_SECONDS = 5.0

IMAGE_FAMILY_ANNOTATION = "kaito.sh/node-image-family"


class NodeClasses:
    """By claim, or by class. All looks are remembered for a while."""

    def __init__(self, amazon: Amazon, client: Client, given: Settings, clock: Clock) -> None:
        self._amazon = amazon
        self._client = client
        self._settings = given
        self._clusters = Clusters(amazon, clock)
        self._images = Images(amazon, clock)
        self._reservations = Reservations(amazon, clock)
        self._classes = Remembered(self._class_named, CLASS_SECONDS, clock)
        self._profiles = InstanceProfiles(amazon, given, clock)
        self.network = Network(amazon, clock)

    async def cluster(self) -> Cluster:
        return await self._clusters.get(self._settings.cluster)

    async def of(self, claim: NodeClaim) -> Source:
        """What the claim's machine is made from; NodeClassNotReadyError where its class is not
        there or not ready, CreateError where the operator's settings do not suffice."""
        source = await self.look(claim)
        if source.name and source.problems:
            told = "; ".join(f"{kind}: {why[1]}" for kind, why in source.problems.items())
            raise NodeClassNotReadyError(f"EC2NodeClass {source.name} is not ready: {told}")
        for reason, message in source.problems.values():
            raise CreateError(reason, message)
        return source

    async def look(self, claim: NodeClaim) -> Source:
        """The same, ready or not; NodeClassNotReadyError where there is no class to speak of."""
        family = claim.metadata.annotations.get(IMAGE_FAMILY_ANNOTATION, "")
        return await self._of_ref(claim.spec.node_class_ref, family)

    async def of_pool(self, pool: NodePool | None) -> Source:
        """What a pool's machines would be made from; without a pool, by the settings."""
        if pool is None:
            return await self._of_settings()
        return await self._of_ref(pool.spec.template.spec.node_class_ref)

    async def _of_ref(self, ref: NodeClassRef, family: str = "") -> Source:
        if ref.kind != EC2_NODE_CLASS.kind:
            return await self._of_settings(family)
        found = await self._classes(ref.name)
        if found is None or found.metadata.deletion_timestamp is not None:
            what = "does not exist" if found is None else "is being deleted"
            raise NodeClassNotReadyError(f"EC2NodeClass {ref.name} {what}")
        return await self.of_class(found)

    async def _of_settings(self, family: str = "") -> Source:
        """For claims that name no class of AWS. `family`: ones that we know win over the
        operator's."""
        given = settings.node_class_spec(self._settings)
        known = {each.casefold(): each for each in settings.FAMILIES}
        if chosen := known.get(family.casefold()):
            given |= {"amiFamily": chosen, "amiSelectorTerms": [{"alias": f"{chosen}@latest"}]}
        return await self._source("", given)

    async def of_class(self, node_class: NodeClass) -> Source:
        return await self._source(node_class.metadata.name, node_class.spec)

    async def status(self, node_class: NodeClass) -> NodeClassStatus:
        """For the class's own status. ValidationSucceeded alone where its spec cannot be read, or
        where AWS will not say what it stands for."""
        try:
            source = await self.of_class(node_class)
        except NodeClassNotReadyError as wrong:
            return _invalid("Invalid", str(wrong))
        except errors.ServiceError as refused:
            return _invalid(refused.reason, refused.message)
        return NodeClassStatus(
            conditions=source.conditions,
            fields=source.fields,
            hash=static_hash(node_class.spec, without=COMPARED),
        )

    async def close(self) -> None:
        for each in (
            self._clusters,
            self._images,
            self._reservations,
            self._classes,
            self._profiles,
            self.network,
        ):
            await each.close()

    async def _source(self, name: str, given: Mapping[str, Any]) -> Source:
        try:
            spec = EC2NodeClassSpec.model_validate(dict(given))
        except ValidationError as wrong:
            fields = ", ".join(".".join(map(str, each["loc"])) for each in wrong.errors())
            raise NodeClassNotReadyError(f"EC2NodeClass {name}: cannot be read: {fields}") from None
        cluster = await self.cluster()
        found = Source(
            name=name,
            spec=spec,
            family=images.family(spec),
            cluster=cluster,
            subnets=await self.network.subnets(spec.subnet_selector_terms),
            security_groups=await self.network.security_groups(spec.security_group_selector_terms),
            images=await self._images.find(spec.ami_selector_terms, cluster.version),
            profile=await self._profile(spec),
            reservations=await self._reservations.find(spec.capacity_reservation_selector_terms),
        )
        return replace(found, problems=problems(found, self._settings))

    async def _class_named(self, name: str) -> NodeClass | None:
        return await self._client.get(EC2_NODE_CLASSES, name)

    async def _profile(self, spec: EC2NodeClassSpec) -> str:
        """One that was named is believed in; for a role one is made. EKS makes its groups' own."""
        if spec.instance_profile or not spec.role or self._settings.mode == settings.NODE_GROUP:
            return spec.instance_profile
        return await self._profiles.of(spec.role)


def _invalid(reason: str, message: str) -> NodeClassStatus:
    refused = NodeClassCondition("ValidationSucceeded", "False", reason, message)
    return NodeClassStatus(conditions=[refused])
