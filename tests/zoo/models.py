"""A small Selective-Kernel model whose way of computing branches, logits and selection varies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

C = 4


def conv(kernel: int, dilation: int = 1, groups: int = 1, dims: int = 2, **kw: Any) -> nn.Module:
    kind = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[dims]
    norm = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}[dims]
    padding = dilation * (kernel - 1) // 2
    layer = kind(C, C, kernel, padding=padding, dilation=dilation, groups=groups, bias=False, **kw)
    return nn.Sequential(layer, norm(C), nn.ReLU())


class Modules(nn.Module):
    """One module per branch."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Any) -> list[Tensor]:
        return [branch(x) for branch in self.branches]


class Select(nn.Module):
    """Features → logits (image, branch, channel | 1 [, space…]) → ``select(features, logits)``."""

    def __init__(self, features: nn.Module, m: int, kind: str, select: Callable[..., Any]) -> None:
        super().__init__()
        self.features, self.m, self.kind, self.choose = features, m, kind, select
        width = C if kind == "channel" else 1
        self.head = nn.Linear(C, m * width)
        self.pixel = nn.Conv2d(C, m, 1) if kind in {"pixel", "frequency"} else None
        nn.init.normal_(self.head.weight, std=2.0)

    def logits(self, f: list[Tensor]) -> Tensor:
        u = torch.stack(list(f)).sum(0)  # (B, C, space…)
        if self.pixel is not None:
            z = 3 * self.pixel(u)  # (B, M, H, W)
            return z if self.kind == "pixel" else z.mean(-1)  # (B, M, H)
        z = self.head(u.flatten(2).mean(2))  # (B, M·C)
        return z.reshape(len(u), self.m, -1) if self.kind == "channel" else z

    def forward(self, x: Any) -> Any:
        f = self.features(x)
        return self.choose(f, self.logits(f))


@dataclass
class Case:
    """A model of the zoo and what is known about it without skviz."""

    name: str
    model: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)
    units: int = 1
    degenerate: bool = False
    kernels: tuple[int | tuple[int, ...], ...] | None = None
    kind: str | None = None
    branches: int = 2
    channels: int | None = C
    spatial: bool = False
    calls: int = 1
    unit_name: str | None = None
    true_weights: Callable[..., Tensor] | None = None
    reference: Callable[..., Tensor] | None = None

    def __repr__(self) -> str:
        return self.name


def softmax(z: Tensor) -> Tensor:
    """(image, branch, …) logits to weights, by NumPy in double precision."""
    e = np.exp(z.detach().double().numpy())
    return torch.from_numpy(e / e.sum(1, keepdims=True))


def canonical(z: Tensor, kind: str) -> Tensor:
    """Weights as skviz promises them: (image, branch, channel[, space…])."""
    return {
        "channel": z,
        "scalar": z[..., None],
        "pixel": z[:, :, None],
        "frequency": z[:, :, None],
    }[kind]


def selected(f: list[Tensor], w: Tensor) -> Tensor:
    """Σ weight · feature, branch by branch."""
    out = torch.zeros_like(f[0], dtype=torch.float64)
    for m, feature in enumerate(f):
        weight = w[:, m]  # (image, channel | 1 [, space…])
        weight = weight.reshape(*weight.shape, *[1] * (feature.dim() - weight.dim()))
        out += weight.double() * feature.double()
    return out


class Body(nn.Module):
    """A stem, the unit, a residual, and a head: the unit is not alone."""

    def __init__(self, sk: nn.Module, dims: int = 2) -> None:
        super().__init__()
        kind = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[dims]
        self.stem = kind(3, C, 3, padding=1)
        self.sk = sk
        self.head = nn.Linear(C, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        y = self.sk(x)
        y = y[0] if isinstance(y, tuple) else y
        return self.head((y + y.mean()).flatten(2).mean(2)) if y.dim() > 2 else y
