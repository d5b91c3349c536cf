"""What admission and reconcile both judge by, from the catalogues. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from apis.gpu import GPU
from apis.kaito.v1beta1 import labels
from apis.kaito.v1beta1.workspace import Workspace
from apis.kaito.validation import Facts
from cloudproviders.instancetype import InstanceType
from cloudproviders.profile import CloudProfile
from presets import estimate
from presets.catalog import Catalog
from presets.estimate import DoesNotFitError
from presets.model import GIB


def facts(
    *,
    cloud: str,
    profile: CloudProfile,
    provisioner: str,
    gates: Mapping[str, bool],
    instance_types: Mapping[str, InstanceType],
    catalog: Catalog,
) -> Facts:
    """The look-ups of one installation; what belongs to a namespace is added by who asks."""

    def gpu(name: str) -> GPU | None:
        found = instance_types.get(name)
        return None if found is None else found.gpu

    def auth_required(name: str) -> bool | None:
        model = catalog.lookup(name)
        return None if model is None else model.auth_required

    def max_model_len(name: str) -> int | None:
        model = catalog.lookup(name)
        return None if model is None else model.max_model_len

    def weights_gib(name: str) -> float | None:
        model = catalog.lookup(name)
        return None if model is None else model.weights_bytes / GIB

    return Facts(
        node_provisioner=provisioner,
        feature_gates=gates,
        cloud=cloud,
        preset_known=lambda name: catalog.lookup(name) is not None,
        preset_names=tuple(catalog.names()),
        instance_type=gpu,
        instance_type_names=tuple(instance_types),
        instance_type_prefixes=profile.instance_type_prefixes,
        max_model_len=max_model_len,
        weights_gib=weights_gib,
        auth_required=auth_required,
        runtime_refusal=_runtime_refusal,
        fits=lambda workspace: _misfit(workspace, instance_types, catalog),
    )


def _runtime_refusal(preset: str, runtime: str) -> str | None:
    if runtime != labels.RUNTIME_TRANSFORMERS:
        return None
    served = f'"{labels.RUNTIME_VLLM}" or "{labels.RUNTIME_LLAMACPP}"'
    return (
        f'preset "{preset}" cannot be served by runtime "{runtime}" in this release; set '
        f"annotation {labels.RUNTIME_ANNOTATION} to {served}"
    )


def _misfit(
    workspace: Workspace, instance_types: Mapping[str, InstanceType], catalog: Catalog
) -> str | None:
    """Why the model cannot run on the instance type; None where it can, or where who knows."""
    preset = workspace.inference.preset if workspace.inference else None
    asked = workspace.resource.instance_type if workspace.resource else ""
    model = catalog.lookup(preset.name) if preset else None
    machine = instance_types.get(asked)
    if model is None or machine is None:
        return None
    runtime = workspace.metadata.annotations.get(labels.RUNTIME_ANNOTATION)
    try:
        estimate.fit(
            model,
            machine.gpu,
            memory_gib=machine.memory_gib,
            cpus=machine.cpus,
            engine="llamacpp" if runtime == labels.RUNTIME_LLAMACPP else None,
        )
    except DoesNotFitError as error:
        return str(error)
    return None
