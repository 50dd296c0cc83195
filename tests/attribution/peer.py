"""The targets and models of these tests, computed without ```skviz.attribution``."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import skviz

Value = Callable[[Tensor], Tensor]  # images (row, 3, H, W) → (row,)


def mean_weight(model: nn.Module, name: str, branch: int, minus: int | None = None) -> Value:
    """Mean over channels and places of a branch's weight, minus that of another."""

    def value(images: Tensor) -> Tensor:
        with skviz.record(model, grad=torch.is_grad_enabled()) as recording:
            model(images)
        means = recording.weights[name].flatten(2).mean(2)  # (row, branch)
        return means[:, branch] - (0 if minus is None else means[:, minus])

    return value


@dataclass
class Subject:
    """A model, images, and targets: as `skviz.attribute` takes them, and as plain functions."""

    model: nn.Module
    images: Tensor
    targets: list[Any]
    values: list[Value]


def subject(model: nn.Module, images: Tensor, name: str) -> Subject:
    """Take a class for all, a class for each image, a branch and an attention difference.

    ``name`` is what the weights of a unit of two branches, the smaller kernel first, are recorded
    as.
    """
    model.eval()
    with torch.no_grad():
        logits = model(images)
    each = logits.argmin(1)

    def given(rows: Tensor) -> Tensor:  # Captum repeats whole batches
        return model(rows).gather(1, each.repeat(len(rows) // len(each))[:, None])[:, 0]

    return Subject(
        model,
        images,
        [
            1,
            skviz.target.classes(each.tolist()),
            skviz.target.branch(name, branch=1),
            skviz.target.difference(name),
        ],
        [
            lambda rows: model(rows)[:, 1],
            given,
            mean_weight(model, name, 1),
            mean_weight(model, name, 1, minus=0),
        ],
    )


class Spatial(nn.Module):
    """A unit with a weight for each pixel, then one that runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.pixel, self.twice = Unit(spatial=True), Unit(spatial=False)
        self.head = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pixel(F.relu(self.stem(x)))
        x = self.twice(self.twice(x))
        return self.head(x.mean((2, 3)))


class Unit(nn.Module):
    """Two branches, selected for each pixel or for each image."""

    def __init__(self, *, spatial: bool) -> None:
        super().__init__()
        self.spatial = spatial
        self.small, self.large = (nn.Conv2d(4, 4, k, padding=k // 2) for k in (3, 5))
        self.logits = nn.Conv2d(4, 2, 1)
        nn.init.normal_(self.logits.weight, std=3.0)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.small(x), self.large(x)
        z = self.logits(a + b)  # (B, 2, H, W)
        z = z if self.spatial else z.mean((2, 3), keepdim=True)
        w = z.softmax(1)
        return torch.tanh(a * w[:, :1] + b * w[:, 1:])


def agree(found: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    """Compare maps (image, y, x), relative to the largest value of each; no map may be empty."""
    size = expected.abs().amax((1, 2), keepdim=True)
    assert bool((size > 0).all())
    assert float(((found - expected) / size).abs().max()) < tolerance
