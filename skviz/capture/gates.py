"""Two-branch gates: ``a`` and ``1 − a``, written as a complement or as an interpolation.

And what is nearly one: a sigmoid for each branch.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from skviz.capture.graph import Node
from skviz.capture.kernels import ancestors
from skviz.capture.labels import Origins, carrier, replayable
from skviz.capture.roles import Meetings
from skviz.capture.tape import Frame

# For each interpolation: weight, end, start.
Mixes = dict[Node, tuple[Node, Node, Node]]


def find_gates(graph: list[Node], mixes: Mixes) -> set[Node]:
    """Tensors within [0, 1] of which the model also uses the complement."""
    weights = [node.complement for node in graph if node.complement is not None]
    made = map(_made_by, [*weights, *(weight for weight, _, _ in mixes.values())])
    return {node for node in made if node.gate}


def _made_by(node: Node) -> Node:
    """Go back through moves and rescaling to the operation that made the values."""
    while replayable(node) or not node.gate:
        before = node.parents[0] if replayable(node) else carrier(node)
        if before is None:
            break
        node = before
    return node


def interpolations(graph: list[Node]) -> Mixes:
    """``start + weight·(end − start)``, as one operation or written out: weight, end, start."""
    mixes: Mixes = {}
    for node in graph:
        ways: list[tuple[Node, ...]] = []
        if node.op == "lerp" and isinstance(node.args[2], Node):
            mixes[node] = (node.args[2], node.args[1], node.args[0])
        elif node.op == "addcmul":
            ways = [(node.parents[0], *node.parents[1:])]
        elif node.op == "add" and len(node.parents) == 2:
            ways = [
                (start, *product.parents)
                for start, product in (node.parents, node.parents[::-1])
                if product.op == "mul" and len(product.parents) == 2
            ]
        else:
            continue
        for start, one, other in ways:
            for weight, change in ((one, other), (other, one)):
                if change.op == "sub" and change.parents[1:] == (start,):
                    product = node if node.op == "addcmul" else _product(node, change)
                    mixes[product] = (weight, change.parents[0], start)
    return mixes


def _product(total: Node, factor: Node) -> Node:
    return next(parent for parent in total.parents if factor in parent.parents)


Heads = dict[Frame, list[tuple[Node, set[int]]]]  # sigmoids, and the sources that each weighs


def note_head(heads: Heads, owner: Frame, met: Meetings) -> None:
    """Note a sigmoid each number of which weighs one source."""
    low, high = met.low["source"], met.high["source"]
    if bool((low == high).all()):
        heads.setdefault(owner, []).append((met.node, set(low.unique().tolist())))


def separate_heads(heads: Heads, origins: Origins) -> Iterator[Frame]:
    """Yield where sigmoids weigh several maps, each of which looks at all of these.

    That is a sigmoid for each branch, or for each channel of all branches. One that looks at its
    own map only is squeeze and excitation.
    """
    for owner, ours in heads.items():
        for some in [*zip(ours, strict=True), *combinations(ours, 2)]:
            sources = set[int]().union(*(weighed for _, weighed in some))
            made_by = {leaf for number in sources for leaf in origins.leaves(number)}
            maps = len(sources) > 1 and all(origins.places(number) > 1 for number in sources)
            if maps and all(made_by <= ancestors([node]) for node, _ in some):
                yield owner
