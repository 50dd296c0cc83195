"""Where the weights of a unit are, and how to turn them to (image, branch, channel[, spatial…])."""

from __future__ import annotations

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
        tensor = self._unfold(tensor)
        branch = self.branch
        if branch is None:  # a gate: (…,) -> (…, 2)
            branch = tensor.dim()
            tensor = torch.stack([tensor, 1 - tensor], dim=-1)
        order, shape = self._target(tensor, branch)
        return tensor.permute(order).reshape(shape)

    def sums(self, tensor: Tensor) -> Tensor:
        """Sum over branches, in whatever shape."""
        if self.branch is None:
            return tensor + (1 - tensor)
        return self._unfold(tensor).sum(self.branch, dtype=torch.float32)

    def restore(self, weights: Tensor, like: Tensor) -> Tensor:
        """Undo `normalise`: weights (image, branch, channel…) in the shape of ``like``."""
        whole = self._unfold(like)
        branch = self.branch
        if branch is None:
            branch = whole.dim()
            whole = whole.unsqueeze(-1).expand(*whole.shape, 2)
        order, _ = self._target(whole, branch)
        weights = weights.reshape([whole.shape[axis] for axis in order])
        inverse = [order.index(axis) for axis in range(len(order))]
        tensor = weights.permute(inverse)
        if self.branch is None:
            tensor = tensor.select(-1, 0)
        return tensor.reshape(like.shape).to(like.dtype)

    def _unfold(self, tensor: Tensor) -> Tensor:
        if self.split is None:
            return tensor
        axis, channels = self.split
        return tensor.reshape(*tensor.shape[:axis], -1, channels, *tensor.shape[axis + 1 :])

    def _target(self, tensor: Tensor, branch: int) -> tuple[list[int], list[int]]:
        named = [
            axis for axis in (self.image, branch, *self.channel, *self.spatial) if axis is not None
        ]
        single = [axis for axis in range(tensor.dim()) if axis not in named]
        if any(tensor.shape[axis] != 1 for axis in single):
            raise RecordingError(
                f"the weights have shape {tuple(tensor.shape)}, but axes {single} had size 1 when "
                "the unit was found; find the units again with an example input of the size you use"
            )
        sizes = tensor.shape
        channels = 1
        for axis in self.channel:
            channels *= sizes[axis]
        images = 1 if self.image is None else sizes[self.image]
        shape = [images, sizes[branch], channels, *(sizes[axis] for axis in self.spatial)]
        return [*single, *named], shape
