"""Where the weights of a unit are, and how to turn them to (image, branch, channel[, spatial…])."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from skviz.errors import RecordingError


@dataclass(frozen=True)
class Layout:
    """Roles of the axes of a unit's weight tensor.

    Attributes
    ----------
    image, branch : int or None
        Axis of the images (None: the weights are shared by the batch) and of the branches
        (None: the tensor holds ``a`` of a gate, whose branches weigh ``a`` and ``1 - a``).
    channel, spatial : tuple[int, ...]
        The axes along which channels and positions run; every other axis has size one.
    split : tuple[int, int] or None
        An axis that holds images and channels in one, and the number of channels.
    """

    image: int | None
    branch: int | None
    channel: tuple[int, ...]
    spatial: tuple[int, ...]
    split: tuple[int, int] | None = None

    def normalise(self, tensor: Tensor) -> Tensor:
        """Return a view (or, of a gate, a stack) of shape (image, branch, channel[, spatial…])."""
        whole = self._unfold(tensor)
        branch = self.branch
        if branch is None:  # a gate: (…,) -> (…, 2)
            branch = whole.dim()
            whole = torch.stack([whole, 1 - whole], dim=-1)
        axes = (self.image, branch, *self.channel, *self.spatial)
        named = [axis for axis in axes if axis is not None]
        single = [axis for axis in range(whole.dim()) if axis not in named]
        sizes = whole.shape
        if any(sizes[axis] != 1 for axis in single):
            raise RecordingError(
                f"the weights have shape {tuple(sizes)}, but axes {single} had size 1 when "
                "the unit was found; find the units again with an example input of the size you use"
            )
        images = 1 if self.image is None else sizes[self.image]
        channels = math.prod(sizes[axis] for axis in self.channel)
        spatial = [sizes[axis] for axis in self.spatial]
        turned = whole.permute(*single, *named)
        return turned.reshape(images, sizes[branch], channels, *spatial)

    def sums(self, tensor: Tensor) -> Tensor:
        """Sum over branches, in whatever shape."""
        if self.branch is None:
            return tensor + (1 - tensor)
        return precise_sum(self._unfold(tensor), self.branch)

    def _unfold(self, tensor: Tensor) -> Tensor:
        return (
            tensor if self.split is None else tensor.unflatten(self.split[0], (-1, self.split[1]))
        )

    def restore(self, weights: Tensor, like: Tensor) -> Tensor:
        """Undo `normalise`: weights (image, branch, channel…) in the shape of ``like``."""
        count = like.numel()
        places = self.normalise(torch.arange(count, device=like.device).reshape(like.shape))
        if self.branch is None:
            places, weights = places[:, 0], weights[:, 0]
        flat = weights.new_zeros(count).scatter(0, places.flatten(), weights.flatten())
        return flat.reshape(like.shape).to(like.dtype)


def precise_sum(tensor: Tensor, axis: int) -> Tensor:
    """Sum as exactly as the numbers are, and in float32 at least."""
    return tensor.sum(axis, dtype=torch.promote_types(tensor.dtype, torch.float32))
