"""Decide from the graph what is a unit: whose slices weigh which feature maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from skviz.capture.gates import Mixes, find_gates, interpolations
from skviz.capture.graph import Frame, Graph, Node, tolerance
from skviz.capture.kernels import CONVOLUTIONS, branch_kernels
from skviz.capture.labels import NOWHERE, Origins, weight_labels
from skviz.capture.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

_KEYS = ("source", "image", "channel", "place")
_Pair = tuple["Tensor", "Tensor"]  # labels of weights, labels of what they weigh; broadcastable


@dataclass(frozen=True)
class Found:
    """One selection in one forward pass: ``node`` holds the weights (of a gate: its ``a``)."""

    node: Node
    frame: Frame
    kernels: tuple[int, ...] | None
    branches: int
    layout: Layout | None
    how: str
    notes: tuple[str, ...]
    degenerate: bool
    interpolated: bool  # the model uses one weight of two and takes the other for granted
    involved: tuple[str, ...]  # names of the modules that made the branches


def selections(graph: Graph) -> list[Found]:
    """All units in the graph, in the order of their softmax."""
    origins = Origins(graph.nodes)
    mixes = interpolations(graph.nodes)
    gates = find_gates(graph.nodes, mixes)
    found = []
    for node in graph.nodes:
        if node.tainted and (node.axes or node in gates):
            selection = _Candidate(node, graph, origins, mixes).judge()
            origins.forget()
            if selection is not None:
                found.append(selection)
    return found


def _inner_maker(node: Node, depth: int) -> Node:
    """Go back from the weights to the last operation inside a module deeper than ``depth``."""
    while len(node.stack) <= depth and any(parent.tainted for parent in node.parents):
        node = next(parent for parent in node.parents if parent.tainted)
    return node


class _Candidate:
    """A probability (or gate) and everything its elements multiply."""

    def __init__(
        self,
        node: Node,
        graph: Graph,
        origins: Origins,
        mixes: Mixes,
    ) -> None:
        self.node, self.graph, self.origins, self.mixes = node, graph.nodes, origins, mixes
        size = torch.Size(node.shape).numel()
        labels = torch.arange(size).reshape(node.shape)
        if node.axes:
            self.shape, self.axes = node.shape, node.axes
            self.start = {node: labels}
        else:  # a gate: an axis of two is added at the end
            self.shape, self.axes = (*node.shape, 2), (len(node.shape),)
            self.start = {node: 2 * labels}
        self.products: list[Node] = []
        # Of two branches an interpolation names one weight; the label of the other one.
        pairs = [axis for axis in self.axes if self.shape[axis] == 2]
        everything = torch.arange(torch.Size(self.shape).numel()).reshape(self.shape)
        self.complements = everything.flip(pairs[0]).flatten() if pairs else None

    def judge(self) -> Found | None:
        """Decide whether this is a unit, a degenerate one, or none."""
        low, high = self._meetings()
        if low is None:
            return None
        self.low, self.high = low, high
        for axis in self.axes:
            branches = self._slices(axis, chunks=True)
            if branches is not None:
                return self._describe(axis, branches, ())
        if not self.node.axes or not self.start[self.node].numel():
            return None
        for axis in range(len(self.shape)):
            branches = None if axis in self.axes else self._slices(axis, chunks=False)
            why = self._wrong_axis() if branches is not None else ""
            if branches is not None and why:
                return self._describe(axis, branches, (why,), degenerate=True)
        return self._flat()

    def _meetings(self) -> tuple[dict[str, Tensor] | None, dict[str, Tensor]]:
        """For each weight: smallest and largest source, image, channel, place it multiplies."""
        size = torch.Size(self.shape).numel()
        low = {key: torch.full((size,), 1 << 60) for key in _KEYS}
        high = {key: torch.full((size,), NOWHERE) for key in _KEYS}
        weights = weight_labels(self.start, self.graph)
        for node in self.graph[self.node.index :]:
            met = False
            for ours, theirs in self._pairs(node, weights):
                ours, theirs = torch.broadcast_tensors(ours, theirs)
                both = (ours >= 0) & (theirs >= 0)
                if not both.any():
                    continue
                met = True
                index = ours[both]
                for key, value in self.origins.decode(theirs[both]).items():
                    low[key].scatter_reduce_(0, index, value, "amin")
                    high[key].scatter_reduce_(0, index, value, "amax")
            if met:
                self.products.append(node)
        if not self.products:
            return None, high
        shaped = [
            {key: value.reshape(self.shape) for key, value in side.items()} for side in (low, high)
        ]
        return shaped[0], shaped[1]

    def _pairs(self, node: Node, weights: dict[Node, Tensor]) -> Iterator[_Pair]:
        """Which weights meet which features in a product."""
        of = self.origins.of
        if node in self.mixes:
            weight, end, start = self.mixes[node]
            if weight in weights and self.complements is not None:
                a = weights[weight]
                yield a, of(end)
                yield torch.where(a >= 0, self.complements[a], a), of(start)
            return
        factors = node.parents[-2:]
        if len(factors) != 2 or not any(factor in weights for factor in factors):
            return
        if all(factor in weights for factor in factors):
            return
        if node.op in {"mul", "addcmul"}:
            one, other = factors
            yield (weights[one], of(other)) if one in weights else (weights[other], of(one))
        elif node.op in {"bmm", "mm", "baddbmm", "addmm"}:  # (…, i, k) @ (…, k, j)
            left, right = factors
            # Selection weighs each feature once; attention mixes them anew for every query.
            if left in weights and left.shape[-2] == 1:
                yield weights[left].transpose(-1, -2), of(right)
            elif right in weights and right.shape[-1] == 1:
                yield weights[right], of(left).transpose(-1, -2)

    def _slices(self, axis: int, *, chunks: bool) -> list[list[Node]] | None:
        """Tell what made the features under each slice, if each has its own."""
        size = self.shape[axis]
        if size < 2 or (self.high["source"] < 0).any():
            return None
        rest = [a for a in range(len(self.shape)) if a != axis]

        def span(key: str) -> list[tuple[int, int]]:
            low, high = self.low[key], self.high[key]
            if rest:
                low, high = low.amin(rest), high.amax(rest)
            return list(zip(low.tolist(), high.tolist(), strict=True))

        sources, channels = span("source"), span("channel")
        if any(low != high for low, high in sources):
            return None
        made_by = [self.origins.leaves(low) for low, _ in sources]
        for j in range(size):
            for i in range(j):
                if sources[i] != sources[j]:
                    continue
                apart = channels[i][1] < channels[j][0] or channels[j][1] < channels[i][0]
                several = all(low < high for low, high in (channels[i], channels[j]))
                convolved = all(node.op in CONVOLUTIONS for node in made_by[i])
                if not (chunks and apart and several and convolved):
                    return None
        return made_by

    def _varies(self, key: str, axis: int) -> bool:
        values = self.low[key]
        return bool((values != values.narrow(axis, 0, 1)).any())

    def _wrong_axis(self) -> str:
        """Say what the softmax runs over if not over the branches, or '' if that is attention."""
        for axis in self.axes:
            if self.shape[axis] == 1:
                return "the softmax runs over an axis of size one: every weight is 1"
            if self._varies("image", axis):
                return "the softmax runs over the images of the batch, not over the branches"
            if self._varies("channel", axis):
                return "the softmax runs over channels, not over the branches"
        return ""

    def _flat(self) -> Found | None:
        """Recognise one softmax over branches and channels, sliced into weights."""
        for axis in self.axes:
            low, high = self.low["source"], self.high["source"]
            met = high >= 0
            numbers = torch.cat([low[met], high[met]]).unique().tolist()
            if len(numbers) < 2 or not self._varies("channel", axis):
                continue
            if any(bool(low.narrow(a, 0, 1).ne(low).any()) for a in range(low.dim()) if a != axis):
                continue
            why = "one softmax over branches and channels together: branches do not sum to one"
            if bool((low != high)[met].any()):
                why = "overlapping slices of one flat softmax: branches do not sum to one"
            made_by = [self.origins.leaves(number) for number in numbers]
            return self._describe(None, made_by, (why,), degenerate=True)
        return None

    def _describe(
        self,
        axis: int | None,
        made_by: list[list[Node]],
        notes: tuple[str, ...],
        *,
        degenerate: bool = False,
    ) -> Found | None:
        kernels, spatial = branch_kernels(made_by)
        if not spatial:
            return None
        layout, roles = (None, {}) if axis is None else self._layout(axis)
        if degenerate:
            layout = None
        elif layout is None:
            notes = (*notes, "the layout of the weights was not understood: cannot be recorded")
        values = self.node.values
        if layout is not None and values is not None:
            weights = layout.normalise(values.float())
            close = tolerance(values.dtype)
            if bool((weights - 1 / len(made_by)).abs().max() < close):
                notes = (
                    *notes,
                    f"every weight is 1/{len(made_by)}: one head shared by all "
                    "branches, or one that is still zero",
                )
                degenerate = True
            elif bool((weights - weights[:1]).abs().max() < close / 100):
                notes = (*notes, "the weights were the same for every image of the probe")
        elif values is not None and self.node.op == "_softmax" and bool((values == 1).all()):
            notes = (*notes, "every weight is 1")
        frames = [self.node.stack, *(product.stack for product in self.products)]
        shared = 0
        while all(len(stack) > shared and stack[shared] is frames[0][shared] for stack in frames):
            shared += 1
        outside = frames[0][:shared]
        head = _inner_maker(self.node, len(outside))
        names = tuple(
            node.stack[-1].name
            for node in [head, *(node for branch in made_by for node in branch)]
            if len(node.stack) > len(outside)
        )
        return Found(
            node=self.node,
            frame=self.node.stack[shared - 1],
            kernels=kernels,
            branches=len(made_by),
            layout=layout,
            how=self._how(roles),
            notes=notes,
            degenerate=degenerate,
            interpolated=any(product in self.mixes for product in self.products),
            involved=names,
        )

    def _layout(self, branch: int) -> tuple[Layout | None, dict[int, str]]:
        """Roles of the axes, from what changes along each."""
        roles = {branch: "branch"}
        split = None
        for axis, size in enumerate(self.shape):
            if axis == branch or size == 1:
                continue
            varying = [key for key in _KEYS[1:] if self._varies(key, axis)]
            roles[axis] = varying[0] if len(varying) == 1 else "?"
            if varying[:2] == ["image", "channel"]:
                images = self.low["image"].movedim(axis, 0).reshape(size, -1)[:, 0]
                count = int((images == images[0]).sum())
                if size % count == 0 and bool((images.reshape(-1, count).diff(dim=1) == 0).all()):
                    split, roles[axis] = (axis, count), "image·channel"
        axes = {role: [a for a, r in sorted(roles.items()) if r == role] for role in roles.values()}
        if "?" in axes or len(axes.get("image", [])) + (split is not None) > 1:
            return None, roles

        def place(axis: int) -> int:
            return axis + (split is not None and axis > split[0])

        channel = [place(axis) for axis in axes.get("channel", [])]
        if split is not None:
            image: int | None = split[0]
            channel = sorted([*channel, split[0] + 1])
        else:
            image = axes["image"][0] if "image" in axes else None
        gate = not self.node.axes
        spatial = tuple(place(axis) for axis in axes.get("place", []))
        layout = Layout(image, None if gate else place(branch), tuple(channel), spatial, split)
        return layout, roles

    def _how(self, roles: dict[int, str]) -> str:
        node = self.node
        named = [
            "space" if roles.get(a) == "place" else roles.get(a, "1" if s == 1 else "?")
            for a, s in enumerate(self.shape)
        ]
        made = {"_softmax": "softmax", "exp": "exp of log-softmax", "div": "quotient"}.get(
            node.op, node.op
        )
        by = "/".join(dict.fromkeys(product.op for product in self.products))
        if not node.axes:
            return f"gate {made}(…), a and 1 − a, as ({', '.join(named[:-1])}); select by {by}"
        over = ", ".join(map(str, self.axes))
        return f"{made} over axis {over} of ({', '.join(named)}); select by {by}"
