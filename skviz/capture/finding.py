"""``find_units``: probe a model once and report its Selective-Kernel units."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from skviz.capture.kinds import KINDS, USUAL
from skviz.capture.probe import probe
from skviz.capture.select import Found, selections
from skviz.capture.tape import Place
from skviz.capture.units import Unit, Units
from skviz.errors import UnitError

if TYPE_CHECKING:
    from collections.abc import Iterable


def find_units(
    model: nn.Module,
    *example_args: Any,
    include: str | Iterable[str] | None = None,
    exclude: str | Iterable[str] | None = None,
    kind: str | Iterable[str] | None = None,
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
    kind : str or iterable of str, optional
        Kinds of selection to look for: ``"softmax"``, ``"split attention"``, ``"gate"`` and
        ``"per pixel"`` by default; gates that keep a ``"state"`` or the untouched input, and
        ``"mixture"`` of experts, only if asked for.

    Returns
    -------
    Units
        In forward order; may be empty. Degenerate units are among them and say so.

    Raises
    ------
    UnitError
        If the model cannot be run on the example, or there is no such kind.

    Notes
    -----
    Not seen: a softmax inside a fused kernel (``scaled_dot_product_attention``), weights
    that are separate tensors with no common softmax other than ``a`` and ``1 - a``, branches
    that this example does not reach, and models without Python modules (exported programs).
    A gate's branch 0 is the one that ``a`` multiplies. Kernels are relative to the last tensor
    that all branches share, so a branch computed from another branch counts from there.
    """
    kinds = USUAL if kind is None else _patterns(kind)
    unheard = [one for one in kinds if one not in KINDS]
    if unheard:
        raise UnitError(f"no kind of unit is called {unheard[0]!r}; use {', '.join(KINDS)}")
    found = selections(probe(model, example_args, example_kwargs))
    named = _named([selection for selection in found if selection.kind in kinds])
    keep, drop = _patterns(include), _patterns(exclude)
    return Units(
        unit
        for unit in named
        if (include is None or any(fnmatchcase(unit.name, p) for p in keep))
        and not any(fnmatchcase(unit.name, p) for p in drop)
    )


_known: WeakKeyDictionary[nn.Module, tuple[tuple[int, ...], Units]] = WeakKeyDictionary()


def units_of(model: nn.Module, *args: Any, **kwargs: Any) -> Units:
    """Units of a model as `find_units` finds them, remembered while it keeps its modules.

    Parameters
    ----------
    model
        Any model.
    *args, **kwargs
        What to call it with, if its units are not known yet.

    Raises
    ------
    UnitError
        If it has none.
    """
    modules = tuple(map(id, model.modules()))
    known = _known.get(model)
    if known is None or known[0] != modules:
        with torch.inference_mode(mode=False):
            known = _known[model] = (modules, find_units(model, *args, **kwargs))
    if not known[1]:
        raise UnitError(
            "found no Selective-Kernel unit in the model: no probability over branches that "
            "depends on the input and weighs different feature maps; see find_units, which also "
            "finds other kinds of selection if asked"
        )
    return known[1]


def forget_units(model: nn.Module) -> None:
    """Look for the units of this model again, next time."""
    _known.pop(model, None)


def _patterns(given: str | Iterable[str] | None) -> list[str]:
    """Return one or several as a list."""
    return [given] if isinstance(given, str) else list(given or ())


def _named(found: list[Found]) -> list[Unit]:
    """Give each selection its name; the same place in several calls of a module is one unit."""
    groups: dict[Place, list[Found]] = {}
    for selection in found:
        groups.setdefault(_place(selection), []).append(selection)
    units = [_unit(place, group) for place, group in groups.items()]
    for attempt in range(2):  # alike names: tell them apart by their parts, then by number
        names = [unit.name for unit in units]
        for number, group in enumerate(groups.values()):
            name = names[number]
            if names.count(name) > 1:
                other = f"{name}[{names[:number].count(name)}]" if attempt else _common(group[0])
                units[number] = replace(units[number], name=other)
    return units


def _place(found: Found) -> Place:
    node = found.node
    function, stack, occurrence = node.call or (node.func, node.stack, node.occurrence)
    python = node.call is not None or node.returned
    if node.returned and not node.op.endswith("_"):
        function, stack, occurrence = None, node.stack, 0
    owner, inner, everywhere = found.frame, stack[-1], stack[0].counts
    once = everywhere[inner.name] == (everywhere[owner.name] if owner is not stack[0] else 1)
    alone = inner is owner or (once and owner.counts[inner.name] == 1)
    call = 0 if alone else inner.order[[frame is owner for frame in stack].index(True)]
    return Place(owner.name, inner.name, call, function, occurrence, python=python)


def _unit(place: Place, group: list[Found]) -> Unit:
    first = group[0]
    layout = first.layout
    channels, spatial = None, False
    if layout is not None and first.node.values is not None:
        shape = layout.normalise(first.node.values).shape
        channels = shape[2] if layout.channel else None
        spatial = bool(layout.spatial)
    return Unit(
        name=place.module,
        kernels=first.kernels.sizes,
        branches=first.branches,
        channels=channels,
        spatial=spatial,
        calls=len(group),
        how=first.how,
        notes=first.notes,
        degenerate=first.degenerate,
        kind=first.kind,
        unknown=first.kernels.unknown,
        interpolated=first.interpolated,
        place=place,
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
