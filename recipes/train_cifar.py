"""The recipe of the shipped network `cifar10`."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from recipes.cifar import CLASSES, Cifar10
from recipes.train import Batches, Training
from skviz.models.nn import SKNet

__all__ = ["CIFAR10", "CifarRecipe"]

NETWORK: dict[str, Any] = {
    "depths": (1, 2, 2),
    "widths": (64, 128, 192),
    "stem_channels": 64,
    "stem_stride": 2,
    "groups": 4,
    "kernels": (3, 5),
}


class Trapezoids(torch.optim.lr_scheduler.LambdaLR):
    """A schedule that, resumed, goes on with its own next rate and not with the one it was left."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the state, and set the rate of the next step."""
        super().load_state_dict(state_dict)
        for group, peak, height in zip(
            self.optimizer.param_groups, self.base_lrs, self.lr_lambdas, strict=True
        ):
            group["lr"] = peak * height(self.last_epoch)


@dataclass(frozen=True, kw_only=True)
class CifarRecipe(Training):
    """Photographs of CIFAR-10, cropped at random (never resized) and mirrored or not.

    In each cycle the learning rate rises over `warmup` steps, stays, and falls linearly to 0. A
    stopped run may be resumed with other cycles, as long as the steps done would be the same.

    Attributes
    ----------
    crop
        Side in pixels of what is cut out of the 32×32 photographs.
    warmup
        Steps of the rise.
    cycles
        Steps of each cycle, and of its fall; their sum is `steps`.
    """

    name: str = "cifar10"
    network: dict[str, Any] = field(default_factory=lambda: NETWORK)
    batch: int = 128
    canvas: int = 32
    crop: int = 28
    warmup: int = 200
    cycles: Sequence[Sequence[int]] = ((7000, 2800),)
    steps: int = 7000

    @property
    def categories(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the logits."""
        return CLASSES

    def prepare(self, network: SKNet) -> None:
        """Start from a stem that whitens 3×3 patches, and from blocks that add nothing."""
        photographs = pictures(Cifar10(train=True))[:2000].float() / 255
        patches = F.unfold(photographs, 3)[:, :, ::7].permute(1, 0, 2).flatten(1)  # (27, patches)
        values, vectors = torch.linalg.eigh(torch.cov(patches))
        whitening = (vectors / (values + 1e-3).sqrt()).T.unflatten(1, (3, 3, 3))
        with torch.no_grad():
            network.get_parameter("stem.conv.weight")[:54] = torch.cat([whitening, -whitening])
            for name, value in network.named_parameters():
                if name.endswith("expand.bn.weight"):
                    value.zero_()

    def schedule(self, optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        """Return the trapezoids."""
        return Trapezoids(optimizer, lambda step: self.height(step))

    def height(self, step: int) -> float:
        """Return the learning rate of a step, as a fraction of its peak."""
        for steps, fall in self.cycles:
            if step < steps:
                return min(1, (step + 1) / self.warmup, (steps - step) / fall)
            step -= steps
        return 0

    def continues(self, other: dict[str, Any], step: int) -> bool:
        """Whether `step` steps of the other recipe are the first `step` steps of this one."""
        if other.keys() != self.plain().keys():
            return False
        theirs = CifarRecipe(**other)
        same = replace(theirs, cycles=self.cycles, steps=self.steps).plain() == self.plain()
        return same and all(self.height(s) == theirs.height(s) for s in range(step))

    def batches(self, where: torch.device) -> Batches:
        """Return what makes the images and labels of a step."""
        dataset = Cifar10(train=True)
        images = pictures(dataset).to(where)
        labels = torch.tensor(dataset.targets, device=where)
        return lambda step, share: self.photographs(images, labels, step, share)

    def photographs(
        self, images: Tensor, labels: Tensor, step: int, share: slice = slice(None)
    ) -> tuple[Tensor, Tensor]:
        """Make the images (batch, 3, crop, crop) in 0…1 and labels of one step, or a share."""
        epoch, place = divmod(step, len(images) // self.batch)
        shuffle = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        order = torch.randperm(len(images), generator=shuffle)
        chosen = order[place * self.batch : (place + 1) * self.batch][share]
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + 500_000 + step)
        room = images.shape[-1] - self.crop + 1
        corners = torch.randint(room, (self.batch, 2), generator=generator)[share].tolist()
        cut = torch.stack(
            [
                images[i, :, y : y + self.crop, x : x + self.crop]
                for i, (y, x) in zip(chosen.tolist(), corners, strict=True)
            ]
        )
        mirror = torch.rand(self.batch, 1, 1, 1, generator=generator)[share].to(cut.device) < 0.5
        return torch.where(mirror, cut.flip(3), cut).float() / 255, labels[chosen]


def pictures(dataset: Cifar10) -> Tensor:
    """Return all photographs, uint8 (N, 3, 32, 32)."""
    return torch.from_numpy(dataset.data).permute(0, 3, 1, 2).contiguous()


CIFAR10 = CifarRecipe()
