"""Labels pushed through the graph: where each element of a tensor came from."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from copy import copy
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from skviz.capture.graph import COPYING, RESHAPING, Node, View

NOWHERE = -1
_SUMS = 3  # how many element-wise sums a stack of maps is followed through
_BITS = 40  # of a label that number the element; the rest number the source


def replay(node: Node, labels: Callable[[Node], Tensor]) -> Tensor:
    """Move labels as ``node`` moved its values; ``labels`` gives those of each tensor argument."""
    if node.memory:
        return _read(node, labels)
    op = node.op
    if op in RESHAPING:
        return labels(node.parents[0]).reshape(node.shape)
    if op in COPYING:
        return labels(node.parents[-1]).expand(node.shape)
    tensors: Any = tree_map(
        lambda arg: _argument(arg, labels) if isinstance(arg, Node) else arg,
        (node.args, node.kwargs),
    )
    # Without `out=`, which is no argument of the values.
    run = node.func.overloadpacket if node.func._overloadname == "out" else node.func
    out = run(*tensors[0], **tensors[1])
    moved: Tensor = out if isinstance(out, Tensor) else out[node.output]
    return moved


def _read(node: Node, labels: Callable[[Node], Tensor]) -> Tensor:
    """Read a tensor's labels from its memory, after all that was written there."""
    places = [torch.arange(_reach(view)).as_strided(*view) for _, view in node.memory]
    held = torch.full((max(_reach(view) for _, view in node.memory),), NOWHERE)
    for (part, _), place in zip(node.memory, places, strict=True):
        held[place] = labels(part).expand(part.shape)
    return held[places[0]]


def _reach(view: View) -> int:
    """Elements of memory up to the last one that a view holds."""
    steps = zip(view.shape, view.stride, strict=True)
    return view.offset + 1 + sum((size - 1) * stride for size, stride in steps)


def _argument(node: Node, labels: Callable[[Node], Tensor]) -> Tensor:
    return node.values if node.values is not None and not node.tainted else labels(node)


def replayable(node: Node) -> bool:
    """Whether every index tensor that the operation needs was kept."""
    return node.moving and (
        not node.op.startswith("index")
        or all(parent.values is not None for parent in node.parents[1:])
    )


def carrier(node: Node) -> Node | None:
    """Return the one parent that an element-wise operation passes on, if there is just one."""
    if not node.elementwise or node.output != 0:
        return None
    inputs = [parent for parent in node.parents if parent.tainted]
    return inputs[0] if len(inputs) == 1 and inputs[0].shape == node.shape else None


