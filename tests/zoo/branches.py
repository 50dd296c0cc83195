"""Branches that write in place, move places, stride, or have kernels that are not square."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .models import C, Modules, conv

Written = Callable[[Tensor, Tensor, Tensor], list[Tensor]]
_written: dict[str, Written] = {}


class Pair(nn.Module):
    """A 3×3 and a 5×5 convolution, and what is done with memory afterwards."""

    def __init__(self, run: Written) -> None:
        super().__init__()
        self.small, self.large, self.run = conv(3), conv(5), run

    def forward(self, x: Tensor) -> list[Tensor]:
        return self.run(x, self.small(x), self.large(x))


def written(name: str) -> Callable[[Written], Written]:
    def add(run: Written) -> Written:
        _written[name] = run
        return run

    return add


@written("views taken before they are written")
def _(x, a, b):
    y = x.new_zeros(len(x), 2, *x.shape[1:])
    first, second = y[:, 0], y[:, 1]
    y[:, 0] = a
    y[:, 1] = b
    return [first, second]


@written("a part written after the whole was used")
def _(x, a, b):
    y = x.repeat(1, 2, 1, 1)
    first, second = y.chunk(2, 1)
    y.copy_(torch.cat([a, b], 1))
    return [first, second]


@written("half of a concatenation rescaled in place")
def _(_x, a, b):
    y = torch.cat([a, b], 1)
    y[:, C:].mul_(2.0)
    return list(y.chunk(2, 1))


@written("given with out=")
def _(x, a, b):
    y = x.repeat(1, 2, 1, 1)
    torch.mul(a, 1.5, out=y[:, :C])
    torch.mul(b, 1.5, out=y[:, C:])
    return list(y.chunk(2, 1))


@written("through strides")
def _(x, a, b):
    y = x.repeat(1, 2, 1, 1)
    size, step = x.shape, y.stride()
    y.as_strided(size, step).copy_(a)
    y.as_strided(size, step, x[0].numel()).copy_(b)
    return list(y.chunk(2, 1))


class Parts(nn.Module):
    """A 1×1 convolution of each half of what 3×3 and 5×5 kernels saw."""

    def __init__(self) -> None:
        super().__init__()
        self.small, self.large = conv(3), conv(5)
        self.one, self.two = nn.Conv2d(C, C, 1), nn.Conv2d(C, C, 1)

    def forward(self, x: Tensor) -> list[Tensor]:
        y = torch.cat([self.small(x), self.large(x)], 1)
        return [self.one(y[:, :C]), self.two(y[:, C:])]


class Every(nn.Module):
    """Every second place."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, ::2, ::2]


class Moved(nn.Module):
    """Something and itself, moved by two places."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x)
        return y + y.roll(2, (2,)) + y.roll(2, (3,))


class Enlarged(nn.Module):
    """A convolution at half the size."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = conv(3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(self.layer(x), scale_factor=2.0)


class Turned(nn.Module):
    """A 1×5 convolution of the turned image, which is a 5×1 of the image."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(C, C, (1, 5), padding=(0, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.transpose(2, 3)).transpose(2, 3)


def _strip(height: int, width: int) -> nn.Module:
    return nn.Conv2d(C, C, (height, width), padding=(height // 2, width // 2))


def _circular(kernel: int) -> nn.Module:
    return nn.Conv2d(C, C, kernel, padding=kernel // 2, padding_mode="circular")


def _folded() -> nn.Module:
    return nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4 * C, C, 3, padding=1))


Kernels = tuple[int | tuple[int, ...], ...] | None
# Kernels by hand; None where there is none, whatever a formula may say.
branches: dict[str, tuple[Callable[[], nn.Module], Kernels]] = {
    **{name: (lambda run=run: Pair(run), (3, 5)) for name, run in _written.items()},
    "of halves of a concatenation": (Parts, (3, 5)),
    "strips": (lambda: Modules(_strip(1, 7), _strip(7, 1)), ((1, 7), (7, 1))),
    "a strip and a square": (lambda: Modules(conv(3), _strip(1, 5)), (3, (1, 5))),
    "stride inside": (
        lambda: Modules(conv(5, stride=2), nn.Sequential(conv(3, stride=2), conv(3))),
        (5, 3 + 2 * 2),
    ),
    "every second place": (
        lambda: Modules(conv(3, stride=2), nn.Sequential(Every(), conv(5))),
        (3, 1 + 4 * 2),
    ),
    "places folded into channels": (lambda: Modules(conv(3, stride=2), _folded()), (3, 6)),
    "strided pools": (
        lambda: Modules(
            nn.Sequential(nn.MaxPool2d(2), conv(3)), nn.Sequential(nn.AvgPool2d(2), conv(5))
        ),
        (2 + 2 * 2, 2 + 4 * 2),
    ),
    "moved and added": (lambda: Modules(conv(3), Moved(conv(3))), (3, 3 + 2)),
    "moved and added, then convolved": (
        lambda: Modules(conv(3), nn.Sequential(Moved(conv(3)), conv(3))),
        (3, 3 + 2 + 2),
    ),
    "circular padding": (lambda: Modules(_circular(3), _circular(5)), (3, 5)),
    "turned": (lambda: Modules(conv(3), Turned()), None),
    "enlarged": (lambda: Modules(conv(3), Enlarged()), None),
    "transposed": (
        lambda: Modules(conv(3), nn.ConvTranspose2d(C, C, 5, padding=2)),
        None,
    ),
}
