"""Forms of published architectures, written when the code that should find them was done."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .literature import PIXEL, SCALAR, Forms, collector, made
from .models import C, Case, conv, softmax
from .negatives import fc, pw

_forms: Forms = []
form = collector(_forms)


def _random(*shape: int, seed: int = 11) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# --- EPSANet (Zhang et al., 2021): branches are weighed and then concatenated ----------------


def _pyramid(m: Any, x: Tensor) -> list[Tensor]:
    return [layer(x) for layer in m.convs]


def _squeezed(m: Any, f: list[Tensor]) -> Tensor:
    """One squeeze and excitation for each branch, in front of the softmax, (B, M, C)."""
    z = [m.up(F.relu(m.down(F.adaptive_avg_pool2d(y, 1)))).sigmoid() for y in f]
    return torch.stack(z, 1)[..., 0, 0]


@form(
    "EPSANet: squeeze and excitation of each branch, then softmax, then concatenation",
    lambda m, x: softmax(_squeezed(m, _pyramid(m, x))),
    given={"branches": 4, "kernels": (3, 5, 7, 9)},
    convs=lambda: nn.ModuleList(
        nn.Conv2d(C, C, k, padding=k // 2, groups=g)
        for k, g in ((3, 1), (5, 2), (7, 4), (9, 4))
    ),
    down=pw(C, 16), up=pw(16, C), last=pw(4 * C, C),
)  # fmt: skip
def _(m, x):
    f = _pyramid(m, x)
    features = torch.cat(f, 1).view(len(x), 4, C, *x.shape[2:])
    weights = [m.up(F.relu(m.down(F.adaptive_avg_pool2d(y, 1)))).sigmoid() for y in f]
    w = torch.cat(weights, 1).view(len(x), 4, C, 1, 1).softmax(1)
    weighed = features * w
    out = torch.cat([weighed[:, i] for i in range(4)], 1)
    return F.relu(m.last(out))


# --- CoTNet (Li et al., 2021): static and dynamic context, fused as in split attention --------


def _contexts(m: Any, x: Tensor) -> list[Tensor]:
    static = m.key(x)
    w = m.mix(torch.cat([x, static], 1))  # a kernel of nine for each place and channel
    w = w.view(len(x), C, 9, *x.shape[2:])
    near = F.unfold(m.value(x), 3, padding=1).view(len(x), C, 9, *x.shape[2:])
    return [F.silu(m.norm((w * near).sum(2))), static]


def _cot(m: Any, f: list[Tensor]) -> Tensor:
    z = m.se(torch.stack(f, 2).sum(2).mean((2, 3), keepdim=True))
    return z.view(len(z), C, 2)


@form(
    "CoTNet: dynamic and static context, (B, C, M)",
    lambda m, x: softmax(_cot(m, _contexts(m, x)).transpose(1, 2)),
    key=lambda: conv(3, groups=2), mix=pw(2 * C, 9 * C), value=pw(),
    norm=lambda: nn.BatchNorm2d(C),
    se=lambda: nn.Sequential(nn.Conv2d(C, 16, 1), nn.BatchNorm2d(16), nn.ReLU(),
                             nn.Conv2d(16, 2 * C, 1)),
)  # fmt: skip
def _(m, x):
    dynamic, static = _contexts(m, x)
    both = torch.cat([dynamic.unsqueeze(2), static.unsqueeze(2)], 2)  # (B, C, 2, H, W)
    z = m.se(both.sum(2).mean((2, 3), keepdim=True)).view(len(x), C, 2)
    w = F.softmax(z, dim=2)
    return (both * w.reshape(len(x), C, 2, 1, 1)).sum(2).contiguous()


# --- depth completion (PENet, Hu et al., 2021): two decoders say how sure they are ------------


def _decoded(m: Any, x: Tensor) -> tuple[list[Tensor], Tensor]:
    first = m.colour(x)
    second = m.depth(torch.cat([x[:, 3:], first[:, :1]], 1))
    return [first[:, :1], second[:, :1]], torch.cat([first[:, 1:], second[:, 1:]], 1)


@form(
    "depth completion: two depths by their confidences",
    lambda m, x: softmax(_decoded(m, x)[1])[:, :, None],
    given={**PIXEL, "kernels": (3, 7)},  # of what the second decoder sees through the first
    colour=lambda: nn.Sequential(conv(3), nn.Conv2d(C, 2, 3, padding=1)),
    depth=lambda: nn.Sequential(nn.Conv2d(2, C, 5, padding=2), nn.ReLU(), nn.Conv2d(C, 2, 1)),
)  # fmt: skip
def _(m, x):
    first = m.colour(x)
    one, sure = first[:, 0:1], first[:, 1:2]
    second = m.depth(torch.cat([x[:, 3:], one], 1))
    two, surer = second[:, 0:1], second[:, 1:2]
    a, b = torch.chunk(F.softmax(torch.cat((sure, surer), 1), dim=1), 2, dim=1)
    return a * one + b * two


# --- Branchformer (Peng et al., 2022): tokens of attention and of a convolution ----------------


def _branches(m: Any, x: Tensor) -> list[Tensor]:
    attended, _ = m.attention(x, x, x)
    u, v = m.wide(x).chunk(2, -1)
    return [attended, u * m.depthwise(v.transpose(1, 2)).transpose(1, 2)]


def _pools(m: Any, f: list[Tensor]) -> Tensor:
    """A score of each branch from its mean over time, weighed by attention, (B, 2)."""
    found = []
    for y, score, last in zip(f, m.scores, m.last, strict=True):
        attention = (score(y).transpose(1, 2) / C**0.5).softmax(-1)  # (B, 1, T)
        found.append(last((attention @ y).squeeze(1)))
    return torch.cat(found, -1)


@form(
    "Branchformer: attention and a gated convolution over time",
    lambda m, x: softmax(_pools(m, _branches(m, x)))[..., None],
    given={**SCALAR, "args": (_random(3, 12, C),)},
    attention=lambda: nn.MultiheadAttention(C, 2, batch_first=True), wide=fc(C, 2 * C),
    depthwise=lambda: nn.Conv1d(C, C, 5, padding=2, groups=C), out=fc(),
    scores=lambda: nn.ModuleList(nn.Linear(C, 1) for _ in range(2)),
    last=lambda: nn.ModuleList(nn.Linear(C, 1) for _ in range(2)),
)  # fmt: skip
def _(m, x):
    one, two = _branches(m, x)
    w = torch.softmax(_pools(m, [one, two]), dim=-1)
    w1, w2 = (w[:, i].unsqueeze(-1).unsqueeze(-1) for i in range(2))  # (B, 1, 1)
    return x + m.out(w1 * one + w2 * two)


# --- SDA-xNet (Guo et al., 2022): the blocks of a stage are the branches ------------------------


def _depths(m: Any, x: Tensor) -> list[Tensor]:
    found = []
    for block in m.blocks:
        x = F.relu(x + block(x))
        found.append(x)
    return found


def _trunk(m: Any, f: list[Tensor]) -> Tensor:
    z = F.relu(m.fc(sum(f).mean((2, 3))))
    return torch.stack([head(z) for head in m.heads], 1)


@form(
    "SDA-xNet: blocks of growing depth",
    lambda m, x: softmax(_trunk(m, _depths(m, x))),
    given={"branches": 3, "kernels": (3, 5, 7)},
    blocks=lambda: nn.ModuleList(
        nn.Sequential(nn.Conv2d(C, C, 3, padding=1, bias=False), nn.BatchNorm2d(C))
        for _ in range(3)
    ),
    fc=fc(C, 8), heads=lambda: nn.ModuleList(nn.Linear(8, C) for _ in range(3)),
)  # fmt: skip
def _(m, x):
    f = _depths(m, x)
    z = F.relu(m.fc(sum(f).mean((2, 3))))
    w = torch.stack([head(z) for head in m.heads], dim=0).softmax(dim=0)
    total = 0
    for i, y in enumerate(f):
        total = total + y * w[i].unsqueeze(-1).unsqueeze(-1)
    return total


# --- DRConv (Chen et al., 2021): regions choose among filters, softly --------------------------


@form(
    "region-aware convolution: a soft mask over filters",
    lambda m, x: softmax(m.guide(x))[:, :, None],
    given={**PIXEL, "branches": 3, "kernels": (3, 3, 3)},
    guide=lambda: nn.Conv2d(C, 3, 3, padding=1), filters=lambda: nn.Conv2d(C, 3 * C, 3, padding=1),
)  # fmt: skip
def _(m, x):
    mask = F.softmax(m.guide(x), 1)
    y = m.filters(x).view(len(x), 3, C, *x.shape[2:])
    return (y * mask.unsqueeze(2)).sum(1)


# --- selection over time in a video: a weight for each channel and frame -----------------------


def _times(m: Any, x: Tensor) -> list[Tensor]:
    return [m.short(x), m.long(x)]


def _per_frame(m: Any, f: list[Tensor]) -> Tensor:
    z = m.expand(F.relu(m.squeeze(sum(f).mean((3, 4)))))  # (B, 2·C, T)
    return z.view(len(z), 2, C, -1)


@form(
    "video: kernels over time, a weight for each channel and frame",
    lambda m, x: softmax(_per_frame(m, _times(m, x))),
    given={"args": (_random(3, C, 6, 4, 4),), "kernels": ((3, 1, 1), (5, 1, 1)), "spatial": True,
           "kind": "per pixel"},
    short=lambda: nn.Conv3d(C, C, (3, 1, 1), padding=(1, 0, 0)),
    long=lambda: nn.Conv3d(C, C, (5, 1, 1), padding=(2, 0, 0)),
    squeeze=lambda: nn.Conv1d(C, 2, 3, padding=1), expand=lambda: nn.Conv1d(2, 2 * C, 1),
)  # fmt: skip
def _(m, x):
    f = _times(m, x)
    w = _per_frame(m, f).softmax(1)[..., None, None]  # (B, 2, C, T, 1, 1)
    return (torch.stack(f, 1) * w).sum(1)


# --- SA-Gate (Chen et al., 2020): two pictures of one scene, each corrected by the other --------


def _corrected(m: Any, pair: list[Tensor]) -> list[Tensor]:
    colour, depth = m.colour(pair[0]), m.depth(pair[1])
    u = torch.cat([colour, depth], 1).mean((2, 3))
    one, two = (head(u).sigmoid()[..., None, None] for head in (m.one, m.two))
    return [colour + depth * two, depth + colour * one]


def _gates(m: Any, f: list[Tensor]) -> Tensor:
    both = torch.cat(f, 1)
    return torch.cat([m.first(both), m.second(both)], 1)


@form(
    "SA-Gate: colour and depth, each corrected by the other",
    lambda m, pair: softmax(_gates(m, _corrected(m, pair)))[:, :, None],
    given={**PIXEL, "args": ([_random(3, C, 8, 8), _random(3, C, 8, 8, seed=12)],)},
    colour=lambda: conv(3), depth=lambda: conv(3), one=fc(2 * C, C), two=fc(2 * C, C),
    first=pw(2 * C, 1), second=pw(2 * C, 1),
)  # fmt: skip
def _(m, pair):
    colour, depth = _corrected(m, pair)
    both = torch.cat([colour, depth], dim=1)
    w = torch.cat([m.first(both), m.second(both)], dim=1).softmax(dim=1)
    merged = colour * w[:, 0:1] + depth * w[:, 1:2]
    return (pair[0] + merged) / 2, (pair[1] + merged) / 2


# --- none ---------------------------------------------------------------------------------------


@form("CARAFE: each place puts its neighbours together", None, small=pw(C, 2),
      encode=lambda: nn.Conv2d(2, 4 * 9, 3, padding=1))  # fmt: skip
def _(m, x):
    w = F.pixel_shuffle(m.encode(m.small(x)), 2).softmax(1)  # (B, 9, 2H, 2W)
    near = F.unfold(x, 3, padding=1).view(len(x), C * 9, *x.shape[2:])
    near = F.interpolate(near, scale_factor=2.0, mode="nearest").view(len(x), C, 9, 16, 16)
    return (near * w[:, None]).sum(2)


@form("adaptive inference: a softmax says whether a block is run", None, block=lambda: conv(3),
      k=fc(C, 2))  # fmt: skip
def _(m, x):
    w = m.k(x.mean((2, 3))).softmax(1)
    return F.relu(x + m.block(x) * w[:, 1].view(-1, 1, 1, 1))


@form("stereo: the mean disparity of a volume of costs", None, left=lambda: conv(3),
      right=lambda: conv(3), cost=lambda: nn.Conv3d(C, 1, 3, padding=1))  # fmt: skip
def _(m, x):
    left, right = m.left(x), m.right(x.roll(1, 3))
    volume = torch.stack([left * right.roll(d, 3) for d in range(4)], 2)  # (B, C, D, H, W)
    p = m.cost(volume).squeeze(1).softmax(1)
    return (p * torch.arange(4.0).view(1, 4, 1, 1)).sum(1)


@form("PromptIR: learned prompts, mixed by what the image is", None,
      k=fc(C, 3), last=lambda: conv(3),
      prompts=lambda: nn.Parameter(torch.randn(1, 3, C, 4, 4)))  # fmt: skip
def _(m, x):
    w = m.k(x.mean((2, 3))).softmax(1)
    prompt = (w[:, :, None, None, None] * m.prompts).sum(1)
    prompt = F.interpolate(prompt, x.shape[2:], mode="bilinear")
    return x + m.last(prompt)


def held_back_again() -> Iterator[Case]:
    """Yield the forms that were written last, and looked at after that."""
    return made(_forms, 10)
