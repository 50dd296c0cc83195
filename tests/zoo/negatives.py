"""What looks like a unit and is none, and what has the form of one without its function."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .models import C, Case, Modules, conv

Forward = Callable[..., Any]
_none: list[tuple[str, Callable[[], dict[str, nn.Module | nn.Parameter]], Forward, Tensor]] = []
IMAGE = torch.randn(3, C, 8, 8, generator=torch.Generator().manual_seed(2))
TOKENS = torch.randn(3, 9, C, generator=torch.Generator().manual_seed(3))


class Parts(nn.Module):
    """Parts by name and a function that uses them."""

    def __init__(self, parts: dict[str, Any], run: Forward) -> None:
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
        self.run = run

    def forward(self, x: Tensor) -> Any:
        return self.run(self, x)


def none(
    name: str, example: Tensor = IMAGE, **parts: Callable[[], Any]
) -> Callable[[Forward], Forward]:
    def add(run: Forward) -> Forward:
        _none.append((name, lambda: {key: make() for key, make in parts.items()}, run, example))
        return run

    return add


def pw(a: int = C, b: int = C) -> Callable[[], nn.Module]:
    return lambda: nn.Conv2d(a, b, 1)


def fc(a: int = C, b: int = C) -> Callable[[], nn.Module]:
    return lambda: nn.Linear(a, b)


def param(*shape: int) -> Callable[[], nn.Parameter]:
    return lambda: nn.Parameter(torch.randn(*shape))


def two() -> nn.Module:
    return Modules(conv(3), conv(5))


def mhsa(q: Tensor, k: Tensor, v: Tensor, heads: int = 2) -> Tensor:
    q, k, v = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k, v))
    w = (q @ k.transpose(-1, -2)).softmax(-1)
    return (w @ v).transpose(1, 2).flatten(2)


@none("self-attention", TOKENS, qkv=fc(C, 3 * C))
def _(m, x):
    return mhsa(*m.qkv(x).chunk(3, -1))


@none("class attention, one query", TOKENS, q=fc(), k=fc(), v=fc())
def _(m, x):
    return mhsa(m.q(x[:, :1]), m.k(x), m.v(x))


@none("self-attention written with mul and sum", TOKENS, q=fc(), k=fc(), v=fc())
def _(m, x):
    w = (m.q(x)[:, :, None] * m.k(x)[:, None]).sum(-1).softmax(-1)
    return (w[..., None] * m.v(x)[:, None]).sum(2)


@none("convolutional self-attention with heads", q=pw(), k=pw(), v=pw())
def _(m, x):
    q, k, v = (t(x).unflatten(1, (2, -1)).flatten(3) for t in (m.q, m.k, m.v))
    w = (q.transpose(-1, -2) @ k).softmax(-1)
    return (v @ w.transpose(-1, -2)).view(x.shape)


@none("nn.MultiheadAttention", TOKENS, a=lambda: nn.MultiheadAttention(C, 2, batch_first=True))
def _(m, x):
    return m.a(x, x, x, need_weights=True)[0]


@none(
    "DETR: learned queries attend to a convolution's map",
    c=lambda: conv(3),
    t=lambda: nn.Transformer(C, 2, 1, 1, 16, dropout=0.0, batch_first=True),
    queries=param(5, C),
)
def _(m, x):
    tokens = m.c(x).flatten(2).transpose(1, 2)  # (B, H·W, C)
    return m.t(tokens, m.queries.expand(len(x), -1, -1))


@none("cross-attention over tokens of two convolutions", q=pw(), a=pw(), b=pw())
def _(m, x):
    kv = torch.cat([m.a(x).flatten(2), m.b(x).flatten(2)], 2).transpose(1, 2)
    return (m.q(x).flatten(2).transpose(1, 2) @ kv.transpose(1, 2)).softmax(-1) @ kv


@none("window attention with a shift", q=pw(), k=pw(), v=pw())
def _(m, x):
    x = x.roll((2, 2), (2, 3))
    q, k, v = (
        t(x).unflatten(2, (2, 4)).unflatten(4, (2, 4)).permute(0, 2, 4, 3, 5, 1).reshape(-1, 16, C)
        for t in (m.q, m.k, m.v)
    )
    return mhsa(q, k, v)


@none("transposed attention over channels", q=pw(), k=pw(), v=pw())
def _(m, x):
    q, k, v = (t(x).unflatten(1, (2, -1)).flatten(3) for t in (m.q, m.k, m.v))
    return ((q @ k.transpose(-1, -2)).softmax(-1) @ v).view(x.shape)


@none("dual attention over channels")
def _(m, x):
    f = x.flatten(2)
    return ((f @ f.transpose(1, 2)).softmax(-1) @ f).view(x.shape) + x


@none("squeeze-and-excitation", fc=fc(), conv=lambda: conv(3))
def _(m, x):
    x = m.conv(x)
    return x * torch.sigmoid(m.fc(x.mean((2, 3))))[..., None, None]


@none("softmax squeeze-and-excitation", fc=fc(), conv=lambda: conv(3))
def _(m, x):
    x = m.conv(x)
    return x * m.fc(x.mean((2, 3))).softmax(1)[..., None, None]


@none("CBAM", fc=fc(), conv=lambda: nn.Conv2d(2, 1, 7, padding=3), pre=lambda: conv(3))
def _(m, x):
    x = m.pre(x)
    x = x * torch.sigmoid(m.fc(x.mean((2, 3))) + m.fc(x.amax((2, 3))))[..., None, None]
    return x * torch.sigmoid(m.conv(torch.stack([x.mean(1), x.amax(1)], 1)))


@none("non-local block", q=pw(), k=pw(), v=pw())
def _(m, x):
    q, k, v = (t(x).flatten(2) for t in (m.q, m.k, m.v))
    w = (q.transpose(1, 2) @ k).softmax(-1)
    return x + (v @ w.transpose(1, 2)).view(x.shape)


@none("global context", k=pw(C, 1), v=pw())
def _(m, x):
    w = m.k(x).flatten(2).softmax(-1)  # (B, 1, HW)
    return x + m.v((m.v(x).flatten(2) @ w.transpose(1, 2))[..., None])


@none("attentive pooling", k=pw(C, 1), v=lambda: conv(3))
def _(m, x):
    return (m.v(x) * m.k(x).flatten(1).softmax(1).view(len(x), 1, 8, 8)).sum((2, 3))


@none("attentive pooling with several maps", k=pw(C, 2), v=two)
def _(m, x):
    w = m.k(x).flatten(2).softmax(2).view(len(x), 2, 1, 8, 8)
    return (torch.stack(m.v(x), 1) * w).sum((1, 3, 4))


@none("classifier softmax", c=lambda: conv(3), fc=fc())
def _(m, x):
    return m.fc(m.c(x).mean((2, 3))).softmax(1)


@none("segmentation softmax", c=lambda: conv(3), h=pw(C, 5))
def _(m, x):
    return m.h(m.c(x)).softmax(1)


@none("object context", c=lambda: conv(3), h=pw(C, 5))
def _(m, x):
    f = m.c(x)
    w = m.h(f).flatten(2).softmax(2)
    return w @ f.flatten(2).transpose(1, 2)


@none("soft argmax", c=pw(C, 5))
def _(m, x):
    return (m.c(x).softmax(1) * torch.arange(5.0).view(1, 5, 1, 1)).sum(1)


@none(
    "mixture of MLP experts",
    TOKENS,
    g=fc(C, 3),
    e=lambda: nn.ModuleList(
        nn.Sequential(nn.Linear(C, 8), nn.GELU(), nn.Linear(8, C)) for _ in range(3)
    ),
)
def _(m, x):
    w = m.g(x).softmax(-1)
    return (torch.stack([e(x) for e in m.e], -1) * w[:, :, None]).sum(-1)


@none(
    "mixture of MLP experts on pooled features",
    c=lambda: conv(3),
    g=fc(C, 3),
    e=lambda: nn.ModuleList(nn.Linear(C, C) for _ in range(3)),
)
def _(m, x):
    v = m.c(x).mean((2, 3))
    return (torch.stack([e(v) for e in m.e], 1) * m.g(v).softmax(1)[..., None]).sum(1)


@none("dynamic convolution", g=fc(C, 2), kernels=param(2, C, C, 3, 3))
def _(m, x):
    w = m.g(x.mean((2, 3))).softmax(1)
    kernels = (w @ m.kernels.flatten(1)).view(-1, C, 3, 3)
    y = F.conv2d(x.reshape(1, -1, 8, 8), kernels, padding=1, groups=len(x))
    return y.view(x.shape)


@none("dynamic convolution with mul", g=fc(C, 2), a=param(C, C, 3, 3), b=param(C, C, 3, 3))
def _(m, x):
    w = m.g(x.mean((2, 3))).softmax(1)
    return torch.stack(
        [F.conv2d(x[i : i + 1], w[i, 0] * m.a + w[i, 1] * m.b, padding=1) for i in range(len(x))]
    )


@none("conditional convolution", g=fc(C, 2), kernels=param(2, C * C * 9))
def _(m, x):
    kernels = (torch.sigmoid(m.g(x.mean((2, 3)))) @ m.kernels).view(-1, C, 3, 3)
    return F.conv2d(x.reshape(1, -1, 8, 8), kernels, padding=1, groups=len(x)).view(x.shape)


@none("architecture search mixing", f=two, alpha=param(2))
def _(m, x):
    return sum(w * f for w, f in zip(m.alpha.softmax(0), m.f(x), strict=True))


@none("architecture search, expanded over the batch", f=two, alpha=param(2))
def _(m, x):
    w = m.alpha.softmax(0).expand(len(x), 2)
    return (torch.stack(m.f(x), 1) * w[..., None, None, None]).sum(1)


@none("BiFPN", f=two, alpha=param(2))
def _(m, x):
    w = m.alpha.relu()
    w = w / (w.sum() + 1e-4)
    return sum(a * b for a, b in zip(w, m.f(x), strict=True))


@none("capsule routing", TOKENS, w=param(9, 3, C, 6))
def _(m, x):
    u = torch.einsum("bic,ijcd->bijd", x, m.w)
    b = torch.zeros(len(x), 9, 3)
    for _ in range(3):
        v = (b.softmax(2)[..., None] * u).sum(1)
        v = v / (1 + v.norm(dim=-1, keepdim=True))
        b = b + (u * v[:, None]).sum(-1)
    return v


@none(
    "capsule routing on convolutional capsules", c=lambda: nn.Conv2d(C, 12, 3), w=param(72, 3, 6, 6)
)
def _(m, x):
    u = torch.einsum("bic,ijcd->bijd", m.c(x).flatten(1).view(len(x), 72, 6), m.w)
    b = torch.zeros(len(x), 72, 3)
    for _ in range(2):
        v = (b.softmax(2)[..., None] * u).sum(1)
        b = b + (u * v[:, None]).sum(-1)
    return v


@none("Inception block under a two-class softmax", f=two, fc=fc(2 * C, 2))
def _(m, x):
    return m.fc(torch.cat(m.f(x), 1).mean((2, 3))).softmax(1)


class SKConv(nn.Module):
    """Called like a unit; a plain sum of branches."""

    def __init__(self) -> None:
        super().__init__()
        self.branches, self.softmax = two(), nn.Softmax(1)

    def forward(self, x: Tensor) -> Tensor:
        return sum(self.branches(x))


@none("a class merely called SKConv", sk=SKConv)
def _(m, x):
    return m.sk(x)


@none("two separate sigmoid gates", f=two, fc=fc(C, 2))
def _(m, x):
    a, b = m.fc(x.mean((2, 3))).sigmoid().unbind(1)
    f = m.f(x)
    return a.view(-1, 1, 1, 1) * f[0] + b.view(-1, 1, 1, 1) * f[1]


@none("a gate and its complement on one map", c=lambda: conv(3), fc=fc())
def _(m, x):
    a, f = m.fc(x.mean((2, 3))).sigmoid()[..., None, None], m.c(x)
    return torch.cat([a * f, (1 - a) * f], 1)


@none("gated recurrent unit", TOKENS, g=lambda: nn.GRUCell(C, C))
def _(m, x):
    h = torch.zeros(len(x), C)
    for t in range(x.shape[1]):
        h = m.g(x[:, t], h)
    return h


@none("LSTM", TOKENS, g=lambda: nn.LSTM(C, C, batch_first=True))
def _(m, x):
    return m.g(x)[0]


@none("temporal attention over a recurrence", TOKENS, g=lambda: nn.GRUCell(C, C), k=fc(C, 1))
def _(m, x):
    h, states = torch.zeros(len(x), C), []
    for t in range(x.shape[1]):
        h = m.g(x[:, t], h)
        states.append(h)
    y = torch.stack(states, 1)
    return (m.k(y).softmax(1) * y).sum(1)


@none("entropy of a prediction", h=pw(C, 5))
def _(m, x):
    p = m.h(x).softmax(1)
    return -(p * p.log()).sum(1)


@none("confidence-weighted prediction", h=pw(C, C))
def _(m, x):
    p = m.h(x)
    return p * p.softmax(1)


def negatives() -> Iterator[Case]:
    torch.manual_seed(2)
    for name, parts, run, example in _none:
        yield Case(name, Parts(parts(), run).eval(), (example,), units=0)


# --- degenerate ----------------------------------------------------------------------------

_degenerate: list[tuple[str, Forward, int]] = []


def degenerate(name: str, width: int = 2 * C) -> Callable[[Forward], Forward]:
    def add(run: Forward) -> Forward:
        _degenerate.append((name, run, width))
        return run

    return add


def _mix(f: list[Tensor], w: Tensor) -> Tensor:
    return (torch.stack(f, 1) * w[..., None, None]).sum(1)


@degenerate("softmax over the batch")
def _(f, z):
    return _mix(f, z.view(-1, 2, C).softmax(0))


@degenerate("softmax over the batch, branch by branch in einsum")
def _(f, z):
    return torch.einsum("bmc,bmchw->bchw", z.view(-1, 2, C).softmax(0), torch.stack(f, 1))


@degenerate("softmax over channels")
def _(f, z):
    return _mix(f, z.view(-1, 2, C).softmax(2))


@degenerate("softmax over an axis of size one")
def _(f, z):
    return _mix(f, z.view(-1, 2, C, 1).softmax(-1)[..., 0])


@degenerate("a shared head", width=C)
def _(f, z):
    return _mix(f, torch.stack([z, z], 1).softmax(1))


@degenerate("one flat softmax, reshaped")
def _(f, z):
    return _mix(f, z.softmax(1).view(-1, 2, C))


@degenerate("overlapping slices of a flat softmax", width=C + 2)
def _(f, z):
    w = z.softmax(1)
    return f[0] * w[:, :C, None, None] + f[1] * w[:, 2:, None, None]


def degenerates() -> Iterator[Case]:
    torch.manual_seed(3)
    for name, run, width in _degenerate:

        def forward(m: Any, x: Tensor, run: Forward = run) -> Tensor:
            f = m.f(x)
            return run(f, m.fc(sum(f).mean((2, 3))))

        model = Parts({"f": two(), "fc": nn.Linear(C, width)}, forward).eval()
        yield Case(name, model, (IMAGE,), degenerate=True, kernels=(3, 5), channels=None)
