"""From what the program was told to what decisions are made with. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from apis.kaito.validation.facts import AZURE_GPU_PROVISIONER, BYO, KARPENTER
from cloudproviders.instancetype import InstanceType
from cloudproviders.profile import CloudProfile
from presets import catalog
from workspace_controller.facts import facts
from workspace_controller.nodes.byo import BringYourOwn
from workspace_controller.nodes.claims import ClaimProvisioner
from workspace_controller.nodes.pool import PoolProvisioner
from workspace_controller.nodes.provisioner import NodeProvisioner
from workspace_controller.settings import Process, Settings


def settings_of(
    told: Process, profile: CloudProfile, instance_types: Mapping[str, InstanceType]
) -> Settings:
    """One installation: its cloud, its way to nodes, its catalogues."""
    presets = catalog.load()
    return Settings(
        nodes=_provisioner(told, profile, instance_types),
        cloud=profile,
        catalog=presets,
        facts=facts(
            cloud=told.cloud,
            profile=profile,
            provisioner=told.provisioner,
            gates=told.gates,
            instance_types=instance_types,
            catalog=presets,
            estimator=told.estimator,
            node_class_names=told.node_classes.names if told.node_classes else (),
        ),
        registry=told.registry,
        image_tag=told.image_tag,
        node_classes=told.node_classes,
        weights=told.weights,
        insecure_registries=told.insecure_registries,
        estimator=told.estimator,
        benchmark=told.benchmark,
        pod_logs=told.pod_logs,
        gpu_quota=told.gpu_quota,
        endpoint_peers=told.endpoint_peers,
    )


def _provisioner(
    told: Process, profile: CloudProfile, instance_types: Mapping[str, InstanceType]
) -> NodeProvisioner:
    if told.provisioner == BYO:
        return BringYourOwn(instance_types)
    if told.provisioner == KARPENTER and told.node_classes is not None:
        return PoolProvisioner(told.node_classes, instance_types)
    kaitos = told.provisioner == AZURE_GPU_PROVISIONER
    shape = profile.in_kaitos_shape() if kaitos else profile
    return ClaimProvisioner(shape, instance_types)
