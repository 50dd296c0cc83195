"""Forms that were written before the code that should find them, and looked at after it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .literature import MAPS, PIXEL, SCALAR, Forms, collector, made, mixed, pooled
from .models import C, Case, conv, softmax
from .negatives import TOKENS, fc, param, pw

_forms: Forms = []
form = collector(_forms)


def _pyramid(m: Any, x: Tensor) -> list[Tensor]:
    large = m.a(x)
    middle = m.b(F.max_pool2d(x, 2))
    small = m.c(F.max_pool2d(x, 4))
    return [large, *(F.interpolate(y, size=x.shape[-2:]) for y in (middle, small))]


def _adaptive(m: Any, f: list[Tensor]) -> Tensor:
    return m.k(torch.cat([score(y) for score, y in zip(m.scores, f, strict=True)], 1))


@form(
    "adaptively spatial fusion of a pyramid",
    lambda m, x: softmax(_adaptive(m, _pyramid(m, x)))[:, :, None],
    given={**PIXEL, "branches": 3},
    a=lambda: conv(3), b=lambda: conv(3), c=lambda: conv(3), k=pw(6, 3),
    scores=lambda: nn.ModuleList(nn.Conv2d(C, 2, 1) for _ in range(3)),
)  # fmt: skip
def _(m, x):
    f = _pyramid(m, x)
    w = _adaptive(m, f).softmax(dim=1)
    return f[0] * w[:, 0:1] + f[1] * w[:, 1:2] + f[2] * w[:, 2:]


def _skip(m: Any, x: Tensor) -> list[Tensor]:
    first = m.first(x)
    deep = F.pixel_shuffle(m.up(m.down(first)), 2)
    return [deep, m.shortcut(first)]


def _mlp(m: Any, f: list[Tensor]) -> Tensor:
    z = m.two(F.gelu(m.one(F.adaptive_avg_pool2d(f[0] + f[1], 1))))
    return z.view(len(z), 2, C)


@form(
    "a decoder chooses between its path and the skip",
    lambda m, x: softmax(_mlp(m, _skip(m, x))),
    given={"kernels": (2, 1)},  # a pixel of the first sees a block of two by two
    first=lambda: conv(3), down=lambda: nn.Conv2d(C, C, 2, 2), up=pw(C, 4 * C), shortcut=pw(),
    one=pw(C, 2), two=pw(2, 2 * C),
)  # fmt: skip
def _(m, x):
    f = _skip(m, x)
    w = _mlp(m, f).view(len(x), 2, C, 1, 1).softmax(1)
    return x + (torch.cat(f, 1).view(len(x), 2, C, 8, 8) * w).sum(1)


def _threshold(z: Tensor) -> Tensor:
    """Sparsemax over the last axis (Martins & Astudillo, ICML 2016)."""
    ordered = z.sort(-1, descending=True).values
    number = torch.arange(1, z.shape[-1] + 1, dtype=z.dtype)
    sums = ordered.cumsum(-1) - 1
    support = (number * ordered > sums).sum(-1, keepdim=True)
    return F.relu(z - sums.gather(-1, support - 1) / support)


def _by_bisection(m: Any, x: Tensor) -> Tensor:
    """The same by bisection of the threshold, (B, M, C)."""
    z = pooled(m, [m.a(x), m.b(x), m.c(x)]).detach().double()
    low, high = z.amin(1, keepdim=True) - 1, z.amax(1, keepdim=True)
    for _ in range(80):
        middle = (low + high) / 2
        above = (z - middle).clamp(min=0).sum(1, keepdim=True) > 1
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
    return (z - low).clamp(min=0)


@form("sparsemax", _by_bisection, given={"branches": 3, "kernels": (1, 3, 5)},
      a=lambda: conv(1), b=lambda: conv(3), c=lambda: conv(5), head=fc(C, 3 * C))  # fmt: skip
def _(m, x):
    f = [m.a(x), m.b(x), m.c(x)]
    w = _threshold(pooled(m, f).transpose(1, 2))
    return sum(y * w[:, :, i, None, None] for i, y in enumerate(f))


def _scores(m: Any, f: list[Tensor]) -> Tensor:
    keys = torch.stack([m.k(y.mean((2, 3))) for y in f], 1)  # (B, M, C)
    query = m.q(sum(f).mean((2, 3)))
    return (keys * query[:, None]).sum(-1) / C**0.5


@form(
    "branches attended to by a query",
    lambda m, x: softmax(_scores(m, [m.a(x), m.b(x)]))[..., None],
    given={**SCALAR, "kernels": (3, 7)},
    a=lambda: conv(3), b=lambda: conv(7), q=fc(), k=fc(),
)  # fmt: skip
def _(m, x):
    f = [m.a(x), m.b(x)]
    keys = torch.stack([m.k(y.mean((2, 3))) for y in f], 1)
    w = (m.q(sum(f).mean((2, 3)))[:, None] @ keys.transpose(1, 2) / C**0.5).softmax(-1)
    return (w @ torch.stack(f, 1).flatten(2)).view(x.shape)  # (B, 1, M) @ (B, M, CHW)


def _hybrid(m: Any, x: Tensor) -> list[Tensor]:
    near = m.near(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    tokens = x.flatten(1, 2)
    far = (m.q(tokens) @ m.k(tokens).transpose(1, 2)).softmax(-1) @ m.v(tokens)
    return [near, far.view(x.shape)]


@form(
    "convolution or attention, channels last",
    lambda m, x: softmax(torch.stack(
        [m.g(sum(_hybrid(m, x))), torch.zeros_like(x)], 1)).movedim(-1, 2),
    given={"args": (MAPS,), "spatial": True, "kind": "per pixel"},
    near=lambda: nn.Conv2d(C, C, 3, padding=1), q=fc(), k=fc(), v=fc(), g=fc(),
)  # fmt: skip
def _(m, x):
    near, far = _hybrid(m, x)
    a = m.g(near + far).sigmoid()
    return a * near + (1 - a) * far


@form(
    "one weight for a group of channels",
    lambda m, x: softmax(m.head((m.a(x) + m.b(x)).mean((2, 3))).view(-1, 2, 2)),
    given={"kernels": (3, 5), "channels": 2},
    a=lambda: conv(3), b=lambda: conv(5), head=fc(C, 4),
)  # fmt: skip
def _(m, x):
    f = [m.a(x), m.b(x)]
    w = m.head(sum(f).mean((2, 3))).view(-1, 2, 2).softmax(1).repeat_interleave(2, 2)
    return mixed(f, w)


def _volumes(m: Any, x: Tensor) -> list[Tensor]:
    return [m.a(x), m.b(x)]


@form(
    "volumes: flat and cubic kernels",
    lambda m, x: softmax(pooled(m, _volumes(m, x))),
    given={"args": (torch.randn(3, C, 4, 6, 6),), "kernels": ((1, 5, 5), 3)},
    a=lambda: nn.Conv3d(C, C, (1, 3, 3), padding=(0, 2, 2), dilation=(1, 2, 2)),
    b=lambda: conv(3, dims=3), head=fc(C, 2 * C),
)  # fmt: skip
def _(m, x):
    f = _volumes(m, x)
    return mixed(f, pooled(m, f).softmax(1))


def _local_global(m: Any, x: Tensor, y: Tensor) -> Tensor:
    u = x + y
    return m.local(u) + m.all(u.mean((2, 3), keepdim=True))


@form(
    "attentional feature fusion, doubled",
    lambda m, x: softmax(torch.stack(
        [_local_global(m, m.a(x), m.b(x)), torch.zeros_like(x)], 1)),
    given={"kernels": (3, 5), "spatial": True, "kind": "per pixel"},
    a=lambda: conv(3), b=lambda: conv(5), local=pw(), all=pw(),
)  # fmt: skip
def _(m, x):
    a, b = m.a(x), m.b(x)
    w = torch.sigmoid(_local_global(m, a, b))
    return 2 * a * w + 2 * b * (1 - w)


def _scales(m: Any, x: Tensor) -> list[Tensor]:
    scaled = [x, F.interpolate(x, scale_factor=0.5, mode="bilinear", align_corners=False)]
    return [m.net(y) for y in scaled]


def _enlarged(y: Tensor) -> Tensor:
    return F.interpolate(y, size=(8, 8), mode="bilinear", align_corners=False)


@form(
    "attention to scale: one network at two sizes",
    lambda m, x: softmax(m.k(torch.cat([_enlarged(y) for y in _scales(m, x)], 1)))[:, :, None],
    given=PIXEL,
    net=lambda: conv(3), k=pw(2 * C, 2),
)  # fmt: skip
def _(m, x):
    f = torch.stack([_enlarged(y) for y in _scales(m, x)], 1)
    w = m.k(f.flatten(1, 2)).softmax(1)
    return (f * w.unsqueeze(2)).sum(1)


@form("experts in one matrix, routed by tokens", None, given={"args": (TOKENS,)},
      e=fc(C, 3 * C), g=fc(C, 3))  # fmt: skip
def _(m, x):
    e = m.e(x).unflatten(-1, (3, C))
    return (e * m.g(x).softmax(-1)[..., None]).sum(2)


@form("one query attends to the tokens of two maps", None, a=lambda: conv(3), b=lambda: conv(5),
      q=param(1, C))  # fmt: skip
def _(m, x):
    kv = torch.cat([m.a(x).flatten(2), m.b(x).flatten(2)], 2).transpose(1, 2)
    w = (m.q @ kv.transpose(1, 2)).softmax(-1)
    return w @ kv


@form("a sigmoid for each channel of two maps", None, a=lambda: conv(3), b=lambda: conv(5),
      k=fc(2 * C, 2 * C))  # fmt: skip
def _(m, x):
    y = torch.cat([m.a(x), m.b(x)], 1)
    return (y * m.k(y.mean((2, 3))).sigmoid()[..., None, None]).view(len(x), 2, C, 8, 8).sum(1)


def held_back() -> Iterator[Case]:
    """Yield the forms that were looked at last."""
    return made(_forms, 8)
