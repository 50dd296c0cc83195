"""``find_units``: probe a model once and report its Selective-Kernel units."""

from __future__ import annotations

import html
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, overload

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from skviz.errors import UnitError
from skviz.units.eager import eager
from skviz.units.graph import Calls, Graph
from skviz.units.layout import Layout, Site
from skviz.units.select import Found, selections

if TYPE_CHECKING:
    from collections.abc import Iterable

_probing = threading.Lock()  # a probe switches the model to evaluation mode for a moment
IMAGES = 3  # a batch of one hides a softmax over the batch


@dataclass(frozen=True)
class Unit:
    """One Selective-Kernel unit.

    Attributes
    ----------
    name : str
        Qualified name of the innermost module that holds both the softmax and the selection.
    kernels : tuple[int, ...] or None
        Effective kernel of each branch, in the order of the softmax axis; None if unknown.
    branches : int
        M, the number of branches.
    channels : int or None
        Weights per branch and position, None if one weight serves all channels.
    spatial : bool
        Whether the weights differ from place to place.
    calls : int
        How often the unit runs in one forward pass.
    how : str
        How the weights are computed, laid out and used.
    notes : tuple[str, ...]
        Anything suspicious.
    degenerate : bool
        The form of a unit without its function; see the notes.
    site, layout
        What :mod:`skviz.record` needs to find the same tensor again.
    """

    name: str
    kernels: tuple[int, ...] | None
    branches: int
    channels: int | None
    spatial: bool
    calls: int
    how: str
    notes: tuple[str, ...] = ()
    degenerate: bool = False
    site: Site | None = field(default=None, repr=False, compare=False)
    layout: Layout | None = field(default=None, repr=False)

    @property
    def recordable(self) -> bool:
        """Whether :func:`skviz.record` can read its weights as a probability over branches."""
        return self.layout is not None


class Units(Sequence[Unit]):
    """The units of a model in forward order; printed as a table, indexed by number or name."""

    _columns = ("unit", "M", "kernels", "channels", "spatial", "calls", "how")

    def __init__(self, units: Iterable[Unit]) -> None:
        self._units = tuple(units)

    @overload
    def __getitem__(self, key: int | str) -> Unit: ...
    @overload
    def __getitem__(self, key: slice) -> Units: ...
    def __getitem__(self, key: int | str | slice) -> Unit | Units:
        if isinstance(key, slice):
            return Units(self._units[key])
        if isinstance(key, str):
            for unit in self._units:
                if unit.name == key:
                    return unit
            raise UnitError(
                f"no unit is called {key!r}; there are {', '.join(self.names) or 'none'}"
            )
        return self._units[key]

    def __len__(self) -> int:
        return len(self._units)

    def __iter__(self) -> Iterator[Unit]:
        return iter(self._units)

    def __hash__(self) -> int:
        return hash(self._units)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Units) and self._units == other._units

    @property
    def names(self) -> tuple[str, ...]:
        """Qualified names, in forward order."""
        return tuple(unit.name for unit in self._units)

    def _rows(self) -> list[tuple[str, ...]]:
        return [
            (
                unit.name or "(the model itself)",
                str(unit.branches),
                "unknown" if unit.kernels is None else ", ".join(map(str, unit.kernels)),
                "shared" if unit.channels is None else str(unit.channels),
                "yes" if unit.spatial else "no",
                str(unit.calls),
                unit.how,
            )
            for unit in self._units
        ]

    def __str__(self) -> str:
        if not self._units:
            return "no Selective-Kernel units found"
        rows = [self._columns, *self._rows()]
        widths = [max(len(row[column]) for row in rows) for column in range(len(self._columns))]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        table = [lines[0]]
        for unit, line in zip(self._units, lines[1:], strict=True):
            mark = "degenerate" if unit.degenerate else "note"
            table += [line, *(f"    {mark}: {note}" for note in unit.notes)]
        return "\n".join(table)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        def row(cells: Iterable[str], tag: str) -> str:
            return "<tr>" + "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in cells) + "</tr>"

        columns = (*self._columns, "notes")
        rows = [
            row((*cells, "; ".join(unit.notes)), "td")
            for cells, unit in zip(self._rows(), self._units, strict=True)
        ]
        return f"<table>{row(columns, 'th')}{''.join(rows)}</table>"


def find_units(
    model: nn.Module,
    *example_args: Any,
    include: str | Iterable[str] | None = None,
    exclude: str | Iterable[str] | None = None,
    **example_kwargs: Any,
) -> Units:
    """Find the Selective-Kernel units of a model from what it computes on an example.

    The model runs once, in evaluation mode and without gradients, on three images made from
    the example. A unit is a probability over M ≥ 2 branches that depends on the input, each
    slice of which multiplies a different feature map. Names of classes and attributes play no
    part. The model comes back as it was.

    Parameters
    ----------
    model : nn.Module
        Any model.
    *example_args, **example_kwargs
        What to call it with: tensors, or lists and dicts of them. Tensors that share the first
        one's leading size are taken to be batches.
    include, exclude : str or iterable of str, optional
        Shell patterns on unit names to keep or drop (``"layer1.*"``).

    Returns
    -------
    Units
        In forward order; may be empty. Degenerate units are among them and say so.

    Raises
    ------
    UnitError
        If the model cannot be run on the example.

    Notes
    -----
    Not seen: a softmax inside a fused kernel (``scaled_dot_product_attention``), weights
    that are separate tensors with no common softmax other than ``a`` and ``1 - a``, branches
    that this example does not reach, and models without Python modules (exported programs).
    A gate's branch 0 is the one that ``a`` multiplies. Kernels are relative to the last tensor
    that all branches share, so a branch computed from another branch counts from there.
    """
    graph = _probe(model, example_args, example_kwargs)
    named = _named(selections(graph))
    keep, drop = _patterns(include), _patterns(exclude)
    return Units(
        unit
        for unit in named
        if (include is None or any(fnmatchcase(unit.name, p) for p in keep))
        and not any(fnmatchcase(unit.name, p) for p in drop)
    )


