"""Effective kernels: from a branch's feature map back to where the branches part.

What an element of a branch sees of the tensor that all branches share is a `Field`: on each axis an
interval of places. It is composed from operation to operation as long as places stay in order;
where they do not, or where an operation has no kernel, the kernel is `Unknown` and says why.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from skviz.capture.graph import Node
from skviz.capture.labels import Origins, carrier, replayable
from skviz.capture.tape import Frame

CONVOLUTIONS = {"convolution", "_convolution"}  # the latter in traced models
Kernel = int | tuple[int, ...]  # (h, w) where they differ


class Axis(NamedTuple):
    """The element at p sees the places from step · p + low to step · p + high."""

    low: int
    high: int
    step: int


@dataclass(frozen=True)
class Unknown:
    """Something between has no kernel."""

    why: str


Field = tuple[Axis, ...]
Reach = Field | Unknown | None  # None where no way leads to the tensor that the branches share


@dataclass(frozen=True)
class Kernels:
    """Effective kernel of each branch, along so many axes; or None, and why; whether of maps."""

    sizes: tuple[Kernel, ...] | None
    unknown: str
    spatial: bool
    axes: int = 2


def branch_kernels(branches: list[int], origins: Origins, owner: Frame) -> Kernels:
    """Compose convolutions and pools along each branch.

    Parameters
    ----------
    branches : list[int]
        For each branch the number of its source.
    origins : Origins
        Of the graph.
    owner : Frame
        The module that selects: a branch made inside it is not where another one starts.

    Returns
    -------
    Kernels
        Effective kernel of each branch, ``1 + Σ dilation·(k − 1)·stride before``, on each axis.
    """
    made_by = [origins.leaves(number) for number in branches]
    above = [_contributing(nodes, origins) for nodes in made_by]
    every, common = set.union(*above), set.intersection(*above)
    chunked = len(set(branches)) == 1  # one convolution: the branches part before it
    common -= {one for nodes in made_by for one in _same(nodes) if chunked or owner in one.stack}
    if not common:
        spatial = all(len(node.shape) >= 3 for nodes in made_by for node in nodes)
        return Kernels(None, "the branches have no tensor in common", spatial)
    meet = max(common, key=lambda node: node.index)
    between = [node for node in every if node.index > meet.index]
    spatial = any(_window(node) is not None or node.op.startswith("upsample") for node in between)
    paths = _Paths(meet, origins)
    for node in sorted(between, key=lambda node: node.index):  # so that nothing recurses deeply
        paths.reach(node)
    reached = list(map(paths.branch, branches))
    fields = [reach for reach in reached if isinstance(reach, tuple)]
    if len(fields) == len(branches):
        return Kernels(tuple(map(_kernel, fields)), "", spatial, len(fields[0]))
    why = [f"of branch {i}: {r.why}" for i, r in enumerate(reached) if isinstance(r, Unknown)]
    return Kernels(None, "; ".join(why) or "a branch does not see what the others see", spatial)


def _kernel(field: Field) -> Kernel:
    """How many places are seen, one number if it is the same on every axis."""
    sizes = tuple(axis.high - axis.low + 1 for axis in field)
    return sizes[0] if len(set(sizes)) == 1 else sizes


def ancestors(nodes: list[Node]) -> set[Node]:
    """Return these nodes and all that they depend on and that depends on the input."""
    return _above(nodes, lambda node: node.parents)


def _same(nodes: list[Node]) -> set[Node]:
    """Return these nodes and those that are their elements but for what is done to each of them."""
    every = ancestors(nodes)
    parted = [node for node in every if not node.elementwise and not replayable(node)]
    return every - ancestors([parent for node in parted for parent in node.parents])


def _contributing(nodes: list[Node], origins: Origins) -> set[Node]:
    """Return their ancestors, without what was stored beside the part of it that is read."""

    def used(node: Node) -> list[Node]:
        if node not in origins.used:
            origins.used[node] = _used(node, origins)
        return origins.used[node]

    return _above(nodes, lambda node: [part for parent in node.parents for part in used(parent)])


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
    mine, every = map(origins.held, (node, whole))
    if len(mine) == len(every):
        return [node]
    return [leaf for number in mine for leaf in origins.leaves(number)]


class _Paths:
    """What each tensor sees of ``meet``."""

    def __init__(self, meet: Node, origins: Origins) -> None:
        self.meet, self.origins = meet, origins.since(meet)
        self._known: dict[Node, Reach] = {}

    def reach(self, node: Node) -> Reach:
        """Return what the tensor of a node sees."""
        if node not in self._known:
            self._known[node] = self._reach(node)
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
            return (Axis(0, 0, 1),) * max(len(node.shape) - 2, 1)
        if node.index < self.meet.index or not node.tainted:
            return None
        if replayable(node):
            return self._moved(node)
        window = _window(node)
        if window is not None:
            return _composed(self.reach(node.parents[0]), window)
        parents = [parent for parent in node.parents if parent.tainted]
        if node.elementwise:  # a gate broadcast over the map does not widen its view
            parents = [parent for parent in parents if parent.shape == node.shape] or parents
        found = _joined(map(self.reach, parents))
        if node.elementwise or not isinstance(found, tuple):
            return found
        return Unknown(f"{node.op} has no kernel")

    def _moved(self, node: Node) -> Reach:
        """Return what a tensor sees whose elements are those of others, moved."""
        labels = self.origins.of(node)
        sources = self.origins.source(labels)
        found: list[Reach] = []
        for number in self.origins.held(node):
            reach = self.source(number)
            if isinstance(reach, tuple):
                shape = self.origins.leaves(number)[0].shape
                reach = _composed(reach, _displacement(labels, sources == number, shape))
            found.append(reach)
        return _joined(found)


def _joined(reaches: Iterable[Reach]) -> Reach:
    """Return what is seen by something made of all of these."""
    found = [reach for reach in reaches if reach is not None]
    for reach in found:
        if isinstance(reach, Unknown):
            return reach
    fields = [reach for reach in found if isinstance(reach, tuple)]
    if len({tuple(axis.step for axis in field) for field in fields}) > 1:
        return Unknown("paths of different stride are joined")
    joined = tuple(
        Axis(min(axis.low for axis in axes), max(axis.high for axis in axes), axes[0].step)
        for axes in zip(*fields, strict=True)
    )
    return joined or None


def _composed(before: Reach, after: Field | Unknown) -> Reach:
    """Return what is seen by what sees ``after`` of a tensor that sees ``before``."""
    if not isinstance(before, tuple) or isinstance(after, Unknown):
        return after if isinstance(before, tuple) else before
    if len(before) != len(after):
        return Unknown("its axes are folded")
    made = []
    for axis, (low, high, step) in zip(before, after, strict=True):
        ends = axis.step * low, axis.step * high
        made.append(Axis(axis.low + min(ends), axis.high + max(ends), axis.step * step))
    return tuple(made)


def _window(node: Node) -> Field | None:
    """Return which places of its input an element of a convolution, pool or padding sees."""
    if "::" in node.op:
        return None
    args, axes, dilation = node.args, len(node.shape) - 2, [1]
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
        before = args[1][::2][::-1]  # given from the last axis
        size, stride, padding = [1], [1], [0] * (axes - len(before)) + before
        if len(padding) > axes:
            return None
    else:
        return None
    axes = max(len(size), axes)
    each = (list(v) * axes if len(v) == 1 else v for v in (size, stride, padding, dilation))
    return tuple(Axis(-p, d * (k - 1) - p, s) for k, s, p, d in zip(*each, strict=True))


def _displacement(labels: Tensor, mine: Tensor, source: tuple[int, ...]) -> Field | Unknown:
    """Return which places of its source (image, channel, place…) a moved tensor's elements hold.

    At the seams of a circular padding or roll the places may jump.
    """
    if labels.dim() != len(source):
        return Unknown("its axes are folded")
    field = []
    places = math.prod(source[2:])
    here = torch.arange(places).reshape(source[2:])
    if labels.shape[2:] == here.shape:
        first = labels  # of each channel; usually the others follow it in order
        for axis in range(2, labels.dim()):
            first = first.narrow(axis, 0, 1)
        whole = bool(mine.all()) and not bool((Origins.flat(first) % places).any())
        if (whole and torch.equal(labels, first + here)) or torch.equal(
            Origins.flat(labels)[mine] % places, here.expand(labels.shape)[mine]
        ):
            return (Axis(0, 0, 1),) * here.dim()
    for axis in range(2, len(source)):
        held = Origins.flat(labels) // math.prod(source[axis + 1 :]) % source[axis]
        steps = [_step(held, mine, along, int(along == axis)) for along in range(2, len(source))]
        stride = steps[axis - 2]
        if stride is None or any(each != 0 for at, each in enumerate(steps, 2) if at != axis):
            return Unknown("its places are rearranged")
        ramp = stride * torch.arange(labels.shape[axis])
        ramp = ramp.reshape([-1 if at == axis else 1 for at in range(labels.dim())])
        offsets = _offsets(held - ramp, mine)
        field.append(Axis(int(offsets.min()), int(offsets.max()), stride))
    return tuple(field)


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
