"""What kind of selection a unit makes, and whether its branches can differ at all."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._pytree import tree_map

from skviz.capture.graph import Node
from skviz.capture.kernels import CONVOLUTIONS, ancestors
from skviz.capture.labels import Origins, carrier
from skviz.capture.layout import Layout
from skviz.capture.tape import Frame

SOFTMAX, SPLIT, GATE, PIXEL = "softmax", "split attention", "gate", "per pixel"
STATE, MIXTURE = "state", "mixture"
KINDS = (SOFTMAX, SPLIT, GATE, PIXEL, STATE, MIXTURE)
USUAL = (SOFTMAX, SPLIT, GATE, PIXEL)  # the others are found only if asked for
ONLY_ASKED_FOR = {
    STATE: "one branch is a previous state, or what came in, untouched",
    MIXTURE: "the weights look at what goes into the branches, not at what is in them",
}


def kind_of(node: Node, made_by: list[list[Node]], layout: Layout | None, owner: Frame) -> str:
    """Tell kinds of selection apart by what the branches are and what their weights look at.

    Parameters
    ----------
    node
        The weights.
    made_by
        For each branch the operations that made it.
    layout
        Of the weights, if known.
    owner
        The call of the module that makes the weights and uses them.
    """
    if not node.axes and _keeps_state(node, made_by, owner):
        return STATE
    spatial = layout is not None and bool(layout.spatial)
    if not node.axes:
        return PIXEL if spatial else GATE
    # A unit weighs its branches by what is in them, a router by what goes into them.
    above = [ancestors(branch) for branch in made_by]
    own = set[Node].union(*above) - set[Node].intersection(*above)
    same = all(set(branch) == set(made_by[0]) for branch in made_by)
    own = set(made_by[0]) if same else own
    kind = PIXEL if spatial else SPLIT if same else SOFTMAX
    told = kind != SOFTMAX and any(made_by_one_of(CONVOLUTIONS, one) for one in own)
    return kind if told or own & ancestors([node]) else MIXTURE


def made_by_one_of(operations: set[str], node: Node) -> bool:
    """Whether one of these made the values of a node, perhaps activated since."""
    while (before := carrier(node)) is not None:
        node = before
    return node.op in operations


def _keeps_state(gate: Node, made_by: list[list[Node]], owner: Frame) -> bool:
    """Whether one of two branches is what came in: the previous state, or the input itself."""
    outside = [all(owner not in node.stack for node in branch) for branch in made_by]
    if sum(outside) == 1:
        return True
    above = [ancestors(branch) for branch in made_by]
    looked_at = ancestors([gate])
    return any(
        above[other].issuperset(made_by[one]) and looked_at.isdisjoint(made_by[other])
        for one, other in ((0, 1), (1, 0))
    )


def same_logits(node: Node, axis: int, graph: list[Node], origins: Origins) -> bool:
    """Whether the weights of all branches are computed from the same numbers."""
    logits = node.parents[0] if node.parents else node
    while logits.op == "_log_softmax":
        logits = logits.parents[0]
    if logits.shape != node.shape:
        return False
    labels, alike = origins.of(logits), _alike(graph)
    made_by = map(origins.leaves, range(len(origins.sources)))
    numbers = [alike[nodes[0]] if len(nodes) == 1 else -at for at, nodes in enumerate(made_by, 1)]
    same = torch.tensor(numbers)[origins.decode(labels)["source"]]
    places = origins.flat(labels)
    return bool(
        (labels >= 0).all()
        and (same == same.narrow(axis, 0, 1)).all()
        and (places == places.narrow(axis, 0, 1)).all()
    )


def _alike(graph: list[Node]) -> dict[Node, int]:
    """Give nodes that compute the same from the same one number."""
    numbers: dict[Node, int] = {}
    first: dict[Any, int] = {}
    for node in graph:
        if node.func is not None:
            given = tree_map(
                lambda one: ("node", numbers[one]) if isinstance(one, Node) else one,
                (node.args, node.kwargs),
            )
            key = repr((node.func, node.output, given))
            numbers[node] = first.setdefault(key, node.index)
        else:
            numbers[node] = node.index
    return numbers
