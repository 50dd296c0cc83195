"""A model as a function from images to the numbers that are attributed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from skviz.capture.recording import record

MOST_ROWS = 64  # beyond this a pass is not faster, but needs more memory
CLOSE = 1e-4  # distance from one at which weights may have been put there by an intervention
BUDGET = 2 * 2**30  # bytes of activations that one pass may keep


class Probe(nn.Module):
    """Maps rows (R, 3, H, W), versions of some images, to the values of T targets, (R, T).

    Captum attributes this module as it would any other.

    Parameters
    ----------
    model
        In evaluation mode.
    targets
        What is attributed.
    """

    def __init__(self, model: nn.Module, targets: Sequence[Any]) -> None:
        super().__init__()
        self.model, self.targets = model, targets
        self.recorded = list({t.unit.name: t.unit for t in targets if t.unit is not None}.values())
        self.which: Tensor | None = None

    def only(self, targets: Tensor, images: Tensor) -> Probe:
        """Return the probe of some of the targets and images, by index, numbered anew."""
        part = Probe(self.model, [self.targets[index] for index in targets.tolist()])
        part.which = images if self.which is None else self.which[images]
        return part

    def values(self, rows: Tensor, image: Tensor) -> list[Tensor]:
        """Return the value of each target, T × (R,); ``image`` (R,) says whose row it is."""
        grad = torch.is_grad_enabled()
        watching = record(self.model, self.recorded, grad=grad) if self.recorded else nullcontext()
        with watching as recording:
            logits = self.model(rows)
        weights = recording.weights if recording is not None else {}
        image = image if self.which is None else self.which[image]
        values = [target.value(logits, weights, image) for target in self.targets]
        return [v.to(torch.promote_types(v.dtype, torch.float32)) for v in values]

    def evaluate(self, images: Tensor, rows: int) -> Tensor:
        """Return the targets' values without gradients, (T, image), in float64, some at a time."""
        everyone = torch.arange(len(images), device=images.device)
        with torch.no_grad():
            return torch.cat([self(images[some], some) for some in everyone.split(rows)]).T.double()

    def implied(self, values: Sequence[Tensor]) -> dict[int, list[int]]:
        """Name the targets whose gradient is minus the sum of others': a unit's weights sum to one.

        Where all branches of a unit are targets, its last one needs no pass of its own.
        """
        groups: dict[Any, list[int]] = {}
        for index, target in enumerate(self.targets):
            if target.unit is not None and [sign for _, sign in target.signs] == [1.0]:
                groups.setdefault((target.call, target.channels), []).append(index)
        whole = {}
        for indices in groups.values():
            unit = self.targets[indices[0]].unit
            branches = {self.targets[index].signs[0][0] for index in indices}
            total = torch.stack([values[index].detach() for index in indices]).sum(0)
            if (
                len(branches) == len(indices) == unit.branches
                and float((total - 1).abs().max()) < CLOSE
            ):
                whole[indices[-1]] = indices[:-1]
        return whole

    def forward(self, rows: Tensor, image: Tensor) -> Tensor:
        """Return the value of every target for every row, (R, T)."""
        return torch.stack(self.values(rows, image), 1)


def rows_that_fit(probe: nn.Module, row: Tensor) -> int:
    """Return how many rows one forward pass with gradients may take, from what one row keeps.

    Parameters
    ----------
    probe
        To be run.
    row
        (1, 3, H, W).
    """
    image = torch.zeros(1, dtype=torch.long, device=row.device)
    own = {parameter.untyped_storage().data_ptr() for parameter in probe.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        alive = probe(row.detach().requires_grad_(), image)  # noqa: F841 (so that no storage is reused)
    per_row = max(sum(kept.values()), row.nbytes)
    return max(1, min(MOST_ROWS, int(budget(row.device) // (2 * per_row))))


def budget(device: torch.device) -> float:
    """Return the bytes that one pass may keep: 2 GiB, or a quarter of what is free if less."""
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
    else:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(BUDGET, free / 4)