class Origins:
    """For each element of a feature map: the operation that made it, and its place there.

    Moves, activations and normalisations are looked through, but not an activation of a map
    that is used as it was, too. A label is
    ``source << 40 | flat index in the source's tensor``, or -1 for what does not
    depend on the input.
    """

    def __init__(self, graph: list[Node]) -> None:
        self.sources: list[tuple[Node, tuple[int, ...]]] = []
        self.apart: set[int] = set()  # sources whose parts were moved apart before they were added
        self._numbers: dict[tuple[Node, tuple[int, ...]], int] = {}
        self._labels: dict[Node, Tensor] = {}
        self._moved: dict[Node, int] = {}
        self.used: dict[Node, list[Node]] = {}  # see `kernels`
        self._table = torch.ones(3, 2, 1, dtype=torch.int64)  # first, of what is from nowhere
        given = (node.shape[0] for node in graph if node.tainted and node.shape)
        self._batch = next(given, 1)  # the first tensor that a model is given has the images
        readers = Counter(parent for node in graph for parent in {*node.parents})
        self._forked = {parent for parent, count in readers.items() if count > 1}
        self._turned: set[Node] = set()  # matrices with the places before the images
        for node in graph:
            self._note_moves(node)
            self._note_turned(node)

    def leaves(self, source: int) -> list[Node]:
        """Nodes that made a source; several where differing maps were added element by element."""
        node, parts = self.sources[source]
        return [leaf for part in parts for leaf in self.leaves(part)] if parts else [node]

    def of(self, node: Node) -> Tensor:
        """Labels of every element of ``node``, shape as the node's, int64."""
        labels = self._labels.get(node)
        if labels is None:
            labels = self._labels[node] = self._make(node)
        return labels

    def since(self, start: Node) -> Origins:
        """Return origins that look no further back than to this node."""
        other = copy(self)
        other._labels = {}
        other._labels[start] = other._fresh(start)
        return other

    @staticmethod
    def flat(labels: Tensor) -> Tensor:
        """Place of each element in its source's tensor, as a flat index."""
        return labels & ((1 << _BITS) - 1)

    def ends(self, ours: Tensor, theirs: Tensor) -> tuple[Tensor, Tensor]:
        """Smallest and largest label along the axes that ``ours`` has only once, for its elements.

        Axes are left as they are where more than the place differs along them.
        """
        low = high = theirs
        once = [1] * (theirs.dim() - ours.dim()) + list(ours.shape)
        axes = [axis for axis in range(theirs.dim()) if once[axis] == 1 < theirs.shape[axis]]
        for some in [axes] * self._in_order() + [[axis] for axis in reversed(axes)]:
            if any(low.shape[axis] > 1 for axis in some):
                ends = low.amin(some, keepdim=True), high.amax(some, keepdim=True)
                if self._alike(*ends):
                    low, high = ends
        return low, high

    def _in_order(self) -> bool:
        """Whether the places of each channel of each source follow one another in memory."""
        return bool((self._extents()[2, 0] == 1).all())

    def _alike(self, one: Tensor, other: Tensor) -> bool:
        """Whether labels are of the same sources, images and channels as others."""
        source = self.source(one)
        if not torch.equal(source, self.source(other)):
            return False
        if self._in_order():
            count = self._extents()[2, 1][source + 1]
            return torch.equal(self.flat(one) // count, self.flat(other) // count)
        parts = self.decode(one), self.decode(other)
        return all(torch.equal(parts[0][key], parts[1][key]) for key in ("image", "channel"))

    def forget(self) -> None:
        """Let go of the label tensors (not of the sources)."""
        self._labels.clear()

    def decode(self, labels: Tensor) -> dict[str, Tensor]:
        """Split labels into source, image, channel and position within the source."""
        source, flat = labels >> _BITS, self.flat(labels)
        parts = {"source": source}
        for key, at in (("image", 0), ("channel", 1), ("place", 2)):
            step, size = self._extents()[at]
            parts[key] = flat // step[source + 1] % size[source + 1]
        return parts

    @staticmethod
    def source(labels: Tensor) -> Tensor:
        """Return each element's source; negative for what does not depend on the input."""
        return labels >> _BITS

    def held(self, node: Node) -> list[int]:
        """Return the numbers of the sources that a tensor has elements of."""
        present = (self.source(self.of(node)).flatten() + 1).bincount()
        return [number for number in (present.nonzero()[:, 0] - 1).tolist() if number >= 0]

    def places(self, number: int) -> int:
        """Return how many places a source has; a vector has one."""
        return int(self._extents()[2, 1, number + 1])

    def _extents(self) -> Tensor:
        """Of images, channels and places of each source: distance in memory, and number."""
        made = [self.leaves(n)[0] for n in range(self._table.shape[2] - 1, len(self.sources))]
        if made:
            each = [_extents(node.shape, self._batch, node in self._turned) for node in made]
            new = torch.tensor(each).permute(1, 2, 0)
            self._table = torch.cat([self._table, new], 2)
        return self._table

    def _make(self, node: Node) -> Tensor:
        if not node.tainted:
            return torch.full((1,) * len(node.shape), NOWHERE).expand(node.shape)
        if replayable(node):
            return replay(node, self.of)
        parent = carrier(node)
        if parent is not None and not self._differs(node, parent):
            return self.of(parent)
        whole = self._whole_parents(node)
        if node in self._moved:
            return self._combine(node, [self.of(part) for part in whole])
        return self._fresh(node)

    def _differs(self, node: Node, parent: Node) -> bool:
        """Whether a map goes on beside one computed from it element by element."""
        return node.pointwise and parent in self._forked and parent not in self._moved

    def _fresh(self, node: Node) -> Tensor:
        first = self._number(node, ()) << _BITS
        return torch.arange(first, first + math.prod(node.shape)).reshape(node.shape)

    def _combine(self, node: Node, parts: list[Tensor]) -> Tensor:
        """Element-wise sum or product of a stack of maps with others: still a stack."""
        whole = torch.stack([part.broadcast_to(node.shape) for part in parts]).flatten(1)
        pairs, inverse = (whole >> _BITS).unique(dim=1, return_inverse=True)
        numbers = torch.tensor(
            [self._number(node, tuple(n for n in pair if n >= 0)) for pair in pairs.T.tolist()]
        )[inverse]
        apart = (whole >= 0) & (whole[:1] >= 0) & (self.flat(whole) != self.flat(whole[:1]))
        self.apart.update(numbers[apart.any(0)].unique().tolist())
        return (self.flat(whole[0]) | numbers << _BITS).reshape(node.shape)

    def _number(self, node: Node, parts: tuple[int, ...]) -> int:
        number = self._numbers.setdefault((node, parts), len(self.sources))
        if number == len(self.sources):
            self.sources.append((node, parts))
        return number

    def _whole_parents(self, node: Node) -> list[Node]:
        if not node.elementwise or node.output != 0:
            return []
        whole = [parent for parent in node.parents if parent.tainted and parent.shape == node.shape]
        return sorted(whole, key=lambda parent: parent not in self._moved)

    def _note_turned(self, node: Node) -> None:
        """Note of which matrix of tokens (place·image, channel) this is (place, image, channel)."""
        first, second = (*node.shape, 0, 0)[:2]
        if node.op in RESHAPING and len(node.shape) == 3 and first != self._batch == second:
            matrix = node.parents[0]
            while (before := carrier(matrix)) is not None:
                matrix = before
            if len(matrix.shape) == 2 and matrix.shape[1] == node.shape[2]:
                self._turned.add(matrix)

    def _note_moves(self, node: Node) -> None:
        """Note whether elements were stacked, reshaped or chunked since their source.

        Sums are followed a few times only: the tokens of a whole transformer are one long sum.
        """
        parent = carrier(node)
        if replayable(node):
            self._moved[node] = max(self._moved.get(parent, 0) for parent in node.parents)
        elif parent is not None:
            if parent in self._moved:
                self._moved[node] = self._moved[parent]
        else:
            sums = [self._moved.get(part, _SUMS) for part in self._whole_parents(node)]
            if sums and min(sums) < _SUMS:
                self._moved[node] = min(sums) + 1


def weight_labels(start: dict[Node, Tensor], graph: list[Node]) -> dict[Node, Tensor]:
    """Follow the elements of a probability to wherever they are only moved or rescaled.

    Parameters
    ----------
    start : dict[Node, Tensor]
        The probability, or ``a`` of a gate, and the labels of its elements; those of a gate
        are even and its complement has the odd ones.
    graph : list[Node]
        All nodes in the order of computation.

    Returns
    -------
    dict[Node, Tensor]
        Labels for each tensor that holds such elements, -1 elsewhere in it.
    """
    found = dict(start)
    first = min(node.index for node in start)

    def labels(node: Node) -> Tensor:
        missing = torch.full((1,) * len(node.shape), NOWHERE).expand(node.shape)
        return found.get(node, missing)

    for node in graph[first + 1 :]:
        if node in found or not any(parent in found for parent in node.parents):
            continue
        parent = carrier(node)
        if node.complement is not None and node.complement in found:
            of_a = found[node.complement]
            found[node] = torch.where(of_a >= 0, of_a ^ 1, of_a)
        elif replayable(node):
            found[node] = replay(node, labels)
        elif parent is not None and parent in found and not node.axes:
            found[node] = found[parent]
    return found


def _extents(shape: tuple[int, ...], batch: int, turned: bool) -> list[tuple[int, int]]:
    """Give steps and sizes in (image, channel, place…), or of a matrix (image·place, channel).

    That is what a linear layer makes of the tokens of a batch; ``turned``, the places come first.
    """
    count = math.prod(shape)
    if len(shape) == 2 and shape[0] > batch and shape[0] % batch == 0:
        rows, columns = shape[0] // batch, shape[1]
        image, place = (columns, batch * columns) if turned else (rows * columns, columns)
        return [(image, batch), (1, columns), (place, rows)]
    images, places = math.prod(shape[1:]), math.prod(shape[2:])
    return [(images, count // images), (places, images // places), (1, places)]
