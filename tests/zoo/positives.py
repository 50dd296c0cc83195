"""Selective-Kernel units in every form met in public code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .branches import branches
from .models import Body, C, Case, Modules, Select, canonical, conv, selected, softmax

Made = list[tuple[str, dict[str, Any], Callable[..., Any]]]
_forms: Made = []


def form(name: str, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def add(select: Callable[..., Any]) -> Callable[..., Any]:
        _forms.append((name, options, select))
        return select

    return add


def mix(f: list[Tensor], w: Tensor) -> Tensor:
    """(B, M, C) weights, stack and sum."""
    return (torch.stack(f, 1) * w[..., None, None]).sum(1)


# --- how the probability is computed -------------------------------------------------------


@form("softmax built inside forward")
def _(f, z):
    return mix(f, nn.Softmax(dim=1)(z))


@form("torch.softmax, negative axis")
def _(f, z):
    return mix(f, torch.softmax(z, -2))


@form("F.softmax, keyword")
def _(f, z):
    return mix(f, F.softmax(z, dim=1))


@form("tensor method")
def _(f, z):
    return mix(f, z.softmax(1))


@form("softmax in another dtype")
def _(f, z):
    return mix(f, F.softmax(z, dim=1, dtype=torch.float64).float())


@form("log_softmax then exp")
def _(f, z):
    return mix(f, F.log_softmax(z, 1).exp())


@form("exp over sum")
def _(f, z):
    e = torch.exp(z - z.amax(1, keepdim=True))
    return mix(f, e / e.sum(1, keepdim=True))


@form("exp over sum, in place")
def _(f, z):
    e = z.exp()
    e /= e.sum(1, keepdim=True)
    return mix(f, e)


@form("exp over sum, in-place method")
def _(f, z):
    e = z.exp()
    e.div_(e.sum(1, keepdim=True))
    return mix(f, e)


@form("temperature", logit=lambda z: z / 7)
def _(f, z):
    return mix(f, (z / 7).softmax(1))


@form("sigmoid in front", logit=torch.sigmoid)
def _(f, z):
    return mix(f, torch.sigmoid(z).softmax(1))


def _pair(z: Tensor) -> Tensor:
    return torch.stack([z[:, 0], torch.zeros_like(z[:, 0])], 1)


@form("sigmoid gate, a and 1 - a", logit=_pair)
def _(f, z):
    a = torch.sigmoid(z[:, 0])[..., None, None]
    return a * f[0] + (1 - a) * f[1]


@form("sigmoid gate, stacked", logit=_pair)
def _(f, z):
    a = torch.sigmoid(z[:, 0])
    return mix(f, torch.stack([a, 1.0 - a], 1))


@form("sigmoid gate, ones_like", logit=_pair)
def _(f, z):
    a = z[:, 0].sigmoid()
    b = torch.ones_like(a) - a
    return f[0] * a[..., None, None] + f[1] * b[..., None, None]


@form("sigmoid gate through lerp", logit=_pair)
def _(f, z):
    return torch.lerp(f[1], f[0], torch.sigmoid(z[:, 0])[..., None, None])


@form("sigmoid gate written out", logit=_pair)
def _(f, z):
    return f[1] + torch.sigmoid(z[:, 0])[..., None, None] * (f[0] - f[1])


# --- how the weights are laid out ----------------------------------------------------------


@form("(M, B, C, 1, 1)")
def _(f, z):
    w = z.transpose(0, 1)[..., None, None].softmax(0)
    return (torch.stack(f) * w).sum(0)


@form("(B, M, C, 1, 1)")
def _(f, z):
    return (torch.stack(f, 1) * z[..., None, None].softmax(1)).sum(1)


@form("(B, C, M)")
def _(f, z):
    w = z.transpose(1, 2).softmax(-1)
    return sum(w[:, :, m, None, None] * f[m] for m in range(len(f)))


@form("(B, C, 1, M)")
def _(f, z):
    w = z.transpose(1, 2)[:, :, None].softmax(dim=3)
    return (torch.stack(f, -1) * w[:, :, :, None]).sum(-1)


@form("(M, B, C)")
def _(f, z):
    w = z.transpose(0, 1).softmax(0)
    return sum(a[..., None, None] * b for a, b in zip(w, f, strict=True))


@form("(B, M) scalars", kind="scalar")
def _(f, z):
    return (torch.stack(f, 1) * z.softmax(1)[:, :, None, None, None]).sum(1)


@form("(B, M, H, W) per pixel", kind="pixel")
def _(f, z):
    return (torch.stack(f, 1) * z.softmax(1)[:, :, None]).sum(1)


@form("per pixel, split into maps", kind="pixel")
def _(f, z):
    w = z.softmax(1)
    return sum(f[m] * w[:, m : m + 1] for m in range(len(f)))


@form("per frequency bin", kind="frequency")
def _(f, z):
    return (torch.stack(f, 1) * z.softmax(1)[:, :, None, :, None]).sum(1)


@form("flat M·C reshaped")
def _(f, z):
    w = z.reshape(len(z), -1).view(len(z), len(f), -1, 1, 1).softmax(1)
    return (torch.cat(f, 1).view(len(z), len(f), -1, *f[0].shape[2:]) * w).sum(1)


@form("reshaped flat after the softmax")
def _(f, z):
    w = z.softmax(1).reshape(len(z), -1, 1, 1)
    y = torch.cat(f, 1) * w
    return sum(y.chunk(len(f), 1))


@form("chunked into a list")
def _(f, z):
    w = z.softmax(1).chunk(len(f), 1)
    return sum(b * a.reshape(len(z), -1, 1, 1) for a, b in zip(w, f, strict=True))


@form("split into a list")
def _(f, z):
    w = [part.squeeze(1) for part in z.softmax(1).split(1, 1)]
    return sum(b * a[:, :, None, None] for a, b in zip(w, f, strict=True))


@form("images and channels in one axis")
def _(f, z):
    w = z.transpose(1, 2).reshape(-1, len(f)).softmax(1)  # (B·C, M)
    y = torch.stack(f, 2).flatten(3).flatten(0, 1)  # (B·C, M, HW)
    return torch.bmm(w[:, None], y).view(f[0].shape)


@form("M equal to B and to C", m=4, batch=4)
def _(f, z):
    return mix(f, z.softmax(1))


@form("M equal to B, branches first", m=3, batch=3)
def _(f, z):
    return (torch.stack(f) * z.transpose(0, 1).softmax(0)[..., None, None]).sum(0)


# --- how the branches are combined ---------------------------------------------------------


@form("matmul")
def _(f, z):
    w = z.softmax(1).transpose(1, 2)[:, :, None]  # (B, C, 1, M)
    y = torch.stack(f, 2).flatten(3)  # (B, C, M, HW)
    return (w @ y).view(f[0].shape)


@form("matmul, features on the left")
def _(f, z):
    w = z.softmax(1).transpose(1, 2)[..., None]  # (B, C, M, 1)
    y = torch.stack(f, -1).flatten(2, 3)  # (B, C, HW, M)
    return (y @ w).view(f[0].shape)


@form("bmm, scalars", kind="scalar")
def _(f, z):
    y = torch.stack(f, 1).flatten(2)  # (B, M, CHW)
    return torch.bmm(z.softmax(1)[:, None], y).view(f[0].shape)


@form("einsum")
def _(f, z):
    return torch.einsum("bmc,bmchw->bchw", z.softmax(1), torch.stack(f, 1))


@form("einsum, scalars", kind="scalar")
def _(f, z):
    return torch.einsum("bmchw,bm->bchw", torch.stack(f, 1), z.softmax(1))


@form("einsum, per pixel", kind="pixel")
def _(f, z):
    return torch.einsum("mbchw,bmhw->bchw", torch.stack(f), z.softmax(1))


@form("addcmul")
def _(f, z):
    w = z.softmax(1)[..., None, None]
    out = f[0] * w[:, 0]
    for m in range(1, len(f)):
        out = torch.addcmul(out, f[m], w[:, m])
    return out


@form("concatenation instead of sum")
def _(f, z):
    w = z.softmax(1)[..., None, None]
    y = torch.cat([f[m] * w[:, m] for m in range(len(f))], 1)
    return y.view(len(z), len(f), C, *y.shape[2:]).sum(1)


@form("tuple output")
def _(f, z):
    w = z.softmax(1)
    return mix(f, w), w


@form("residual and scaled", scale=2.0)
def _(f, z):
    return mix(f, z.softmax(1)) * 2.0


@form("scaled weights", scale=2.0)
def _(f, z):
    return mix(f, z.softmax(1) * 2)


@form("in-place accumulation")
def _(f, z):
    w = z.softmax(1)
    out = torch.zeros_like(f[0])
    for m in range(len(f)):
        out += f[m] * w[:, m, :, None, None]
    return out


@form("in-place product")
def _(f, z):
    y = torch.stack(f, 1)
    y *= z.softmax(1)[..., None, None]
    return y.sum(1)


@form("features stored slice by slice")
def _(f, z):
    y = torch.empty(len(z), len(f), *f[0].shape[1:])
    for m in range(len(f)):
        y[:, m] = f[m]
    return (y * z.softmax(1)[..., None, None]).sum(1)


@form("dropout and activation after the stack")
def _(f, z):
    y = F.dropout(F.relu(torch.stack(f, 1)), 0.1, training=False)
    return (y * z.softmax(1)[..., None, None]).sum(1)


@form("half precision weights cast back")
def _(f, z):
    return mix(f, z.softmax(1).to(torch.float32).contiguous().clone())


# --- what the branches are -----------------------------------------------------------------


class Functional(nn.Module):
    """Functional convolutions with bare parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.small = nn.Parameter(torch.randn(C, C, 3, 3) / 6)
        self.large = nn.Parameter(torch.randn(C, C, 5, 5) / 10)

    def forward(self, x: Tensor) -> list[Tensor]:
        return [F.conv2d(x, self.small, padding=1), F.conv2d(x, self.large, padding=2)]


