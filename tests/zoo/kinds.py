"""Gates that keep a state and mixtures of experts: units only for those who ask for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from .models import C, Case, conv, softmax
from .negatives import IMAGE, Parts, fc, pw

Weights = Callable[[Any, Tensor], Tensor]
Forward = Callable[[Any, Tensor], Any]
_asked: list[tuple[str, dict[str, Callable[[], nn.Module]], Weights, Forward, dict[str, Any]]] = []


def asked(
    name: str, weights: Weights, known: dict[str, Any], **parts: Callable[[], nn.Module]
) -> Callable[[Forward], Forward]:
    def add(run: Forward) -> Forward:
        _asked.append((name, parts, weights, run, known))
        return run

    return add


def _pair(z: Tensor) -> Tensor:
    """Weights of a gate, (B, 2, C, …)."""
    return softmax(torch.stack([z, torch.zeros_like(z)], 1))


class ConvGRU(nn.Module):
    """A convolutional gated recurrent unit (Ballas et al., ICLR 2016), one step of it."""

    def __init__(self) -> None:
        super().__init__()
        self.z, self.r, self.h = (nn.Conv2d(2 * C, C, 3, padding=1) for _ in range(3))

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        both = torch.cat([x, h], 1)
        z, r = torch.sigmoid(self.z(both)), torch.sigmoid(self.r(both))
        new = torch.tanh(self.h(torch.cat([x, r * h], 1)))
        return z * new + (1 - z) * h


class Minimal(nn.Module):
    """Its candidate does not look at the state."""

    def __init__(self) -> None:
        super().__init__()
        self.z, self.h = nn.Conv2d(2 * C, C, 3, padding=1), conv(5)

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        return torch.lerp(h, self.h(x), torch.sigmoid(self.z(torch.cat([x, h], 1))))


def _first_step(m: Any, x: Tensor) -> Tensor:
    return _pair(m.cell.z(torch.cat([x, m.first(x)], 1)))


STATE = {"kind": "state", "channels": C, "spatial": True}


@asked("convolutional GRU, a step", _first_step, STATE, first=lambda: conv(3), cell=ConvGRU)
def _(m, x):
    return m.cell(x, m.first(x))


@asked("minimal gated unit", _first_step, STATE, first=lambda: conv(3), cell=Minimal)
def _(m, x):
    return m.cell(x, m.first(x))


def _highway(m: Any, x: Tensor) -> Tensor:
    return _pair(m.t(m.stem(x)))


@asked("highway", _highway, STATE, stem=lambda: conv(3), h=lambda: conv(5), t=pw())
def _(m, x):
    x = m.stem(x)
    t = torch.sigmoid(m.t(x))
    return t * m.h(x) + (1 - t) * x


@asked(
    "highway with one gate for each channel",
    lambda m, x: _pair(m.t(x.mean((2, 3)))),
    {**STATE, "spatial": False},
    h=lambda: conv(5),
    t=fc(),
)
def _(m, x):
    t = torch.sigmoid(m.t(x.mean((2, 3))))[..., None, None]
    return t * m.h(x) + (1 - t) * x


MIXTURE = {"kind": "mixture", "channels": None, "branches": 3}


def experts(*kernels: int) -> Callable[[], nn.Module]:
    return lambda: nn.ModuleList(conv(kernel) for kernel in kernels)


def _routed(m: Any, x: Tensor) -> Tensor:
    return softmax(m.router(x.mean((2, 3))))[..., None]


@asked(
    "mixture of convolutional experts",
    _routed,
    {**MIXTURE, "kernels": (3, 3, 3)},
    e=experts(3, 3, 3),
    router=fc(C, 3),
)
def _(m, x):
    w = m.router(x.mean((2, 3))).softmax(1)
    return (torch.stack([e(x) for e in m.e], 1) * w[:, :, None, None, None]).sum(1)


@asked(
    "mixture of experts of several sizes",
    _routed,
    {**MIXTURE, "kernels": (1, 3, 5)},
    e=experts(1, 3, 5),
    router=fc(C, 3),
)
def _(m, x):
    w = m.router(x.mean((2, 3))).softmax(1)
    return sum(e(x) * w[:, i, None, None, None] for i, e in enumerate(m.e))


def asked_for() -> Iterator[Case]:
    """Each is found, with its weights, if its kind is asked for."""
    torch.manual_seed(4)
    for name, parts, weights, run, known in _asked:
        model = Parts({key: make() for key, make in parts.items()}, run).eval()

        def true_weights(x: Tensor, model: Any = model, weights: Weights = weights) -> Tensor:
            return weights(model, x)

        yield Case(name, model, (IMAGE,), true_weights=true_weights, **known)


class Recurrent(nn.Module):
    """A state that starts from nothing, for three steps."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = ConvGRU()

    def forward(self, x: Tensor) -> Tensor:
        h = torch.zeros_like(x)
        for step in range(3):
            h = self.cell(x.roll(step, 3), h)
        return h


def not_asked_for() -> Iterator[Case]:
    """None of these is found by default."""
    for case in asked_for():
        yield replace(case, units=0)
    torch.manual_seed(5)
    yield Case("convolutional GRU over time", Recurrent().eval(), (IMAGE,), units=0)
