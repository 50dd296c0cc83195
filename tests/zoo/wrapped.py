"""Units in the places where models keep them: shared, nested, wrapped, scripted, traced."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from .models import Body, C, Case, Modules, Select, canonical, conv, softmax
from .positives import mix


def unit(*kernels: int) -> Select:
    branches = Modules(*map(conv, kernels or (3, 5)))
    return Select(branches, len(branches.branches), "channel", lambda f, z: mix(f, z.softmax(1)))


class Scriptable(nn.Module):
    """The article's unit with everything registered."""

    def __init__(self) -> None:
        super().__init__()
        self.small, self.large = conv(3), conv(3, dilation=2)
        self.squeeze, self.excite = nn.Linear(C, 8), nn.Linear(8, 2 * C)
        self.softmax = nn.Softmax(dim=1)

    def logits(self, a: Tensor, b: Tensor) -> Tensor:
        z = self.excite(F.relu(self.squeeze((a + b).mean(dim=[2, 3]))))
        return z.view(z.shape[0], 2, -1)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.small(x), self.large(x)
        w = self.softmax(self.logits(a, b)).unsqueeze(-1).unsqueeze(-1)
        return a * w[:, 0] + b * w[:, 1]


class SharedCalls(nn.Module):
    """One unit, used three times."""

    def __init__(self) -> None:
        super().__init__()
        self.sk = unit()

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(3):
            x = self.sk(x)
        return x


class SharedSoftmax(nn.Module):
    """Two units that share a softmax, kept by their parent and handed to them."""

    class Part(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.paths, self.fc = Modules(conv(3), conv(5)), nn.Linear(C, 2 * C)

        def forward(self, x: Tensor, activation: nn.Module) -> Tensor:
            f = self.paths(x)
            z = self.fc(sum(f).mean((2, 3))).view(len(x), 2, C)
            return mix(f, activation(z))

    def __init__(self) -> None:
        super().__init__()
        self.softmax = nn.Softmax(1)
        self.one, self.two = self.Part(), self.Part()

    def forward(self, x: Tensor) -> Tensor:
        return self.two(self.one(x, self.softmax), self.softmax)


class Varied(nn.Module):
    """M differs from unit to unit, and one unit is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.unused, self.c = (
            unit(3, 5),
            unit(1, 3, 5),
            unit(3, 5),
            unit(3, 5, 7, 9),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.b(self.a(x)))


class ParentOwned(nn.Module):
    """The parent owns convolutions, head and softmax, and does all itself, twice."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(conv(k) for k in (3, 5, 3, 5))
        self.heads = nn.ModuleList(nn.Linear(C, 2 * C) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        for i in range(2):
            f = [self.convs[2 * i](x), self.convs[2 * i + 1](x)]
            x = mix(f, self.heads[i](sum(f).mean((2, 3))).view(-1, 2, C).softmax(1))
        return x


class Checkpointed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.sk = unit()

    def forward(self, x: Tensor) -> Tensor:
        return checkpoint(self.sk, x, use_reentrant=False)


class Inputs(nn.Module):
    """Several tensors, a list and a keyword."""

    def __init__(self) -> None:
        super().__init__()
        self.sk = unit()

    def forward(self, x: Tensor, others: list[Tensor], *, scale: Tensor) -> Tensor:
        return self.sk(x * scale + others[0] + others[1])


class SplitAttention(nn.Module):
    """ResNeSt: grouped convolution, radix 2, two cardinal groups."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(C, 2 * C, 3, padding=1, groups=2)
        self.fc1, self.fc2 = nn.Conv2d(C, 8, 1), nn.Conv2d(8, 2 * C, 1, groups=2)

    def logits(self, x: Tensor) -> Tensor:
        parts = self.conv(x).relu().chunk(2, 1)
        return self.fc2(self.fc1(sum(parts).mean((2, 3), keepdim=True)).relu())

    def forward(self, x: Tensor) -> Tensor:
        f = self.conv(x).relu()
        z = self.logits(x).view(len(x), 2, 2, -1).transpose(1, 2).softmax(1)  # radix, group
        w = z.reshape(len(x), -1, 1, 1)
        return sum(a * b for a, b in zip(w.chunk(2, 1), f.chunk(2, 1), strict=True))


def wrapped() -> Iterator[Case]:
    torch.manual_seed(1)
    x = torch.randn(3, C, 8, 8)
    images = torch.randn(3, 3, 8, 8)

    yield Case(
        "called three times", SharedCalls().eval(), (x,), kernels=(3, 5), calls=3, unit_name="sk"
    )
    yield Case("two units share a softmax", SharedSoftmax().eval(), (x,), units=2, kernels=(3, 5))
    yield Case("M differs, one unit never called", Varied().eval(), (x,), units=3)
    yield Case("parent owns everything", ParentOwned().eval(), (x,), units=2, kernels=(3, 5))
    yield Case("under checkpoint", Checkpointed().eval(), (x,), kernels=(3, 5), unit_name="sk")
    yield Case(
        "DataParallel prefix",
        nn.DataParallel(Body(unit())).eval()
        if not torch.cuda.is_available()
        else Body(unit()).eval(),
        (images,),
        kernels=(3, 5),
        unit_name="module.sk" if not torch.cuda.is_available() else "sk",
    )
    yield Case(
        "several inputs, a list and a keyword",
        Inputs().eval(),
        (x, [x.flip(0), x.roll(1, 0)]),
        {"scale": torch.rand(3, 1, 1, 1)},
        kernels=(3, 5),
        unit_name="sk",
    )
    yield Case("bfloat16", unit().eval().bfloat16(), (x.bfloat16(),), kernels=(3, 5), unit_name="")
    yield Case(
        "channels last",
        unit().eval().to(memory_format=torch.channels_last),
        (x.contiguous(memory_format=torch.channels_last),),
        kernels=(3, 5),
    )
    yield Case("batch of one", unit().eval(), (x[:1],), kernels=(3, 5))
    yield Case("training mode", unit(), (x,), kernels=(3, 5))
    plain = Scriptable().eval()

    def true_weights(x: Tensor) -> Tensor:
        return canonical(softmax(plain.logits(plain.small(x), plain.large(x))), "channel")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript announces its end
        scripted, traced = torch.jit.script(plain), torch.jit.trace(plain, x)
    for name, model in (
        ("registered nn.Softmax", plain),
        ("TorchScript, scripted", scripted),
        ("TorchScript, traced", traced),
        ("torch.fx", torch.fx.symbolic_trace(plain)),
        ("torch.compile", torch.compile(plain, backend="eager")),
        ("script inside a module", nn.Sequential(nn.Identity(), scripted)),
    ):
        yield Case(name, model, (x,), kernels=(3, 5), true_weights=true_weights)
    resnest = SplitAttention().eval()

    def radix_weights(x: Tensor) -> Tensor:
        z = resnest.logits(x).view(len(x), 2, 2, -1).transpose(1, 2)
        return softmax(z).flatten(2)

    yield Case(
        "grouped radix split attention", resnest, (x,), kernels=(3, 3), true_weights=radix_weights
    )
