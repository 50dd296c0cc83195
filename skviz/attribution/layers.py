"""Methods that look inside the network: Grad-CAM at a unit, DeepLift, guided backpropagation."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skviz.attribution.job import Job
from skviz.attribution.probe import Probe
from skviz.capture import Unit, units_of
from skviz.capture.interventions import force, intervene
from skviz.capture.kernels import Kernel
from skviz.capture.outputs import unit_output
from skviz.capture.recording import record
from skviz.capture.tape import Listener, Made
from skviz.errors import AttributionError


def grad_cam(
    job: Job,
    *,
    unit: str | None = None,
    kernel: Kernel | None = None,
    branch: int | None = None,
) -> Tensor:
    """Grad-CAM (Selvaraju et al. 2017) at a unit's output, or of what one branch adds to it.

    The output is V = Σ over branches of weight · U, and Grad-CAM is linear in it: with the same
    channel importances, the maps of the branches add up to the map of the unit. What a branch adds
    is its weight times the output that the unit has when all weight is given to it.

    Parameters
    ----------
    job
        What to work on.
    unit
        Where; by default at the last unit.
    kernel, branch
        Only this branch; by default the whole unit.

    Returns
    -------
    Tensor
        (T, image, 3, H, W), signed (no ReLU), enlarged bilinearly, split evenly over colours.

    Raises
    ------
    AttributionError
        If the unit's output is not the weighted sum of the branches, so that a branch has no part
        of its own.
    UnitError
        If the model has no such unit, or its module gives no feature map.
    """
    probe, images = job.probe, job.images
    units = units_of(probe.model, images[:3])
    chosen = units[-1] if unit is None else units[unit]
    whole = kernel is None and branch is None
    index = None if whole else chosen.branch_index(kernel=kernel, branch=branch)
    with torch.enable_grad(), unit_output(probe.model, chosen) as seen:
        values = probe.values(images.detach().requires_grad_(), job.everyone)
    (output,) = seen
    parts = output.detach() if index is None else _added(probe, images, chosen, output)[index]
    maps = []
    for number, value in enumerate(values):
        gradient = None
        if value.requires_grad:
            more = number + 1 < len(values)
            (gradient,) = torch.autograd.grad(
                value.sum(), output, retain_graph=more, allow_unused=True
            )
        if gradient is None:
            raise AttributionError(
                f"target {probe.targets[number].label!r} does not depend on the output of unit "
                f"{chosen.name!r}: it is made before; look at an earlier unit, unit=…"
            )
        importance = gradient.mean((2, 3), keepdim=True)  # (image, C, 1, 1)
        maps.append((importance * parts).sum(1, keepdim=True))  # (image, 1, h, w)
    large = F.interpolate(
        torch.cat(maps), images.shape[-2:], mode="bilinear", align_corners=False
    )  # (T · image, 1, H, W)
    colours = images.shape[1]
    return large.reshape(len(maps), *images[:, :1].shape).expand(-1, -1, colours, -1, -1) / colours


def _added(probe: Probe, images: Tensor, unit: Unit, output: Tensor) -> list[Tensor]:
    """Return what each branch adds to the output, M × (image, C, h, w)."""
    with torch.no_grad():
        with record(probe.model, [unit]) as recording:
            probe.model(images)
        weights = recording.weights[unit.name]  # (image, branch, channel[, y, x])
        added = []
        for index in range(unit.branches):
            with (
                unit_output(probe.model, unit) as seen,
                intervene(probe.model, {unit.name: force(branch=index)}, units=[unit]),
            ):
                probe.model(images)
            weight = weights[:, index]  # (image, channel[, y, x])
            added.append(seen[0] * weight.reshape(*weight.shape, *[1] * (4 - weight.ndim)))
        error = float((sum(added) - output).norm() / output.norm().clamp(min=1e-12))
    if not error < 1e-3:
        raise AttributionError(
            f"the output of module {unit.name!r} is not the weighted sum of its branches (off by "
            f"{error:.0%}): something follows inside the module; leave branch= and kernel= out"
        )
    return added


def deep_lift(job: Job) -> Tensor:
    """DeepLift's rescale rule (Shrikumar et al. 2017), Captum's; returns (T, image, 3, H, W).

    It has no rule for a product of two activations, such as weight times branch, and sees no
    functional operations. Whether it holds is for the completeness error to say.
    """
    return _by_captum(job, "DeepLift", job.baseline)


def guided_backprop(job: Job) -> Tensor:
    """Guided backpropagation (Springenberg et al. 2015), Captum's; returns (T, image, 3, H, W).

    Raises
    ------
    AttributionError
        If the network rectifies other than by modules of its own that do not work in place.
    """
    counted = _Rectifiers(job.probe.model)
    with torch.no_grad(), counted:
        job.probe(job.images[:1], job.everyone[:1])
    if counted.guided != counted.all or not counted.guided:
        raise AttributionError(
            f"guided backpropagation changes nn.ReLU modules, but of the {counted.all} "
            f"rectifications of this model {counted.all - counted.guided} are functions or in "
            "place, which it would silently leave as they are; use 'smoothgrad' or "
            "'integrated_gradients'"
        )
    return _by_captum(job, "GuidedBackprop")


def _by_captum(job: Job, name: str, *baseline: Tensor) -> Tensor:
    """Run a method of Captum's for every target."""
    from captum import attr  # with all that it needs, which takes long

    method = getattr(attr, name)(job.probe)
    inputs, given = job.images.clone().requires_grad_(), {"additional_forward_args": job.everyone}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Setting (forward, )?backward hooks")
        maps = [
            method.attribute(inputs, *baseline, target=index, **given).detach()
            for index in range(len(job.probe.targets))
        ]
    return torch.stack(maps)


class _Rectifiers(Listener):
    """Counts the rectifying operations that run, and those of modules that can be guided."""

    aten = True
    within = None

    def __init__(self, model: nn.Module) -> None:
        super().__init__(
            {
                name: module
                for name, module in model.named_modules()
                if isinstance(module, nn.ReLU) and not module.inplace
            }
        )
        self.guided = self.all = 0

    def made(self, made: Made) -> None:
        """Count a rectification."""
        self.all += made.function is not None and made.function.overloadpacket in RECTIFIERS

    def left(self, *_: Any) -> None:
        """Count a module that was called."""
        self.guided += 1


RECTIFIERS = {
    torch.ops.aten.relu,
    torch.ops.aten.relu_,
    torch.ops.aten.hardtanh,
    torch.ops.aten.hardtanh_,
    torch.ops.aten.leaky_relu,
    torch.ops.aten.clamp_min,
    torch.ops.aten.clamp_min_,
}
