"""Selective-Kernel units and networks (Li et al., CVPR 2019, arXiv 1903.06586).

Split: M branches with different kernels see the same feature map. Fuse: their sum is pooled into
one descriptor. Select: a softmax over the branches gives one weight per branch and channel.

Two identities keep the units fast and small without changing what they compute: the mean of the
sum U is the sum of the branches' means, so U is never built; and the weighted sum is accumulated
branch by branch (for two branches it is one linear interpolation), so branches are never stacked.
"""

from collections import OrderedDict
from collections.abc import Sequence
from functools import reduce
from typing import Any, Literal

import torch
from torch import Tensor, nn

from skviz.errors import Count, ModelError, Side, entrance


def check_kernels(kernels: Sequence[int], channels: int, groups: int) -> tuple[int, ...]:
    """Return the kernels as a tuple, or raise `ModelError` if no unit can be made of them."""
    kernels = tuple(kernels)
    if len(kernels) < 2:
        raise ModelError(
            f"a Selective-Kernel unit selects between two or more branches, got kernels={kernels}; "
            "give at least two kernel sizes"
        )
    if any(kernel % 2 == 0 for kernel in kernels):
        raise ModelError(f"kernels must be odd so that all branches keep one size, got {kernels}")
    if channels % groups:
        raise ModelError(f"channels ({channels}) must be divisible by groups ({groups})")
    return kernels


def conv_bn_relu(in_channels: int, out_channels: int, kernel: int, **options: Any) -> nn.Sequential:
    """Make the Conv–BN–ReLU stack, with the names `conv`, `bn` and `relu`."""
    conv = nn.Conv2d(in_channels, out_channels, kernel, **options)
    return nn.Sequential(
        OrderedDict(conv=conv, bn=nn.BatchNorm2d(out_channels), relu=nn.ReLU(inplace=False))
    )


def split(convs: nn.ModuleList, x: Tensor) -> tuple[list[Tensor], Tensor]:
    """Run the branches; return them, M × (B, C, H, W), and the spatial mean of their sum, (B, C).

    Each branch is pooled at once, while it is still in the cache.
    """
    branches, means = [], []
    for conv in convs:
        branches.append(conv(x))  # (B, C, H, W)
        means.append(branches[-1].mean((2, 3)))  # (B, C)
    return branches, reduce(torch.add, means)


def weighted_sum(branches: Sequence[Tensor], weights: Tensor) -> Tensor:
    """Sum of branch × weight: M tensors (B, C, H, W), weights (M, B, C, 1, 1) that sum to 1."""
    weights = weights.to(branches[0].dtype)  # under autocast a softmax may be float32
    if len(branches) == 2:
        return torch.lerp(branches[0], branches[1], weights[1])  # (B, C, H, W)
    total = branches[0] * weights[0]  # (B, C, H, W)
    for index in range(1, len(branches)):  # torch.fx cannot iterate over the weights
        total = total.addcmul_(branches[index], weights[index])
    return total


