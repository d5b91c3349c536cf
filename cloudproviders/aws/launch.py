"""The ladder of a claim on EC2: one fleet for each capacity type, until a machine is had."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace

from apis.karpenter.v1 import labels
from apis.karpenter.v1.nodeclaim import NodeClaim
from cloudproviders import selection
from cloudproviders.aws import bootstrap, errors, fleet, launchtemplates, tags
from cloudproviders.aws.errors import Kind
from cloudproviders.aws.fleet import Outcome, Refusal, Rung
from cloudproviders.aws.images import Image
from cloudproviders.aws.instances import Instances, Machine
from cloudproviders.aws.launchtemplates import LaunchTemplates
from cloudproviders.aws.network import FULL_SECONDS, Network
from cloudproviders.aws.nodeclass import EC2_NODE_CLASS
from cloudproviders.aws.refusals import Refusals
from cloudproviders.aws.reservations import Reservation
from cloudproviders.aws.sdk import Amazon
from cloudproviders.aws.settings import Settings
from cloudproviders.aws.source import Source
from cloudproviders.aws.types import Types
from cloudproviders.errors import (
    CloudUnavailableError,
)
from cloudproviders.instancetype import InstanceType
from cloudproviders.selection import Choice
from cloudproviders.unavailable import Scope
from kube.clock import Clock

MOST_REMEMBERED = 4096
NO_REASON = "EC2 launched nothing and gave no reason"

logger = logging.getLogger(__name__)


class Launch:
    """Asks EC2 for a machine; what it refuses is remembered for all claims."""

    def __init__(
        self,
        amazon: Amazon,
        settings: Settings,
        types: Types,
        network: Network,
        instances: Instances,
        templates: LaunchTemplates,
        refusals: Refusals,
        clock: Clock,
    ) -> None:
        self._amazon = amazon
        self._settings = settings
        self._types = types
        self._network = network
        self._instances = instances
        self._templates = templates
        self._refusals = refusals
        self._clock = clock
        self._answers: OrderedDict[str, int] = OrderedDict()

    async def __call__(self, claim: NodeClaim, source: Source) -> Machine:
        """The claim's machine. InsufficientCapacityError or CreateError, with every reason."""
        try:
            return await self._climb(claim, source)
        except errors.ServiceError as refused:
            if refused.code not in errors.TEMPLATE_GONE:
                raise
        self._templates.forget_all()  # somebody has deleted them
        return await self._climb(claim, source)

    async def _climb(self, claim: NodeClaim, source: Source) -> Machine:
        zones = {subnet.zone for subnet in source.subnets}
        types = await self._types.for_claim(claim, source, zones)
        while rungs := await self._rungs(claim, source, types):
            machine = await self._order(claim, source, rungs)
            if machine is not None:
                return machine
        raise self._refusals.verdict(claim, types)

    def forget(self, uid: str) -> None:
        """The claim has come to its end."""
        self._answers.pop(uid, None)

    async def _rungs(
        self, claim: NodeClaim, source: Source, types: Sequence[InstanceType]
    ) -> list[Rung]:
        """What to ask for next; none where nothing is left."""
        open_ = self._network.by_zone(source.subnets)
        for zone, why in self._network.closed(source.subnets).items():
            self._refusals.mark_scope(Scope(zone=zone), Kind.SUBNET, why, ttl=FULL_SECONDS)
        choices = fleet.best(selection.choices(claim, self._refusals.offerings.applied(types)))
        names: dict[tuple[str, str], str] = {}
        rungs: list[Rung] = []
        for choice in choices:
            reservation = _reservation(source, choice)
            image = _image(source, choice.instance_type)
            key = (image.id, reservation.id if reservation else "")
            if key not in names:
                names[key] = await self._template(claim, source, image, choice, reservation)
            rungs.append(Rung(choice, open_[choice.offering.zone], names[key], reservation))
        return [rung for rung in rungs if fleet.market([rung]) == fleet.market(rungs)]

    async def _template(
        self,
        claim: NodeClaim,
        source: Source,
        image: Image,
        choice: Choice,
        reservation: Reservation | None,
    ) -> str:
        taints = [*claim.spec.taints, *claim.spec.startup_taints, bootstrap.UNREGISTERED]
        user_data = bootstrap.user_data(
            source.family,
            source.cluster,
            source.spec,
            _boot_labels(claim, source, choice.offering.capacity_type),
            taints,
        )
        asked = claim.spec.resources.requests.get(selection.STORAGE)
        disk = selection.disk_gib(claim) if asked else self._settings.disk_gib
        return await self._templates.ensure(
            launchtemplates.data(source, image, bootstrap.encoded(user_data), disk, reservation)
        )

    async def _order(
        self, claim: NodeClaim, source: Source, rungs: Sequence[Rung]
    ) -> Machine | None:
        """One fleet. None where another may do better."""
        uid = claim.metadata.uid
        users = {**self._settings.tags, **source.spec.tags}
        marked = tags.of_claim(claim, self._settings.cluster, users)
        request = fleet.request(rungs, client_token=self._token(uid, rungs), tags=marked)
        try:
            answer = await self._amazon.call("create_fleet", **request)
        except errors.ServiceError as refused:
            self._answered(uid)
            return await self._refused(uid, rungs, refused)
        found = fleet.outcome(answer, rungs, marked)
        if found.machine is None:
            self._answered(uid)
            self._note_all(rungs, found)
            return None
        for refusal in found.refusals:
            if refusal.rung is not None:
                self._note(refusal, [refusal.rung])
        machine = await self._instances.learn(replace(found.machine, launched=self._clock.now()))
        if machine.going:  # an answer of old: that machine has lived and died
            self._answered(uid)
            return None
        return machine

    async def _refused(
        self, uid: str, rungs: Sequence[Rung], refused: errors.ServiceError
    ) -> Machine | None:
        """A fleet that EC2 did not even begin."""
        kind = errors.meaning_of(refused.code).kind
        if refused.code == errors.OTHER_PARAMETERS:
            made = await self._instances.of_claim(uid)
            alive = [machine for machine in made if not machine.going]
            if alive:
                return alive[0]
            raise CloudUnavailableError("a launch was begun before; looking again for its machine")
        if kind in {Kind.OFFERING, Kind.QUOTA, Kind.SPOT}:
            for rung in rungs:
                self._refusals.mark(rung.choice, kind, refused.message)
            return None
        raise refused

    def _note_all(self, rungs: Sequence[Rung], found: Outcome) -> None:
        """Why there is no machine; raises where that is nothing a rung could help."""
        kinds = {errors.meaning_of(refusal.code).kind for refusal in found.refusals}
        if Kind.CONFIGURATION in kinds:
            raise _misconfigured(found.refusals)
        for refusal in found.refusals:
            self._note(refusal, [refusal.rung] if refusal.rung else rungs)
        if Kind.TRANSIENT in kinds and kinds <= {Kind.TRANSIENT}:
            told = "; ".join(sorted({f"{r.code}: {r.message}" for r in found.refusals}))
            raise CloudUnavailableError(f"ec2:CreateFleet: {told}")
        named = {refusal.rung.key if refusal.rung else None for refusal in found.refusals}
        if Kind.SUBNET in kinds:
            return  # another subnet of the zone may have room
        for rung in rungs:
            if rung.key not in named and None not in named:
                self._refusals.mark(rung.choice, Kind.OFFERING, NO_REASON)

    def _note(self, refusal: Refusal, rungs: Sequence[Rung]) -> None:
        """Where EC2 does not say which rung it means, it means all that were asked for."""
        kind = errors.meaning_of(refusal.code).kind
        why = errors.explained(refusal.code, refusal.message)
        if kind in {Kind.CONFIGURATION, Kind.TRANSIENT}:
            logger.warning("a fleet could not use all that it was offered: %s", why)
            return
        for rung in rungs:
            if kind is Kind.SUBNET:
                self._network.mark_full(rung.subnet.id, why)
            else:
                self._refusals.mark(rung.choice, kind, why)

    def _token(self, uid: str, rungs: Sequence[Rung]) -> str:
        kind = rungs[0].choice.offering.capacity_type
        return fleet.token(uid, self._answers.get(uid, 0), kind, fleet.market(rungs))

    def _answered(self, uid: str) -> None:
        """The next request is a new one."""
        self._answers[uid] = self._answers.get(uid, 0) + 1
        self._answers.move_to_end(uid)
        if len(self._answers) > MOST_REMEMBERED:
            self._answers.popitem(last=False)


