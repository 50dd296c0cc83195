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

import os
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from skviz.capture import Unit
from skviz.capture.interventions import force, intervene
from skviz.capture.names import kernel_name
from skviz.capture.outputs import unit_output
from skviz.errors import Count, Seed, entrance
from skviz.scenes.made import sha256_of
from skviz.studies.keeping import Variable
from skviz.studies.options import Client, Options
from skviz.studies.setting import choose
from skviz.studies.study import Batch, Study, run

SHARES = (0.5, 0.95)
NATURAL = "natural"


@dataclass(frozen=True)
class Fields:
    """How much of the image units look at.

    Attributes
    ----------
    draws, seed
        As `receptive_field` takes them.
    """

    draws: Count
    seed: Seed
    name: ClassVar[str] = "receptive_field"
    in_turn: ClassVar[bool] = False
    needs_units: ClassVar[bool] = True

    @property
    def options(self) -> dict[str, Any]:
        """What the numbers depend on."""
        return {"draws": self.draws, "seed": self.seed}

    def variables(self, study: Study) -> dict[str, Variable]:
        """Say what is kept."""
        count = (len(forced(shown(study))), len(study.units))
        side = study.scenes.canvas
        dims = ("selection", "unit")
        return {
            "field": Variable(
                "task scale", (*dims, "y", "x"), (*count, side, side), "f8",
                "share of the squared gradient", "1", 0,
            ),
            "radius": Variable(
                "image scale", ("share", *dims), (len(SHARES), *count), "f4",
                "radius that holds a share of the field", "pixels",
            ),
        }  # fmt: skip

    def coords(self, study: Study) -> dict[str, Any]:
        """Which selections there are."""
        names = [unit.name or "model" for unit in study.units]
        return {
            "share": ("share", list(SHARES), {"long_name": "share of the field", "units": "1"}),
            "selection": ("selection", list(forced(shown(study))), {"long_name": "selection"}),
            "unit": ("unit", names, {"long_name": "unit"}),
        }

    def __call__(self, model: nn.Module, batch: Batch) -> dict[str, np.ndarray]:
        """Take the gradients, with signs that depend on nothing but the seed and the image's name.

        What an image holds rounds otherwise on another processor.
        """
        names = [batch.study.scenes.ids[number] for number in batch.numbers]
        seeds = [int(sha256_of([f"{self.seed} {name}".encode()])[:15], 16) for name in names]
        signs = [torch.Generator().manual_seed(seed) for seed in seeds]
        every, squared = shown(batch.study), []
        for changes in forced(every).values():
            with intervene(model, changes, units=every):
                squared.append(
                    squared_gradients(model, batch.images, batch.units, self.draws, signs)
                )
        found = torch.stack(squared).cpu().numpy()  # (selection, unit, image, y, x)
        return {
            "field": found.transpose(2, 0, 1, 3, 4),
            "radius": radii(found).transpose(3, 0, 1, 2),  # (share, selection, unit, image) before
        }


@entrance
def receptive_field(
    model: nn.Module,
    scenes: Any,
    *,
    scales: Sequence[float] = (1.0,),
    units: str | Unit | Iterable[str | Unit] | None = None,
    draws: Count = 4,
    batch: Count = 16,
    seed: Seed = 0,
    device: str = "auto",
    progress: bool = True,
    store: str | os.PathLike[str] | None = None,
    chunk: Count = 128,
    on_error: Literal["stop", "skip"] = "stop",
    client: Client | None = None,
) -> xr.Dataset:
    """Measure the effective receptive field of units, as they are and with each kernel forced.

    Parameters
    ----------
    model
        With units whose modules give feature maps; it comes back as it was.
    scenes
        As `skviz.sweep` takes them.
    scales
        Increasing.
    units
        Names, units, or one of them; by default all that can be shown.
    draws
        Random signs with which a unit's channels are summed before the gradient is taken. The mean
        over draws of the squared gradient is that over channels, without one pass for each.
    seed
        Of the signs.
    batch, device, progress, store, chunk, on_error, client
        See `skviz.studies.study.Options`.

    Returns
    -------
    xarray.Dataset
        As the module's documentation lists it; distances in pixels of the image.

    Raises
    ------
    UnitError
        If a unit runs several times in a pass or its module gives no feature map.

    Examples
    --------
    >>> import skviz
    >>> model, scenes = skviz.load("objects"), skviz.place(skviz.objects(category="bus"))[:1]
    >>> field = skviz.receptive_field(model, scenes, scales=[1.0], progress=False)
    >>> field.sizes["unit"]
    6
    """
    options = Options(units, batch, device, progress, store, chunk, on_error, client)
    ds = run(model, scenes, scales, Fields(draws, seed), options)
    total = ds["field"].sum("task")
    field = (total / total.sum(["y", "x"])).assign_attrs(ds["field"].attrs)
    ds = ds.drop_vars("field").assign(field=field)
    return ds.transpose("scale", "share", "selection", "unit", "image", "y", "x")


def shown(study: Study) -> list[Unit]:
    """Return all units, whichever are asked for: the weights of all are held or forced."""
    return choose(study.found, None)


def forced(units: Sequence[Unit]) -> dict[str, dict[str, Any]]:
    """Name the selections: natural with weights held fixed, and each kernel that all units have."""
    shared = set.intersection(*(set(unit.kernels or ()) for unit in units))
    kernels = [kernel for kernel in units[0].kernels or () if kernel in shared]
    selections: dict[str, dict[str, Any]] = {NATURAL: {u.name: Tensor.detach for u in units}}
    for kernel in sorted(kernels, key=lambda kernel: kernel if isinstance(kernel, int) else 0):
        name = kernel_name(kernel, units[0].axes)
        selections[name] = {unit.name: force(kernel=kernel) for unit in units}
    return selections


def squared_gradients(
    model: nn.Module,
    images: Tensor,
    units: Sequence[Unit],
    draws: Count,
    generators: Sequence[torch.Generator],
) -> Tensor:
    """Squared gradient of each unit's central position, summed over colours and channels.

    Signs come from a generator for each image.

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
            drawn = [torch.randint(2, central.shape[1:], generator=own) for own in generators]
            signs = 2.0 * torch.stack(drawn) - 1
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
