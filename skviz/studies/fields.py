"""``receptive_field``: how much of the image a unit really looks at, and how that adapts.

The effective receptive field (Luo et al., NeurIPS 2016) is the squared gradient of a unit's central
output position with respect to the image. The result is one `xarray.Dataset`:

==========  =====================================  ==========================================
``field``   scale, selection, unit, y, x           mean over images and channels, summing to 1
``radius``  scale, share, selection, unit, image   of the circle about the field's centre of
                                                   mass that holds that share, in pixels
==========  =====================================  ==========================================

The first selection is ``natural``, the weights that the unit chose; ``3×3``, … have all weight on
that kernel, in every unit. Weights are held fixed while the gradient is taken: a unit's gate pools
its whole input, so that with it every unit sees a little of everything.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn
from tqdm import tqdm

from skviz.capture.interventions import force, intervene
from skviz.capture.names import kernel_name
from skviz.capture.outputs import unit_output
from skviz.models import device as devices
from skviz.studies.sweeps import (
    as_scenes,
    at_rest,
    checked,
    choose,
    described,
    example,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from skviz.capture import Unit
    from skviz.scenes.cutouts import Objects
    from skviz.scenes.source import Scenes

__all__ = ["receptive_field"]

SHARES = (0.5, 0.95)
NATURAL = "natural"


def receptive_field(
    model: nn.Module,
    source: Objects | Scenes,
    *,
    scales: Sequence[float] = (1.0,),
    units: Sequence[str] | None = None,
    draws: int = 4,
    batch: int = 16,
    seed: int = 0,
    device: str = "auto",
    progress: bool = True,
) -> xr.Dataset:
    """Measure the effective receptive field of units, as they are and with each kernel forced.

    Parameters
    ----------
    model
        With units whose modules give feature maps; it comes back as it was.
    source
        Scenes or cut-outs, as `skviz.sweep` takes them.
    scales
        Increasing.
    units
        Names; by default all that can be shown.
    draws
        Random signs with which a unit's channels are summed before the gradient is taken. The mean
        over draws of the squared gradient is that over channels, without one pass for each.
    batch
        Scenes per pass.
    seed
        Of the signs.
    device
        See `skviz.models.device.resolve`.
    progress
        Show a progress bar once it has taken two seconds.

    Returns
    -------
    xarray.Dataset
        As the module's documentation lists it; distances in pixels of the image.

    Raises
    ------
    UnitError
        If a unit runs several times in a pass or its module gives no feature map.
    """
    grid, scenes, where = checked(scales), as_scenes(model, source), devices.resolve(device)
    generator = torch.Generator().manual_seed(seed)
    parts = [scenes[start : start + batch] for start in range(0, len(scenes), batch)]
    fields, radius = [], []
    total = len(grid) * len(parts)
    bar = tqdm(total=total, desc="receptive field", unit="batch", delay=2, disable=not progress)
    with at_rest(model, where), bar:
        shown = example(scenes, where, grid)
        every = choose(model, shown, None)  # the weights of all are held, whichever are asked for
        chosen = every if units is None else choose(model, shown, units)
        selections = forced(every)
        for scale in grid:
            measured = []
            for part in parts:
                images = part.ready(where, [scale]).render(scale)
                squared = []
                for changes in selections.values():
                    with intervene(model, changes, units=every):
                        squared.append(squared_gradients(model, images, chosen, draws, generator))
                measured.append(
                    torch.stack(squared).cpu().numpy()
                )  # (selection, unit, image, y, x)
                bar.update()
            fields.append(sum(part.sum(2) for part in measured))
            radius.append(np.concatenate([radii(part) for part in measured], -1))
    field = np.stack(fields)
    return xr.Dataset(
        {
            "field": (
                ("scale", "selection", "unit", "y", "x"),
                field / field.sum((-2, -1), keepdims=True),
            ),
            "radius": (("scale", "share", "selection", "unit", "image"), np.stack(radius)),
        },
        coords={
            "scale": grid,
            "share": list(SHARES),
            "selection": list(selections),
            "unit": [unit.name or "model" for unit in chosen],
            "image": list(scenes.ids),
            "category": ("image", list(scenes.category)),
        },
        attrs=described(
            model, scenes, grid, draws=draws, seed=seed, batch=batch, device=where.type
        ),
    )


def forced(units: Sequence[Unit]) -> dict[str, dict[str, Any]]:
    """Name the selections: natural with weights held fixed, and each kernel that all units have."""
    shared = set.intersection(*(set(unit.kernels or ()) for unit in units))
    kernels = [kernel for kernel in units[0].kernels or () if kernel in shared]
    selections: dict[str, dict[str, Any]] = {NATURAL: {u.name: Tensor.detach for u in units}}
    for kernel in sorted(kernels, key=lambda kernel: kernel if isinstance(kernel, int) else 0):
        selections[kernel_name(kernel)] = {unit.name: force(kernel=kernel) for unit in units}
    return selections


def squared_gradients(
    model: nn.Module,
    images: Tensor,
    units: Sequence[Unit],
    draws: int,
    generator: torch.Generator,
) -> Tensor:
    """Squared gradient of each unit's central position, summed over colours and channels.

    Returns
    -------
    Tensor
        (unit, image, y, x).
    """
    images = images.detach().requires_grad_()
    with torch.enable_grad(), ExitStack() as stack:
        seen = [stack.enter_context(unit_output(model, unit)) for unit in units]
        model(images)
    found = []
    for outputs in seen:
        (output,) = outputs
        central = output[:, :, output.shape[2] // 2, output.shape[3] // 2]  # (image, channel)
        total = torch.zeros_like(images[:, 0])
        for _ in range(draws):
            signs = 2.0 * torch.randint(2, central.shape, generator=generator) - 1
            (gradient,) = torch.autograd.grad(
                (signs.to(central) * central).sum(), images, retain_graph=True
            )
            total += gradient.square().sum(1) / draws
        found.append(total)
    return torch.stack(found)


def radii(field: np.ndarray) -> np.ndarray:
    """Radius about the centre of mass that holds each of `SHARES` of the mass.

    Parameters
    ----------
    field
        (…, y, x), not negative.

    Returns
    -------
    numpy.ndarray
        (share, …), in pixels.
    """
    height, width = field.shape[-2:]
    y, x = np.arange(height)[:, None], np.arange(width)
    mass = field.sum((-2, -1), keepdims=True)
    middle_y = (field * y).sum((-2, -1), keepdims=True) / mass
    middle_x = (field * x).sum((-2, -1), keepdims=True) / mass
    away = np.hypot(y - middle_y, x - middle_x).reshape(*field.shape[:-2], -1)
    order = np.argsort(away, axis=-1)
    held = np.take_along_axis(field.reshape(away.shape), order, -1).cumsum(-1)
    found = []
    for share in SHARES:
        first = (held < share * held[..., -1:]).sum(-1, keepdims=True)
        farthest = np.take_along_axis(order, first, -1)
        found.append(np.take_along_axis(away, farthest, -1)[..., 0])
    return np.stack(found)