def _misconfigured(refusals: Sequence[Refusal]) -> errors.ServiceError:
    """The first that somebody has to do something about, with the words of all such."""
    wrong = [
        refusal
        for refusal in refusals
        if errors.meaning_of(refusal.code).kind is Kind.CONFIGURATION
    ]
    words = "; ".join(dict.fromkeys(refusal.message for refusal in wrong))
    return errors.ServiceError(wrong[0].code, words, "ec2:CreateFleet")


def _image(source: Source, instance_type: InstanceType) -> Image:
    """The first that fits; types without one are not offered."""
    return next(image for image in source.images if image.fits(instance_type))


def _reservation(source: Source, choice: Choice) -> Reservation | None:
    if choice.offering.capacity_type != labels.CAPACITY_RESERVED:
        return None
    return next(
        each
        for each in source.reservations
        if each.available > 0
        and (each.instance_type, each.zone) == (choice.instance_type.name, choice.offering.zone)
    )


def _boot_labels(claim: NodeClaim, source: Source, capacity_type: str) -> dict[str, str]:
    """What the kubelet brings. The taints are all there at boot, so that registration need not
    bring back startup taints that were taken off meanwhile."""
    found = {
        **claim.metadata.labels,
        labels.CAPACITY_TYPE_LABEL: capacity_type,
        labels.DO_NOT_SYNC_TAINTS_LABEL: "true",
    }
    if source.name:
        found[EC2_NODE_CLASS.label] = source.name
    return found
