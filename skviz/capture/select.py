"""Decide from the graph what is a unit: whose slices weigh which feature maps.

From a probability (or gate) to its meetings with features, from these to what lies under each of
its slices, from that to the verdict: each step is a function of what the one before returned.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from skviz.capture.gates import Heads, Mixes, find_gates, interpolations, note_head, separate_heads
from skviz.capture.graph import Graph, Node, tolerance
from skviz.capture.kernels import CONVOLUTIONS, branch_kernels
from skviz.capture.kinds import kind_of, made_by_one_of, same_logits
from skviz.capture.labels import NOWHERE, Origins, weight_labels
from skviz.capture.layout import Layout
from skviz.capture.roles import KEYS, Meetings, describe, layout_of, roles_of
from skviz.capture.tape import Frame, Place
from skviz.capture.units import Rejected, Unit

DELAY = 2  # seconds until a bar says how far it is
LAYERS = {*CONVOLUTIONS, "addmm", "mm"}  # whose channels may be the branches
_Pair = tuple[Tensor, Tensor]  # labels of weights, labels of what they weigh; broadcastable
_Sources = list[int]  # for each branch the number of what made it; see Origins
Found = tuple[Unit, tuple[str, ...]]  # and the names of the modules that made its branches


@dataclass(frozen=True)
class _Verdict:
    """What the slices of a candidate weigh, and along which axis if along one."""

    axis: int | None
    sources: _Sources
    why: str = ""  # it is degenerate
    none: str = ""  # it is no unit


def selections(graph: Graph) -> tuple[list[Found], list[Rejected]]:
    """All units in the graph, in the order of their softmax; and what is none, and why."""
    origins = Origins(graph.nodes)
    mixes = interpolations(graph.nodes)
    gates = find_gates(graph.nodes, mixes)
    found: list[Found] = []
    rejected: list[Rejected] = []
    heads: Heads = {}
    candidates = [
        node
        for node in graph.nodes
        if node.tainted and (node in gates or node.axes or node.near or node.op == "sigmoid")
    ]
    for node in tqdm(candidates, desc="looking for units", delay=DELAY, leave=False):
        gate = node in gates
        try:
            met = _meetings(node, graph.nodes, origins, mixes, gate=gate)
            verdict = None if met is None else _judge(met, origins, gate=gate)
            if met is not None and verdict is not None:
                one = _found(met, verdict, graph.nodes, origins, mixes)
                found += [one] if isinstance(one, tuple) else []
                rejected += [] if isinstance(one, tuple) else [one]
            elif met is not None and node.op == "sigmoid" and not gate:
                note_head(heads, node.stack[_shared_frames(met) - 1], met)
        except Exception as problem:
            why = f"it was not understood, because of {type(problem).__name__}: {problem}"
            rejected.append(Rejected(node.stack[-1].name, why))
        origins.forget()
    rejected += [Rejected(owner.name, INDEPENDENT) for owner in separate_heads(heads, origins)]
    return found, rejected


def _meetings(
    node: Node, graph: list[Node], origins: Origins, mixes: Mixes, *, gate: bool
) -> Meetings | None:
    """For each weight: smallest and largest source, image, channel, place it multiplies."""
    labels = torch.arange(math.prod(node.shape)).reshape(node.shape)
    if not gate:
        shape, axes, start = node.shape, node.axes, labels
    else:  # an axis of two is added at the end
        shape, axes, start = (*node.shape, 2), (len(node.shape),), 2 * labels
    size = math.prod(shape)
    low = {key: torch.full((size,), 1 << 60) for key in KEYS}
    high = {key: torch.full((size,), NOWHERE) for key in KEYS}
    weights, products = weight_labels({node: start}, graph), []
    complements = _complements(shape, axes)
    for other in graph[node.index :]:
        met = False
        for ours, theirs in _pairs(other, weights, origins, mixes, complements):
            ours, *ends = torch.broadcast_tensors(ours, *origins.ends(ours, theirs))
            both = (ours >= 0) & (ends[0] >= 0)
            if not both.any():
                continue
            met = True
            index = ours[both]
            for side, end, how in zip((low, high), ends, ("amin", "amax"), strict=True):
                for key, value in origins.decode(end[both]).items():
                    side[key].scatter_reduce_(0, index, value, how)
        if met:
            products.append(other)
    if not products:
        return None
    low, high = ({key: value.reshape(shape) for key, value in side.items()} for side in (low, high))
    return Meetings(node, shape, axes, low, high, products)


def _complements(shape: tuple[int, ...], axes: tuple[int, ...]) -> Tensor | None:
    """Of two branches an interpolation names one weight; return the label of the other one."""
    pairs = [axis for axis in axes if shape[axis] == 2]
    everything = torch.arange(math.prod(shape)).reshape(shape)
    return everything.flip(pairs[0]).flatten() if pairs else None


def _pairs(
    node: Node,
    weights: dict[Node, Tensor],
    origins: Origins,
    mixes: Mixes,
    complements: Tensor | None,
) -> Iterator[_Pair]:
    """Which weights meet which features in a product."""
    of = origins.of
    if node in mixes:
        weight, end, start = mixes[node]
        if weight in weights and complements is not None:
            a = weights[weight]
            yield a, of(end)
            yield torch.where(a >= 0, complements[a], a), of(start)
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


def _judge(met: Meetings, origins: Origins, *, gate: bool) -> _Verdict | None:
    """Decide whether this is a unit, a degenerate one, one nearly, or none."""
    if not gate and not met.axes:
        for axis in range(1, len(met.shape)):
            sources = _slices(met, axis, origins, chunks=False)
            if sources is not None:
                near = met.node.near
                none = f"they sum to about {near:.3g}, not to one" if near else INDEPENDENT
                return _Verdict(axis, sources, none=none)
        return None
    for axis in met.axes:
        sources = _slices(met, axis, origins, chunks=True)
        if sources is not None:
            return _Verdict(axis, sources)
    if not met.node.axes or not math.prod(met.shape):
        return None
    for axis in range(len(met.shape)):
        sources = None if axis in met.axes else _slices(met, axis, origins, chunks=False)
        why = "" if sources is None else _wrong_axis(met)
        if sources is not None and why:
            return _Verdict(axis, sources, why)
    return _flat(met)


def _slices(met: Meetings, axis: int, origins: Origins, *, chunks: bool) -> _Sources | None:
    """Tell what made the features under each slice, if each has its own."""
    size = met.shape[axis]
    if size < 2 or (met.high["source"] < 0).any():
        return None
    rest = [a for a in range(len(met.shape)) if a != axis]

    def span(key: str) -> list[tuple[int, int]]:
        low, high = met.low[key], met.high[key]
        if rest:
            low, high = low.amin(rest), high.amax(rest)
        return list(zip(low.tolist(), high.tolist(), strict=True))

    sources, channels = span("source"), span("channel")
    if any(low != high for low, high in sources):
        return None
    for j in range(size):
        for i in range(j):
            if sources[i] != sources[j]:
                continue
            apart = channels[i][1] < channels[j][0] or channels[j][1] < channels[i][0]
            several = all(low < high for low, high in (channels[i], channels[j]))
            layer = all(made_by_one_of(LAYERS, one) for one in origins.leaves(sources[i][0]))
            if not (chunks and apart and several and layer):
                return None
    return [low for low, _ in sources]


def _wrong_axis(met: Meetings) -> str:
    """Say what the softmax runs over if not over the branches, or '' if that is attention."""
    for axis in met.axes:
        if met.shape[axis] == 1:
            return "the softmax runs over an axis of size one: every weight is 1"
        if met.varies("image", axis):
            return "the softmax runs over the images of the batch, not over the branches"
        if met.varies("channel", axis):
            return "the softmax runs over channels, not over the branches"
    return ""


def _flat(met: Meetings) -> _Verdict | None:
    """Recognise one softmax over branches and channels, sliced into weights."""
    for axis in met.axes:
        low, high = met.low["source"], met.high["source"]
        reached = high >= 0
        numbers = torch.cat([low[reached], high[reached]]).unique().tolist()
        if len(numbers) < 2 or not met.varies("channel", axis):
            continue
        if any(bool(low.narrow(a, 0, 1).ne(low).any()) for a in range(low.dim()) if a != axis):
            continue
        why = "one softmax over branches and channels together: branches do not sum to one"
        if bool((low != high)[reached].any()):
            why = "overlapping slices of one flat softmax: branches do not sum to one"
        return _Verdict(None, numbers, why)
    return None


def _found(
    met: Meetings, verdict: _Verdict, graph: list[Node], origins: Origins, mixes: Mixes
) -> Found | Rejected:
    """Describe a unit, in one of its calls, or why it is none."""
    node = met.node
    made_by = list(map(origins.leaves, verdict.sources))
    sure = (at for at, made in enumerate(made_by) if made_by_one_of(CONVOLUTIONS, made[0]))
    roles = {} if verdict.axis is None else roles_of(met, verdict.axis, next(sure, None))
    layout = layout_of(met, roles)
    depth = _shared_frames(met)
    owner = node.stack[depth - 1]
    kernels = branch_kernels(verdict.sources, origins, owner)
    maps = kernels.spatial or any(origins.places(number) > 1 for number in verdict.sources)
    if verdict.none or not maps:
        return Rejected(owner.name, verdict.none or VECTORS)
    kind = kind_of(node, made_by, layout, owner)
    equal = _equal(met, verdict, layout, graph, origins)
    notes = [verdict.why, *equal]
    if verdict.why:
        layout = None
    elif layout is None:
        notes.append("the layout of the weights was not understood: cannot be recorded")
    channels = None
    if layout is not None and layout.channel:
        channels = layout.normalise(torch.empty(node.shape, device="meta")).shape[2]
    unit = Unit(
        name=owner.name,
        kernels=kernels.sizes,
        branches=len(made_by),
        channels=channels,
        spatial=layout is not None and bool(layout.spatial),
        calls=1,
        how=describe(met, roles),
        notes=tuple(filter(None, notes)),
        degenerate=bool(verdict.why) or SHARED in equal,
        kind=kind,
        unknown=kernels.unknown,
        axes=kernels.axes,
        interpolated=any(product in mixes for product in met.products),
        place=_place(node, owner),
        layout=layout,
    )
    return unit, _involved(node, made_by, depth)


INDEPENDENT = "each is a sigmoid of its own, and they do not sum to one"
VECTORS = "its branches are vectors, not maps"


def _place(node: Node, owner: Frame) -> Place:
    """Say where the weights are made."""
    function, stack, occurrence, python = node.call
    inner, everywhere = stack[-1], stack[0].counts
    once = everywhere[inner.name] == (everywhere[owner.name] if owner is not stack[0] else 1)
    alone = inner is owner or (once and owner.counts[inner.name] == 1)
    call = 0 if alone else inner.order[[frame is owner for frame in stack].index(True)]
    return Place(owner.name, inner.name, call, function, occurrence, python=python)


SHARED = "one head is shared by all branches: every weight is the same, whatever the images"


def _equal(
    met: Meetings, verdict: _Verdict, layout: Layout | None, graph: list[Node], origins: Origins
) -> list[str]:
    """Say if the weights were alike in branches or images, and if they have to be."""
    values, count = met.node.values, len(verdict.sources)
    if values is None:
        return []
    close = tolerance(values.dtype)
    if layout is None or verdict.why:
        ones = met.node.op == "_softmax" and bool((values == 1).all())
        return ["every weight is 1"] if ones else []
    weights = layout.normalise(values.float())
    if bool((weights - 1 / count).abs().max() < close):
        if verdict.axis is not None and same_logits(met.node, verdict.axis, graph, origins):
            return [SHARED]
        return [
            f"every weight was 1/{count} in the probe: the head is still zero, or did not respond "
            "to its images; find the units again with images that the model is made for"
        ]
    if bool((weights - weights[:1]).abs().max() < close / 100):
        return ["the weights were the same for every image of the probe"]
    return []


def _shared_frames(met: Meetings) -> int:
    """How many frames, from the outermost, hold both the weights and all their products."""
    stacks = [met.node.stack, *(product.stack for product in met.products)]
    shared = 0
    while all(len(stack) > shared and stack[shared] is stacks[0][shared] for stack in stacks):
        shared += 1
    return shared


def _involved(node: Node, made_by: list[list[Node]], depth: int) -> tuple[str, ...]:
    """Name the modules deeper than ``depth`` that made the weights and the branches."""
    while len(node.stack) <= depth and any(parent.tainted for parent in node.parents):
        node = next(parent for parent in node.parents if parent.tainted)
    nodes = [node, *(node for branch in made_by for node in branch)]
    return tuple(node.stack[-1].name for node in nodes if len(node.stack) > depth)
