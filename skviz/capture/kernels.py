"""Effective kernels: from a branch's feature map back to where the branches part."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from skviz.capture.graph import Node

CONVOLUTIONS = {"convolution", "_convolution"}  # the latter in traced models
_UNKNOWN = "unknown"
_MISSES = "misses"
# Receptive field and stride per spatial axis; or why there is none.
_Field = tuple[tuple[int, ...], tuple[int, ...]] | str


def branch_kernels(branches: list[list[Node]]) -> tuple[tuple[int, ...] | None, bool]:
    """Compose convolutions and pools along each branch.

    Parameters
    ----------
    branches : list[list[Node]]
        For each branch the operations that made its feature map.

    Returns
    -------
    tuple[tuple[int, ...] | None, bool]
        Effective kernel of each branch, ``1 + Σ (dilation·(k − 1))·stride before``, largest
        over the spatial axes, or None if that is not what the branches are; and whether
        anything spatial happens in them at all.
    """
    shared = all(set(branch) == set(branches[0]) for branch in branches)
    common: set[Node] | None = None
    every: set[Node] = set()
    for branch in branches:
        above = _ancestors(branch)
        if shared:  # one convolution, chunked: the branches part before it
            above -= set(branch)
        every |= above | set(branch)
        common = above if common is None else common & above
    if not common:
        spatial = all(len(node.shape) >= 3 for branch in branches for node in branch)
        return None, spatial
    meet = max(common, key=lambda node: node.index)
    spatial = any(node.index > meet.index and _window(node) is not None for node in every)
    fields: dict[Node, _Field] = {}
    for node in sorted(every, key=lambda node: node.index):
        if node.index >= meet.index:
            fields[node] = _step(node, meet, fields)
    kernels = []
    for branch in branches:
        reached = [fields[node] for node in branch if fields.get(node, _MISSES) != _MISSES]
        if not reached or any(isinstance(found, str) for found in reached):
            return None, spatial or any(node.op.startswith("upsample") for node in every)
        kernels.append(max(max(found[0]) for found in reached if not isinstance(found, str)))
    return tuple(kernels), spatial


def _ancestors(nodes: list[Node]) -> set[Node]:
    seen: set[Node] = set()
    ahead = list(nodes)
    while ahead:
        node = ahead.pop()
        if node not in seen:
            seen.add(node)
            ahead.extend(parent for parent in node.parents if parent.tainted)
    return seen


def _window(node: Node) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Effective kernel and stride per axis of a convolution or pool."""
    if node.op in CONVOLUTIONS:
        size = node.args[1].shape[2:]
        stride, dilation, transposed = node.args[3], node.args[5], node.args[6]
        if transposed:
            return None
    elif "pool" in node.op and "adaptive" not in node.op:
        size = node.args[1]
        stride = (node.args[2] if len(node.args) > 2 else None) or size
        dilation = node.args[4] if node.op.startswith("max") and len(node.args) > 4 else [1]
    else:
        return None
    axes = max(len(size), len(node.shape) - 2)

    def spread(values: list[int]) -> list[int]:
        return list(values) * axes if len(values) == 1 else list(values)

    reach = [d * (k - 1) + 1 for k, d in zip(spread(size), spread(dilation), strict=False)]
    return tuple(reach), tuple(spread(stride))


def _step(node: Node, meet: Node, fields: dict[Node, _Field]) -> _Field:
    """Receptive field of ``node`` on ``meet``, given those of all earlier nodes."""
    if node is meet:
        axes = max(len(node.shape) - 2, 1)
        return (1,) * axes, (1,) * axes
    window = _window(node)
    if window is not None:
        before = fields.get(node.parents[0], _MISSES)
        if isinstance(before, str):
            return before
        field = tuple(
            f + (k - 1) * s for f, k, s in zip(before[0], window[0], before[1], strict=False)
        )
        return field, tuple(s * t for s, t in zip(before[1], window[1], strict=False))
    parents = [parent for parent in node.parents if parent.tainted]
    follow = node.moving or node.elementwise or node.op == "constant_pad_nd"
    if node.elementwise:  # a gate broadcast over the map does not widen its view
        parents = [parent for parent in parents if parent.shape == node.shape] or parents
    found = [fields.get(parent, _MISSES) for parent in parents]
    reached = [each for each in found if each != _MISSES]
    if not reached:
        return _MISSES
    if not follow or any(isinstance(each, str) for each in reached):
        return _UNKNOWN
    return max((each for each in reached if not isinstance(each, str)), key=lambda f: max(f[0]))
