"""Selections as architectures of the literature write them, in our own words.

Each is a handful of parts, a function that runs them, and another that computes the weights from
the logits by NumPy. `held_back` has as many more that were written first and looked at last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .models import C, Case, conv, softmax
from .negatives import IMAGE, Parts, fc, pw

Weights = Callable[[Any, Any], Tensor] | None  # (image, branch, channel | 1[, place…])
Forms = list[tuple[str, Weights, dict[str, Any], dict[str, Callable[[], Any]], Callable[..., Any]]]
MAPS = torch.randn(3, 8, 8, C, generator=torch.Generator().manual_seed(6))  # channels last
SCALAR = {"channels": None}
PIXEL = {"channels": None, "spatial": True, "kind": "per pixel"}


def collector(forms: Forms) -> Callable[..., Any]:
    """Return a decorator that adds a form to a list."""

    def form(name: str, weights: Weights, *, given: dict[str, Any] | None = None, **parts: Any):
        def add(run: Callable[..., Any]) -> Callable[..., Any]:
            forms.append((name, weights, given or {}, parts, run))
            return run

        return add

    return form


def made(forms: Forms, seed: int) -> Iterator[Case]:
    """Build the models of a list of forms."""
    torch.manual_seed(seed)
    for name, weights, given, parts, run in forms:
        model = Parts({key: make() for key, make in parts.items()}, run).eval()
        known = {"args": (IMAGE,), "kind": "softmax", **given}

        def true_weights(x: Any, model: Any = model, weights: Any = weights) -> Tensor:
            return weights(model, x)

        if weights is None:
            known["units"] = 0
        yield Case(name, model, true_weights=weights and true_weights, **known)


_forms: Forms = []
form = collector(_forms)


def pooled(m: Any, f: list[Tensor]) -> Tensor:
    """Logits (B, M, C) from the mean of the sum of maps (B, C, …)."""
    return m.head(sum(f).flatten(2).mean(2)).view(len(f[0]), len(f), -1)


def mixed(f: list[Tensor], w: Tensor) -> Tensor:
    """Weights (B, M, C), and maps (B, C, …) of whatever dimension."""
    return sum(w[:, i].reshape(*w[:, i].shape, *[1] * (f[i].dim() - 2)) * f[i]
               for i in range(len(f)))  # fmt: skip


def pooling(maps: Callable[..., list[Tensor]]) -> Weights:
    """True weights where the logits are `pooled`."""
    return lambda m, x: softmax(pooled(m, maps(m, x)))


def usual(name: str, branches: int = 2, **parts: Any) -> Callable[..., Any]:
    """Return a decorator for a function that makes maps, which are selected as in the article."""
    given = {"branches": branches, **parts.pop("given", {})}

    def add(maps: Callable[..., list[Tensor]]) -> None:
        def run(m: Any, x: Any) -> Tensor:
            f = maps(m, x)
            return mixed(f, pooled(m, f).softmax(1))

        _forms.append((name, pooling(maps), given, {"head": fc(C, branches * C), **parts}, run))

    return add


# --- branches without a convolution after they part ------------------------------------------


def _permuted(m: Any, x: Tensor) -> list[Tensor]:
    rows = m.h(x.transpose(1, 3)).transpose(1, 3)  # over y; maps are (B, H, W, C)
    columns = m.w(x.transpose(2, 3)).transpose(2, 3)
    return [rows, columns, m.c(x)]


def _per_map(m: Any, f: list[Tensor]) -> Tensor:
    return m.head(sum(f).mean((1, 2))).view(len(f[0]), C, len(f)).transpose(1, 2)


@form(
    "Vision Permutator, weighted",
    lambda m, x: softmax(_per_map(m, _permuted(m, m.stem(x)))),
    given={"args": (MAPS,), "branches": 3},
    stem=fc(), h=fc(8, 8), w=fc(8, 8), c=fc(), head=fc(C, 3 * C),
)  # fmt: skip
def _(m, x):
    f = _permuted(m, m.stem(x))
    w = _per_map(m, f).transpose(1, 2).softmax(2)[:, None, None]  # (B, 1, 1, C, M)
    return sum(f[i] * w[..., i] for i in range(3))


def _shifted(m: Any, x: Tensor) -> list[Tensor]:
    y = m.wide(x)  # (B, H, W, 3·C): the first third moves along y, the second along x
    one, two, three = y.chunk(3, -1)
    return [one.roll(1, 1), two.roll(-1, 2), three]


@form(
    "S2-MLP: shifted thirds of one linear layer",
    lambda m, x: softmax(_per_map(m, _shifted(m, x))),
    given={"args": (MAPS,), "branches": 3, "kind": "split attention"},
    wide=fc(C, 3 * C), head=fc(C, 3 * C),
)  # fmt: skip
def _(m, x):
    y = torch.stack(_shifted(m, x), 1)  # (B, 3, H, W, C)
    z = m.head(y.sum(1).mean((1, 2))).view(len(x), C, 3).transpose(1, 2)
    return (y * z.softmax(1)[:, :, None, None]).sum(1)


def _offsets(x: Tensor, axis: int) -> Tensor:
    """Sampling points of a 1×1 kernel: channel c looks c − 1 places aside (CycleMLP)."""
    offset = torch.zeros(len(x), 2 * C, *x.shape[2:])
    offset[:, axis::2] = (torch.arange(C) - 1.0).view(1, -1, 1, 1)
    return offset


def deformed() -> bool:
    """Whether `deform_conv2d` is here."""
    try:
        import torchvision.ops  # noqa: F401
    except ImportError:
        return False
    return True


if deformed():

    @usual("CycleMLP: deformed convolutions", 3, a=pw(), b=pw(), c=pw())
    def _(m, x):
        from torchvision.ops import deform_conv2d

        a, b = (
            deform_conv2d(x, _offsets(x, axis), layer.weight, layer.bias)
            for axis, layer in enumerate((m.a, m.b))
        )
        return [a, b, m.c(x)]


@usual("AS-MLP: axial shifts", 2, a=pw(), b=pw(), given={"kernels": ((C, 1), (1, C))})
def _(m, x):
    def along(axis: int) -> Tensor:
        return torch.cat([part.roll(i - 1, axis) for i, part in enumerate(x.chunk(C, 1))], 1)

    return [m.a(along(2)), m.b(along(3))]


@usual("a branch in the frequency domain", 2, c=lambda: conv(3), f=lambda: nn.Parameter(
    torch.randn(C, 8, 5)))  # fmt: skip
def _(m, x):
    return [m.c(x), torch.fft.irfft2(torch.fft.rfft2(x) * m.f, s=x.shape[2:])]


@usual("unfolded and multiplied", 2, c=lambda: conv(5), w=lambda: nn.Parameter(
    torch.randn(C, 9 * C)))  # fmt: skip
def _(m, x):
    return [m.c(x), (m.w @ F.unfold(x, 3, padding=1)).view(x.shape)]


@usual("low and high frequencies", 2, low=lambda: conv(3), given={"kernels": (3, 3)})
def _(m, x):
    low = m.low(x)
    return [low, x - low]


@usual("the second branch is the first, activated", 2,
       given={"kernels": (3, 3)}, c=lambda: nn.Conv2d(C, C, 3, padding=1))  # fmt: skip
def _(m, x):
    first = m.c(x)
    return [first, F.relu(first)]


@usual("the second kernel on top of the first (LSKNet's branches)", 2, given={"kernels": (5, 23)},
       a=lambda: conv(5), b=lambda: nn.Conv2d(C, C, 7, padding=9, dilation=3))  # fmt: skip
def _(m, x):
    first = m.a(x)
    return [first, m.b(first)]


@usual("Inception's four branches", 4, a=pw(), b=lambda: conv(3), c=lambda: conv(5), d=pw(),
       given={"kernels": (1, 3, 5, 3)})  # fmt: skip
def _(m, x):
    return [m.a(x), m.b(x), m.c(x), m.d(F.max_pool2d(x, 3, 1, 1))]


@usual("sound: kernels over time", 2, c=lambda: conv(3, dims=1), d=lambda: conv(7, dims=1),
       given={"args": (torch.randn(3, C, 40),), "kernels": (3, 7)})  # fmt: skip
def _(m, x):
    return [m.c(x), m.d(x)]


# --- fusion, and how the logits are made -----------------------------------------------------


def _levels(m: Any, x: Tensor) -> list[Tensor]:
    half, quarter = F.avg_pool2d(x, 2), F.avg_pool2d(x, 4)
    return [m.a(x), *(F.interpolate(layer(y), x.shape[2:], mode="bilinear")
                      for layer, y in ((m.b, half), (m.c, quarter)))]  # fmt: skip


def _heads(m: Any, f: list[Tensor]) -> Tensor:
    z = F.relu(m.squeeze(sum(f).mean((2, 3), keepdim=True)))
    return torch.stack([head(z)[..., 0, 0] for head in m.heads], 1)


@form(
    "fusion of three resolutions, a head for each",
    lambda m, x: softmax(_heads(m, _levels(m, x))),
    given={"branches": 3},
    a=pw(), b=pw(), c=pw(), squeeze=pw(C, 2),
    heads=lambda: nn.ModuleList(nn.Conv2d(2, C, 1, bias=False) for _ in range(3)),
)  # fmt: skip
def _(m, x):
    f = torch.stack(_levels(m, x), 1)
    z = F.relu(m.squeeze(f.sum(1).mean((2, 3), keepdim=True)))
    w = torch.cat([head(z) for head in m.heads], 1).view(len(x), 3, C, 1, 1).softmax(1)
    return (f * w).sum(1)


@form(
    "logits by a convolution over channels",
    lambda m, x: softmax(_eca(m, [m.a(x), m.b(x)])),
    given={"kernels": (3, 5)},
    a=lambda: conv(3), b=lambda: conv(5), k=lambda: nn.Conv1d(1, 2, 3, padding=1),
)  # fmt: skip
def _(m, x):
    f = [m.a(x), m.b(x)]
    return sum(
        a * w[..., None, None] for a, w in zip(f, _eca(m, f).softmax(1).unbind(1), strict=True)
    )


def _eca(m: Any, f: list[Tensor]) -> Tensor:
    return m.k(sum(f).mean((2, 3))[:, None])


@form(
    "nn.Softmax2d",
    lambda m, x: softmax(m.k(m.a(x) + m.b(x)))[:, :, None],
    given={**PIXEL, "kernels": (3, 5)},
    a=lambda: conv(3), b=lambda: conv(5), k=pw(C, 2), s=nn.Softmax2d,
)  # fmt: skip
def _(m, x):
    a, b = m.a(x), m.b(x)
    w = m.s(m.k(a + b))
    return w[:, :1] * a + w[:, 1:] * b


@form(
    "scores over their sum",
    lambda m, x: _shares(m, x),
    given={**SCALAR, "kernels": (3, 5)},
    a=lambda: conv(3), b=lambda: conv(5), k=fc(C, 2),
)  # fmt: skip
def _(m, x):
    f = torch.stack([m.a(x), m.b(x)], 1)
    s = m.k(f.sum(1).mean((2, 3))).sigmoid()
    return torch.einsum("bm,bmchw->bchw", s / s.sum(1, keepdim=True), f)


def _shares(m: Any, x: Tensor) -> Tensor:
    s = 1 / (1 + (-m.k((m.a(x) + m.b(x)).mean((2, 3))).detach().double()).exp())
    return (s / s.sum(1, keepdim=True))[..., None]


# --- none ------------------------------------------------------------------------------------


@form("LSKNet: a sigmoid for each branch", None, a=lambda: conv(5), b=lambda: conv(7),
      k=lambda: nn.Conv2d(2, 2, 7, padding=3))  # fmt: skip
def _(m, x):
    a = m.a(x)
    b = m.b(a)
    both = torch.cat([a, b], 1)
    w = m.k(torch.cat([both.mean(1, keepdim=True), both.amax(1, keepdim=True)], 1)).sigmoid()
    return x * (a * w[:, 0, None] + b * w[:, 1, None])


@form("scores over their sum and a little more", None, a=lambda: conv(3), b=lambda: conv(5),
      k=fc(C, 2))  # fmt: skip
def _(m, x):
    f = torch.stack([m.a(x), m.b(x)], 1)
    s = F.softplus(m.k(f.sum(1).mean((2, 3))))
    w = s / (2 * s.sum(1, keepdim=True))
    return (f * w[..., None, None, None]).sum(1)


@form("selection between vectors", None, a=fc(), b=fc(), k=fc(C, 2))
def _(m, x):
    x = x.mean((2, 3))
    f = torch.stack([m.a(x), m.b(x)], 1)
    return (f * m.k(f.sum(1)).softmax(1)[..., None]).sum(1)


def literature() -> Iterator[Case]:
    """Yield the forms that the code was written beside."""
    return made(_forms, 7)