def _patterns(given: str | Iterable[str] | None) -> list[str]:
    return [given] if isinstance(given, str) else list(given or ())


def _probe(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Graph:
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    if not tensors:
        raise UnitError(
            "find_units needs an example input to run the model on, but got no tensor; "
            "call it as find_units(model, torch.rand(3, 3, 224, 224))"
        )
    try:
        return _run(model, *_three_images(args, kwargs, tensors[0]))
    except Exception as problem:
        try:  # some models accept nothing but the batch they were made for
            return _run(model, args, kwargs)
        except Exception:
            raise UnitError(
                f"the model could not be run on the example in evaluation mode: "
                f"{type(problem).__name__}: {problem}; pass the arguments that its forward expects"
            ) from problem


def _three_images(args: Any, kwargs: Any, first: Tensor) -> tuple[Any, Any]:
    """Make batches of three differing images out of whatever batch the example is."""
    batch = first.shape[0] if first.dim() else 0
    generator = torch.Generator().manual_seed(0)

    def three(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor) or not leaf.dim() or leaf.shape[0] != batch or not batch:
            return leaf
        leaf = leaf.detach()
        chosen = leaf[torch.arange(IMAGES) % batch]
        if not leaf.is_floating_point():
            return chosen
        same = [bool((chosen[i] == chosen[j]).all()) for j in range(IMAGES) for i in range(j)]
        if any(same):
            noise = torch.randn(chosen.shape, generator=generator).to(chosen)
            chosen = chosen + noise * (chosen.std() if chosen.std() > 0 else 1)
        if leaf.dim() == 4 and leaf.is_contiguous(memory_format=torch.channels_last):
            chosen = chosen.contiguous(memory_format=torch.channels_last)
        return chosen

    made: tuple[Any, Any] = tree_map(three, (args, kwargs))
    return made


def _run(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Graph:
    graph = Graph()
    with _probing, _as_it_was(model), ExitStack() as stack:
        for handle in graph.hooks(model):
            stack.callback(handle.remove)
        graph.add_inputs((args, kwargs))
        with graph, Calls(graph):
            model(*args, **kwargs)
    return graph


@contextmanager
def _as_it_was(model: nn.Module) -> Iterator[None]:
    """Switch to evaluation, without gradients or compilation; put everything back afterwards."""
    training = [(module, module.training) for module in model.modules()]
    buffers = [(buffer, buffer._version, buffer.detach().clone()) for buffer in model.buffers()]
    devices = {p.device for p in model.parameters() if p.device.type == "cuda"}
    try:
        with (
            torch.random.fork_rng(devices=sorted(d.index or 0 for d in devices)),
            eager(),
            torch.no_grad(),
        ):
            model.eval()
            yield
    finally:
        for module, mode in training:
            module.training = mode
        with torch.no_grad():
            for buffer, version, copy in buffers:
                if buffer._version != version:
                    buffer.copy_(copy)


def _named(found: list[Found]) -> list[Unit]:
    """Give each selection its name; the same site in several calls of a module is one unit."""
    groups: dict[Site, list[Found]] = {}
    for selection in found:
        groups.setdefault(_site(selection), []).append(selection)
    units = [_unit(site, group) for site, group in groups.items()]
    for attempt in range(2):  # alike names: tell them apart by their parts, then by number
        names = [unit.name for unit in units]
        for number, group in enumerate(groups.values()):
            name = names[number]
            if names.count(name) > 1:
                other = f"{name}[{names[:number].count(name)}]" if attempt else _common(group[0])
                units[number] = replace(units[number], name=other)
    return units


def _site(found: Found) -> Site:
    node = found.node
    function, stack, order = node.call or (node.func, node.stack, node.order)
    occurrence = order[[frame is found.frame for frame in stack].index(True)]
    return Site(found.frame.name, function, occurrence, python=node.call is not None)


def _unit(site: Site, group: list[Found]) -> Unit:
    first = group[0]
    layout = first.layout
    channels, spatial = None, False
    if layout is not None and first.node.values is not None:
        shape = layout.normalise(first.node.values).shape
        channels = shape[2] if layout.channel else None
        spatial = bool(layout.spatial)
    return Unit(
        name=site.module,
        kernels=first.kernels,
        branches=first.branches,
        channels=channels,
        spatial=spatial,
        calls=len(group),
        how=first.how,
        notes=first.notes,
        degenerate=first.degenerate,
        site=site,
        layout=layout,
    )


def _common(found: Found) -> str:
    """Longest dotted name shared by the modules that made the branches."""
    paths = [name.split(".") for name in found.involved]
    shared = []
    for parts in zip(*paths, strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return ".".join(shared) or found.frame.name
