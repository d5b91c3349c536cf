"""Whether a machine is still what its class selects. Pure; the reasons are Karpenter's."""

from __future__ import annotations

from cloudproviders.aws.instances import Machine
from cloudproviders.aws.source import Source
from cloudproviders.instancetype import InstanceType

AGE = 60.0
"""Seconds that a look may be old for this."""


def reason(machine: Machine, source: Source, known: InstanceType | None) -> str:
    """ "" where there is none, or where the class selects nothing to compare with."""
    images = {each.id for each in source.images if known is None or each.fits(known)}
    if images and machine.image not in images:
        return "AMIDrift"
    groups = {each.id for each in source.security_groups}
    if groups and machine.security_groups != groups:
        return "SecurityGroupDrift"
    subnets = {each.id for each in source.subnets}
    if subnets and machine.subnet not in subnets:
        return "SubnetDrift"
    return ""
