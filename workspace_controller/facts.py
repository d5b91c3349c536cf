"""What admission and reconcile both judge by, from the catalogues. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from apis.gpu import GPU
from apis.kaito.v1beta1.workspace import Workspace
from apis.kaito.validation import Facts
from apis.kaito.validation.facts import Layout
from cloudproviders.instancetype import InstanceType
from cloudproviders.profile import CloudProfile
from kube.objects import ConfigMap
from presets.catalog import Catalog
from presets.engines import registry
from presets.estimate import Estimator
from presets.fits import DoesNotFitError, Fit
from presets.model import GIB, Model
from workspace_controller.nodes import shapes
from workspace_controller.workspace import models
from workspace_controller.workspace.layout import lay_out

_Config: TypeAlias = Mapping[str, str] | None


def facts(
    *,
    cloud: str,
    profile: CloudProfile,
    provisioner: str,
    gates: Mapping[str, bool],
    instance_types: Mapping[str, InstanceType],
    catalog: Catalog,
    node_class_names: tuple[str, ...] = (),
    estimator: Estimator = "fit",
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

    def runtime_refusal(name: str, runtime: str) -> str | None:
        return registry.refusal(catalog.lookup(name), runtime)

    def weights_gib(name: str) -> float | None:
        model = catalog.lookup(name)
        return None if model is None else model.weights_bytes / GIB

    judged = _Judged(instance_types, catalog, gates.get("vLLM", True), estimator)
    return Facts(
        node_provisioner=provisioner,
        feature_gates=gates,
        cloud=cloud,
        preset_known=lambda name: catalog.lookup(name) is not None,
        preset_names=tuple(catalog.names()),
        instance_type=gpu,
        instance_type_names=tuple(instance_types),
        instance_type_prefixes=profile.instance_type_prefixes,
        node_class_names=node_class_names,
        max_model_len=max_model_len,
        weights_gib=weights_gib,
        auth_required=auth_required,
        runtime_refusal=runtime_refusal,
        layout=judged.layout,
        fits=judged.misfit,
    )


@dataclass(frozen=True, slots=True)
class _Judged:
    """How presets lie on instance types, as the reconcile will lay them out."""

    instance_types: Mapping[str, InstanceType]
    catalog: Catalog
    vllm: bool
    estimator: Estimator

    def misfit(self, workspace: Workspace, config: _Config) -> str | None:
        """Why the model cannot run on the type; None where it can, or where who knows."""
        try:
            self._laid_out(workspace, config)
        except DoesNotFitError as error:
            return str(error)
        return None

    def layout(self, workspace: Workspace, config: _Config) -> Layout | None:
        """On how many nodes; None where nobody knows yet."""
        try:
            found = self._laid_out(workspace, config)
        except ValueError:
            return None  # it does not fit, or its options are no numbers: that is said elsewhere
        if found is None:
            return None
        model, machine, fit = found
        gpu = machine.gpu
        has = f"{gpu.count} × {gpu.memory_gib:g} GiB of GPU" if gpu.count else "no GPU"
        nodes = "1 node" if fit.nodes == 1 else f"{fit.nodes} nodes"
        return Layout(
            fit.nodes,
            f'preset "{model.name}" with {model.weights_bytes / GIB:.1f} GiB of weights is laid out'
            f" on {nodes} of {machine.name} ({has} each)",
        )

    def _laid_out(
        self, workspace: Workspace, config: _Config
    ) -> tuple[Model, InstanceType, Fit] | None:
        """Where preset, type and options are all known; raises DoesNotFitError."""
        asked = workspace.resource.instance_type if workspace.resource else ""
        model = models.known(workspace, self.catalog)
        machine = self.instance_types.get(asked)
        named = workspace.inference.config if workspace.inference else ""
        if model is None or machine is None or (named and config is None):
            return None
        options = None if config is None else ConfigMap(data=dict(config))
        shape = shapes.asked_for(workspace, self.instance_types)
        fit, _ = lay_out(workspace, model, shape, options, vllm=self.vllm, estimator=self.estimator)
        return model, machine, fit