class SKAttention(nn.Module):
    """The Selective-Kernel module of the article this project starts from.

    Unlike the paper's unit, every branch has its own Linear layer and a true (not dilated) kernel,
    and the descriptor passes through neither batch norm nor ReLU. A state dict saved from the
    article's code loads strictly.

    Parameters
    ----------
    channel
        Channels C of input and output.
    kernels
        One odd kernel size per branch, at least two.
    reduction, L
        The descriptor has d = max(L, channel // reduction) features.
    group
        Groups of every branch's convolution.

    Raises
    ------
    ModelError
        For fewer than two kernels, an even kernel, or channels not divisible by the groups.

    Notes
    -----
    ``forward`` takes and gives (B, C, H, W). ``softmax`` gives the weights, (M, B, C, 1, 1); a hook
    that replaces them must keep their sum over the branches at 1.

    Examples
    --------
    >>> import skviz, torch
    >>> unit = skviz.SKAttention(channel=64, kernels=[3, 5])
    >>> unit(torch.rand(2, 64, 16, 16)).shape
    torch.Size([2, 64, 16, 16])
    """

    @entrance
    def __init__(
        self,
        channel: Side = 512,
        kernels: Sequence[Side] = (1, 3, 5, 7),
        reduction: Count = 16,
        group: Count = 1,
        L: Side = 32,  # noqa: N803 (the paper's name)
    ) -> None:
        super().__init__()
        self.kernels = check_kernels(kernels, channel, group)
        self.d = max(L, channel // reduction)
        self.convs = nn.ModuleList(
            conv_bn_relu(channel, channel, kernel, padding=kernel // 2, groups=group)
            for kernel in self.kernels
        )
        self.fc = nn.Linear(channel, self.d)
        self.fcs = nn.ModuleList(nn.Linear(self.d, channel) for _ in self.kernels)
        self.softmax = nn.Softmax(dim=0)

    def forward(self, x: Tensor) -> Tensor:
        """Mix the branches of x, (B, C, H, W), by their weights."""
        branches, pooled = split(self.convs, x)  # M × (B, C, H, W), (B, C)
        z = self.fc(pooled)  # (B, d)
        logits = torch.stack([fc(z) for fc in self.fcs])  # (M, B, C)
        weights = self.softmax(logits[..., None, None])  # (M, B, C, 1, 1)
        return weighted_sum(branches, weights)


class SKConv(nn.Module):
    """The paper's Selective-Kernel convolution (section 3.1).

    Parameters
    ----------
    channels
        Channels C of input and output.
    kernels
        One odd *effective* kernel size per branch, at least two: M = len(kernels).
    dilated
        Make kernels larger than 3 from a 3×3 convolution with dilation (kernel − 1) / 2, as the
        paper does; otherwise they are true kernels.
    groups
        The paper's cardinality G.
    reduction, L
        The descriptor has d = max(channels // reduction, L) features (equation 4).
    stride
        Stride of every branch.

    Raises
    ------
    ModelError
        For fewer than two kernels, an even kernel, or channels not divisible by the groups.

    Notes
    -----
    ``forward`` maps (B, C, H, W) to (B, C, H / stride, W / stride). ``softmax`` gives the weights,
    (B, M, C); a hook that replaces them must keep their sum over the branches at 1.
    """

    @entrance
    def __init__(
        self,
        channels: Side,
        *,
        kernels: Sequence[Side] = (3, 5),
        dilated: bool = True,
        groups: Count = 32,
        reduction: Count = 16,
        L: Side = 32,  # noqa: N803 (the paper's name)
        stride: Count = 1,
    ) -> None:
        super().__init__()
        self.kernels = check_kernels(kernels, channels, groups)
        self.convs = nn.ModuleList()
        for kernel in self.kernels:
            size = min(kernel, 3) if dilated else kernel
            dilation = (kernel - 1) // (size - 1) if size > 1 else 1
            self.convs.append(
                conv_bn_relu(
                    channels,
                    channels,
                    size,
                    stride=stride,
                    padding=kernel // 2,
                    dilation=dilation,
                    groups=groups,
                    bias=False,
                )
            )
        d = max(channels // reduction, L)
        self.fuse = nn.Sequential(
            OrderedDict(
                linear=nn.Linear(channels, d, bias=False), bn=nn.BatchNorm1d(d), relu=nn.ReLU()
            )
        )
        self.select = nn.Linear(d, len(self.kernels) * channels, bias=False)
        self.softmax = nn.Softmax(dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """Mix the branches of x, (B, C, H, W), by their weights."""
        branches, pooled = split(self.convs, x)  # M × (B, C, H', W'), (B, C)
        z = self.fuse(pooled)  # (B, d)
        logits = self.select(z).unflatten(1, (len(branches), -1))  # (B, M, C)
        weights = self.softmax(logits)[..., None, None]  # (B, M, C, 1, 1)
        return weighted_sum(branches, weights.movedim(1, 0))


class SKUnit(nn.Module):
    """The residual bottleneck of an SKNet: 1×1 → SKConv (``sk``) → 1×1 (table 1 of the paper).

    Parameters
    ----------
    in_channels, width, out_channels
        Channels of the input, of the SKConv, and of the output.
    stride
        Stride of the SKConv and of the shortcut.
    **options
        Passed to `SKConv`.
    """

    def __init__(
        self, in_channels: int, width: int, out_channels: int, *, stride: int = 1, **options: Any
    ) -> None:
        super().__init__()
        self.reduce = conv_bn_relu(in_channels, width, 1, bias=False)
        self.sk = SKConv(width, stride=stride, **options)
        self.expand = conv_bn_relu(width, out_channels, 1, bias=False)[:2]
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or in_channels != out_channels:
            self.shortcut = conv_bn_relu(in_channels, out_channels, 1, stride=stride, bias=False)[
                :2
            ]
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, H / stride, W / stride)."""
        y: Tensor = self.relu(self.expand(self.sk(self.reduce(x))) + self.shortcut(x))
        return y


class SKNet(nn.Module):
    """A network of SK units in stages ``stage1``, ``stage2``, …; each later stage halves the map.

    Parameters
    ----------
    depths, widths
        Units per stage, and the channels of their SKConv.
    num_classes, in_channels
        Size of the output, and channels of the image.
    expansion
        Output channels of a unit, as a multiple of its width.
    stem_channels, stem_stride
        The stem: 3×3 with stride 1 or 2, or for 4 the ImageNet stem (7×7 and max pooling).
    **options
        Passed to every `SKConv`.

    Raises
    ------
    ModelError
        If depths and widths differ in length, or the stem stride is not 1, 2 or 4.

    Notes
    -----
    ``forward`` maps images (B, in_channels, H, W) of any size to logits (B, num_classes).
    """

    @entrance
    def __init__(
        self,
        depths: Sequence[Count],
        widths: Sequence[Side] = (128, 256, 512, 1024),
        *,
        num_classes: Side = 1000,
        in_channels: Side = 3,
        expansion: Count = 2,
        stem_channels: Side = 64,
        stem_stride: Literal[1, 2, 4] = 4,
        **options: Any,
    ) -> None:
        super().__init__()
        if len(depths) != len(widths):
            raise ModelError(f"one width per stage: got depths={depths} and widths={widths}")
        large = stem_stride == 4
        size, stride = (7, 2) if large else (3, stem_stride)
        self.stem = conv_bn_relu(
            in_channels, stem_channels, size, stride=stride, padding=size // 2, bias=False
        )
        if large:
            self.stem.add_module("pool", nn.MaxPool2d(3, stride=2, padding=1))
        channels = stem_channels
        self.stages = [f"stage{number}" for number in range(1, len(depths) + 1)]
        for name, depth, width in zip(self.stages, depths, widths, strict=True):
            stage = nn.Sequential()
            for index in range(depth):
                stride = 2 if index == 0 and name != "stage1" else 1
                stage.append(SKUnit(channels, width, expansion * width, stride=stride, **options))
                channels = expansion * width
            self.add_module(name, stage)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, num_classes)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights of all convolutions anew (He et al. 2015)."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and not module.weight.is_meta:
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Classify images, (B, in_channels, H, W), into logits (B, num_classes)."""
        x = self.stem(images)
        for name in self.stages:
            x = self.get_submodule(name)(x)
        logits: Tensor = self.fc(self.pool(x).flatten(1))  # (B, num_classes)
        return logits


def sknet26(**options: Any) -> SKNet:
    """SKNet-26: 16.75 M parameters, 2.59 G multiply-adds at 224×224 (paper: 16.8 M, 2.6 G)."""
    return SKNet((2, 2, 2, 2), **options)


def sknet50(**options: Any) -> SKNet:
    """SKNet-50: 27.48 M parameters, 4.46 G multiply-adds at 224×224 (paper: 27.5 M, 4.47 G)."""
    return SKNet((3, 4, 6, 3), **options)


def sknet101(**options: Any) -> SKNet:
    """SKNet-101: 48.74 M parameters, 8.45 G multiply-adds at 224×224 (paper: 48.9 M, 8.46 G)."""
    return SKNet((3, 4, 23, 3), **options)
