"""Effective kernels: from a branch's feature map back to where the branches part.

What an element of a branch sees of the tensor that all branches share is a `Field`, an interval of
places on each axis. It is composed from operation to operation as long as places stay in order;
where they do not, or where an operation has no kernel, the kernel is `Unknown` and says why.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from skviz.capture.labels import Origins, carrier, replayable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from skviz.capture.graph import Node

CONVOLUTIONS = {"convolution", "_convolution"}  # the latter in traced models
Kernel = int | tuple[int, ...]  # (h, w) where they differ


@dataclass(frozen=True)
class Field:
    """Of each axis: the element at p sees the places from step · p + low to step · p + high."""

    low: tuple[int, ...]
    high: tuple[int, ...]
    step: tuple[int, ...]

    @property
    def kernel(self) -> Kernel:
        """How many places that are, one number if it is the same on every axis."""
        sizes = tuple(high - low + 1 for low, high in zip(self.low, self.high, strict=True))
        return sizes[0] if len(set(sizes)) == 1 else sizes

    def after(self, low: Iterable[int], high: Iterable[int], step: Iterable[int]) -> Field:
        """Return the field of what sees these places of a tensor that has this field."""
        axes = zip(self.low, self.high, self.step, low, high, step, strict=True)
        made = [
            (low + min(s * first, s * last), high + max(s * first, s * last), s * t)
            for low, high, s, first, last, t in axes
        ]
        return Field(*zip(*made, strict=True))


@dataclass(frozen=True)
class Unknown:
    """Something between has no kernel."""

    why: str


@dataclass(frozen=True)
class Misses:
    """No way leads to the tensor that the branches share."""


Reach = Field | Unknown | Misses


@dataclass(frozen=True)
class Kernels:
    """Effective kernel of each branch; or None, and why; whether the branches are of maps."""

    sizes: tuple[Kernel, ...] | None
    unknown: str
    spatial: bool


def branch_kernels(branches: list[int], origins: Origins) -> Kernels:
    """Compose convolutions and pools along each branch.

    Parameters
    ----------
    branches : list[int]
        For each branch the number of its source.
    origins : Origins
        Of the graph.

    Returns
    -------
    Kernels
        Effective kernel of each branch, ``1 + Σ dilation·(k − 1)·stride before``, on each axis.
    """
    made_by = [origins.leaves(number) for number in branches]
    above = [_contributing(nodes, origins) for nodes in made_by]
    every = set.union(*above)
    if len(set(branches)) == 1:  # one convolution, chunked: the branches part before it
        above = [nodes - set(made_by[0]) for nodes in above]
    common = set.intersection(*above)
    if not common:
        spatial = all(len(node.shape) >= 3 for nodes in made_by for node in nodes)
        return Kernels(None, "the branches have no tensor in common", spatial)
    meet = max(common, key=lambda node: node.index)
    between = [node for node in every if node.index > meet.index]
    spatial = any(_window(node) is not None for node in between)
    paths = _Paths(meet, origins)
    for node in sorted(between, key=lambda node: node.index):  # so that nothing recurses deeply
        paths.reach(node)
    reached = list(map(paths.branch, branches))
    fields = [reach for reach in reached if isinstance(reach, Field)]
    if len(fields) == len(branches):
        return Kernels(tuple(field.kernel for field in fields), "", spatial)
    spatial |= any(node.op.startswith("upsample") for node in between)
    why = [f"of branch {i}: {r.why}" for i, r in enumerate(reached) if isinstance(r, Unknown)]
    return Kernels(None, "; ".join(why) or "a branch does not see what the others see", spatial)


def ancestors(nodes: list[Node]) -> set[Node]:
    """Return these nodes and all that they depend on and that depends on the input."""
    return _above(nodes, lambda node: node.parents)


def _contributing(nodes: list[Node], origins: Origins) -> set[Node]:
    """Return their ancestors, without what was stored beside the part of it that is read."""
    return _above(
        nodes, lambda node: [used for parent in node.parents for used in _used(parent, origins)]
    )


def _above(nodes: list[Node], before: Callable[[Node], Iterable[Node]]) -> set[Node]:
    seen: set[Node] = set()
    ahead = list(nodes)
    while ahead:
        node = ahead.pop()
        if node not in seen:
            seen.add(node)
            ahead.extend(parent for parent in before(node) if parent.tainted)
    return seen


def _used(node: Node, origins: Origins) -> list[Node]:
    """Return a node, or of a part of something joined, the sources of that part."""
    whole = node
    while replayable(whole) and len(whole.parents) == 1:
        whole = whole.parents[0]
        while (parent := carrier(whole)) is not None:
            whole = parent
    if whole is node or not replayable(whole):
        return [node]
    mine, every = (origins.decode(origins.of(one))["source"].unique() for one in (node, whole))
    if len(mine) == len(every):
        return [node]
    return [leaf for number in mine.tolist() if number >= 0 for leaf in origins.leaves(number)]


class _Paths:
    """What each tensor sees of ``meet``."""

    def __init__(self, meet: Node, origins: Origins) -> None:
        self.meet, self.origins = meet, origins.since(meet)
        self._known: dict[Node, Reach] = {}

    def reach(self, node: Node) -> Reach:
        """Return what the tensor of a node sees."""
        before: list[Node] = []  # without recursion along the many operations that keep places
        while node not in self._known and node is not self.meet:
            parent = carrier(node)
            if parent is None:
                break
            before.append(node)
            node = parent
        if node not in self._known:
            self._known[node] = self._reach(node)
        self._known.update(dict.fromkeys(before, self._known[node]))
        return self._known[node]

    def branch(self, number: int) -> Reach:
        """Return what a whole branch sees, by the number of its source."""
        node = self.origins.sources[number][0]
        alone = [other for other, _ in self.origins.sources].count(node) == 1
        return self.reach(node) if alone else self.source(number)

    def source(self, number: int) -> Reach:
        """Return what a source sees."""
        if number in self.origins.apart:
            return Unknown("maps are moved apart and added")
        node, parts = self.origins.sources[number]
        return _joined(map(self.source, parts)) if parts else self.reach(node)

    def _reach(self, node: Node) -> Reach:
        if node is self.meet:
            axes = max(len(node.shape) - 2, 1)
            return Field((0,) * axes, (0,) * axes, (1,) * axes)
        if node.index < self.meet.index or not node.tainted:
            return Misses()
        if replayable(node):
            return self._moved(node)
        window = _window(node)
        if window is not None:
            return _compose(self.reach(node.parents[0]), *window)
        parents = [parent for parent in node.parents if parent.tainted]
        if node.elementwise:  # a gate broadcast over the map does not widen its view
            parents = [parent for parent in parents if parent.shape == node.shape] or parents
        found = _joined(map(self.reach, parents))
        if node.elementwise or isinstance(found, Misses | Unknown):
            return found
        return Unknown(f"{node.op} has no kernel")

    def _moved(self, node: Node) -> Reach:
        """Return what a tensor sees whose elements are those of others, moved."""
        labels = self.origins.of(node)
        sources = self.origins.decode(labels)["source"]
        found: list[Reach] = []
        for number in sources.unique().tolist():
            if number < 0:
                continue
            reach = self.source(number)
            if isinstance(reach, Field):
                shape = self.origins.leaves(number)[0].shape
                window = _displacement(labels, sources == number, shape)
                reach = _compose(reach, *window) if isinstance(window, tuple) else window
            found.append(reach)
        return _joined(found)


def _joined(reaches: Iterable[Reach]) -> Reach:
    """Return what is seen by something made of all of these."""
    found = [reach for reach in reaches if not isinstance(reach, Misses)]
    unknown = [reach for reach in found if isinstance(reach, Unknown)]
    if unknown or not found:
        return unknown[0] if unknown else Misses()
    fields = [reach for reach in found if isinstance(reach, Field)]
    if len({field.step for field in fields}) > 1:
        return Unknown("paths of different stride are joined")
    low = tuple(map(min, zip(*(field.low for field in fields), strict=True)))
    high = tuple(map(max, zip(*(field.high for field in fields), strict=True)))
    return Field(low, high, fields[0].step)


_Window = tuple[list[int], list[int], list[int]]  # low, high, step on each axis


def _compose(before: Reach, low: list[int], high: list[int], step: list[int]) -> Reach:
    if not isinstance(before, Field):
        return before
    if len(before.low) != len(step):
        return Unknown("its axes are folded")
    return before.after(low, high, step)


def _window(node: Node) -> _Window | None:
    """Return which places of its input an element of a convolution, pool or padding sees."""
    args = node.args
    if node.op in CONVOLUTIONS:
        if args[6]:  # transposed
            return None
        size, stride, padding, dilation = args[1].shape[2:], args[3], args[4], args[5]
    elif "pool" in node.op and "adaptive" not in node.op:
        size = args[1]
        stride = (args[2] if len(args) > 2 else None) or size
        padding = args[3] if len(args) > 3 else [0]
        dilation = args[4] if node.op.startswith("max") and len(args) > 4 else [1]
    elif node.op == "constant_pad_nd" or node.op.endswith(("pad1d", "pad2d", "pad3d")):
        before = [-pad for pad in args[1][::2][::-1]]  # given from the last axis
        axes = len(node.shape) - 2
        low = [0] * (axes - len(before)) + before
        return (low, low, [1] * axes) if len(low) == axes else None
    else:
        return None
    axes = max(len(size), len(node.shape) - 2)

    def spread(values: list[int]) -> list[int]:
        return list(values) * axes if len(values) == 1 else list(values)

    low = [-pad for pad in spread(padding)]
    wide = [d * (k - 1) for k, d in zip(spread(size), spread(dilation), strict=True)]
    return low, [a + b for a, b in zip(low, wide, strict=True)], spread(stride)


def _displacement(labels: Tensor, mine: Tensor, source: tuple[int, ...]) -> _Window | Unknown:
    """Return which places of its source (image, channel, place…) a moved tensor's elements hold.

    At the seams of a circular padding or roll the places may jump.
    """
    if labels.dim() != len(source):
        return Unknown("its axes are folded")
    low, high, step = [], [], []
    for axis in range(2, len(source)):
        held = Origins.flat(labels) // math.prod(source[axis + 1 :]) % source[axis]
        steps = [_step(held, mine, along, int(along == axis)) for along in range(2, len(source))]
        stride = steps[axis - 2]
        if stride is None or any(each != 0 for at, each in enumerate(steps, 2) if at != axis):
            return Unknown("its places are rearranged")
        ramp = stride * torch.arange(labels.shape[axis])
        ramp = ramp.reshape([-1 if at == axis else 1 for at in range(labels.dim())])
        offsets = _offsets(held - ramp, mine)
        low.append(int(offsets.min()))
        high.append(int(offsets.max()))
        step.append(stride)
    return low, high, step


def _step(held: Tensor, mine: Tensor, axis: int, single: int) -> int | None:
    """By how much places change along an axis, nearly everywhere; None if by this and that."""
    count = held.shape[axis] - 1
    if count < 1:
        return single
    both = mine.narrow(axis, 1, count) & mine.narrow(axis, 0, count)
    change = held.diff(dim=axis)[both]
    if not len(change):
        return single
    step = int(change.mode().values)
    return step if 2 * int((change == step).sum()) > len(change) else None


def _offsets(offsets: Tensor, mine: Tensor) -> Tensor:
    """Return the usual offset of each channel of each image that holds anything."""
    others = -1 - torch.arange(offsets.numel()).reshape(offsets.shape) - (1 << 40)  # no two alike
    by_channel = torch.where(mine, offsets, others).flatten(0, 1).flatten(1)
    return by_channel[mine.flatten(0, 1).flatten(1).any(1)].mode(1).values