class Chunked(nn.Module):
    """One convolution, chunked."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(C, 2 * C, 3, padding=1)
        self.norm = nn.BatchNorm2d(2 * C)

    def forward(self, x: Tensor) -> list[Tensor]:
        return list(F.relu(self.norm(self.conv(x))).chunk(2, 1))


class Reversed(Modules):
    """Registered in one order, used in the other."""

    def forward(self, x: Tensor) -> list[Tensor]:
        return [branch(x) for branch in reversed(self.branches)]


class SplitInput(Modules):
    """Each branch sees half of the channels (timm's split_input)."""

    def forward(self, x: Tensor) -> list[Tensor]:
        return [branch(part) for branch, part in zip(self.branches, x.chunk(2, 1), strict=True)]


class Gated(Modules):
    """Squeeze-and-excitation inside each branch."""

    def forward(self, x: Tensor) -> list[Tensor]:
        return [f * f.mean((2, 3), keepdim=True).sigmoid() for f in super().forward(x)]


class Residual(Modules):
    """Each branch adds its input."""

    def forward(self, x: Tensor) -> list[Tensor]:
        return [x + f for f in super().forward(x)]


def _half(kernel: int) -> nn.Module:
    return nn.Conv2d(C // 2, C, kernel, padding=kernel // 2)


def _long(dims: int) -> nn.Module:
    return Modules(conv(3, dims=dims), conv(5, dims=dims))


def _rows(kernel: int) -> nn.Module:
    half = kernel // 2
    return nn.Sequential(
        nn.Conv2d(C, C, (1, kernel), padding=(0, half)),
        nn.Conv2d(C, C, (kernel, 1), padding=(half, 0)),
    )


every_branch: dict[
    str, tuple[Callable[[], nn.Module], tuple[int | tuple[int, ...], ...] | None]
] = {
    "modules": (lambda: Modules(conv(3), conv(5)), (3, 5)),
    "three branches": (lambda: Modules(conv(1), conv(3), conv(7)), (1, 3, 7)),
    "stacked small convolutions": (
        lambda: Modules(
            conv(3), nn.Sequential(conv(3), conv(3)), nn.Sequential(conv(3), conv(3), conv(3))
        ),
        (3, 5, 7),
    ),
    "dilated": (lambda: Modules(conv(3), conv(3, dilation=2)), (3, 5)),
    "grouped": (lambda: Modules(conv(3, groups=2), conv(3, dilation=2, groups=C)), (3, 5)),
    "asymmetric": (lambda: Modules(_rows(3), _rows(5)), (3, 5)),
    "one convolution chunked": (Chunked, (3, 3)),
    "functional": (Functional, (3, 5)),
    "registered in another order": (lambda: Reversed(conv(5), conv(3)), (3, 5)),
    "split input": (lambda: SplitInput(_half(3), _half(5)), (3, 5)),
    "same kernels": (lambda: Modules(conv(3), conv(3)), (3, 3)),
    "pool and identity": (
        lambda: Modules(nn.Identity(), nn.AvgPool2d(3, 1, 1), conv(5)),
        (1, 3, 5),
    ),
    "gated branches": (lambda: Gated(conv(3), conv(5)), (3, 5)),
    "residual branches": (lambda: Residual(conv(3), conv(5)), (3, 5)),
    **branches,
}


class External(nn.Module):
    """A list of feature maps comes from outside: feature fusion, no kernels."""

    def forward(self, x: list[Tensor]) -> list[Tensor]:
        return list(x)


def _case(
    name: str,
    features: nn.Module,
    select: Callable[..., Any],
    *,
    kernels: tuple[int | tuple[int, ...], ...] | None,
    kind: str = "channel",
    m: int = 2,
    dims: int = 2,
    batch: int = 3,
    logit: Callable[[Tensor], Tensor] = lambda z: z,
    scale: float = 1.0,
    alone: bool = False,
    example: Any = None,
) -> Case:
    sk = Select(features, m, kind, select)
    model = (sk if alone else Body(sk, dims)).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.3, 3.0)

    def inside(x: Any) -> list[Tensor]:
        return features(x if alone else F.relu(model.stem(x)))

    @torch.no_grad()
    def true_weights(x: Any) -> Tensor:
        return canonical(softmax(logit(sk.logits(inside(x)))), kind)

    def reference(x: Any, w: Tensor) -> Tensor:
        y = scale * selected(inside(x), w)
        return y if alone else Body.forward(_Given(model, y.float()), x).double()

    return Case(
        name,
        model,
        (torch.randn(batch, 3, *[8] * dims),) if example is None else (example,),
        kernels=kernels,
        branches=m,
        channels=C if kind == "channel" else None,
        spatial=kind in {"pixel", "frequency"},
        unit_name="" if alone else "sk",
        true_weights=true_weights,
        reference=reference,
    )


class _Given:
    """Stands in for a `Body` whose unit returns a given tensor."""

    def __init__(self, body: Body, y: Tensor) -> None:
        self.stem, self.head, self.sk = body.stem, body.head, lambda _: y


def positives() -> Iterator[Case]:
    torch.manual_seed(0)
    for name, options, select in _forms:
        m = options.get("m", 2)
        features = Modules(*(conv(2 * i + 3) for i in range(m)))
        yield _case(name, features, select, kernels=tuple(2 * i + 3 for i in range(m)), **options)
    plain = partial(mix)
    for name, (make, kernels) in every_branch.items():
        yield _case(
            name,
            make(),
            lambda f, z: plain(f, z.softmax(1)),
            kernels=kernels,
            m=len(kernels or (None, None)),
        )

    def anyd(f: list[Tensor], z: Tensor) -> Tensor:
        w = z.softmax(1)
        return (torch.stack(f, 1) * w.reshape(*w.shape, *[1] * (f[0].dim() - 2))).sum(1)

    for dims, name in ((1, "one dimension"), (3, "three dimensions")):
        yield _case(name, _long(dims), anyd, kernels=(3, 5), dims=dims)
    lists = [torch.randn(3, C, 6, 6) for _ in range(3)]
    yield _case(
        "external list of features", External(), anyd, kernels=None, m=3, alone=True, example=lists
    )
