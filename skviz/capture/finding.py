"""``find_units``: probe a model once and report its Selective-Kernel units."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from skviz.capture.kinds import KINDS, ONLY_ASKED_FOR, USUAL
from skviz.capture.probe import probe
from skviz.capture.select import Found, selections
from skviz.capture.tape import Place
from skviz.capture.units import Rejected, Unit, Units
from skviz.errors import UnitError, entrance


@entrance
def find_units(
    model: nn.Module,
    *example_args: Any,
    include: str | Iterable[str] | None = None,
    exclude: str | Iterable[str] | None = None,
    kind: str | Iterable[str] | None = None,
    **example_kwargs: Any,
) -> Units:
    """Find the Selective-Kernel units of a model from what it computes on an example.

    The model runs once, in evaluation mode and without gradients, on two images made from
    the example. A unit is a probability over M ≥ 2 branches that depends on the input, each
    slice of which multiplies a different feature map. Names of classes and attributes play no
    part. The model comes back as it was. What is found is remembered: `skviz.record`, `skviz.sweep`
    and all others do not look again.

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
        In forward order; may be empty. Degenerate units are among them and say so. ``rejected``
        lists what looked like a selection and is none, and why.

    Raises
    ------
    UnitError
        If the model cannot be run on the example, or there is no such kind.

    Notes
    -----
    Not seen are, among others, weights that are separate tensors with no common softmax other
    than ``a`` and ``1 - a``, and branches that this example does not reach; docs/discovery.md
    lists all. A gate's branch 0 is the one that ``a`` multiplies. Kernels are relative to the last
    tensor that all branches share and that is no branch made inside the unit's module.

    Examples
    --------
    >>> import skviz, torch
    >>> units = skviz.find_units(skviz.load("objects"), torch.rand(2, 3, 96, 96))
    >>> len(units), units[0].name, units[0].kernels
    (6, 'stage1.0.sk', (3, 5))
    """
    kinds = USUAL if kind is None else _patterns(kind)
    unheard = [one for one in kinds if one not in KINDS]
    if unheard:
        raise UnitError(f"no kind of unit is called {unheard[0]!r}; use {', '.join(KINDS)}")
    found, rejected = selections(probe(model, example_args, example_kwargs))
    named = _named([one for one in found if one[0].kind in kinds])
    keep, drop = _patterns(include), _patterns(exclude)

    def chosen(one: Unit | Rejected) -> bool:
        wanted = include is None or any(fnmatchcase(one.name, p) for p in keep)
        return wanted and not any(fnmatchcase(one.name, p) for p in drop)

    rejected += [
        Rejected(unit.name, f"{ONLY_ASKED_FOR.get(unit.kind, KIND)}; see kind={unit.kind!r}")
        for unit, _ in found
        if unit.kind not in kinds
    ]
    units = Units(filter(chosen, named))
    units.rejected = tuple(dict.fromkeys(filter(chosen, rejected)))
    if kind is None and include is None and exclude is None:
        _known[model] = tuple(map(id, model.modules())), units
    return units


KIND = "its kind was not asked for"
SEEN = 5  # rejected candidates that a refusal names

_known: WeakKeyDictionary[nn.Module, tuple[tuple[int, ...], Units]] = WeakKeyDictionary()


def units_of(model: nn.Module, *args: Any, **kwargs: Any) -> Units:
    """Units of a model as `find_units` last found them, remembered while it keeps its modules.

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
            known = modules, find_units(model, *args, **kwargs)
    if not known[1]:
        seen = "".join(f"\n    {one}" for one in known[1].rejected[:SEEN])
        raise UnitError(
            "found no Selective-Kernel unit in the model: no probability over branches that "
            "depends on the input and weighs different feature maps was recognised; see find_units"
            + (f". What looks like one:{seen}" if seen else "")
        )
    return known[1]


def forget_units(model: nn.Module) -> None:
    """Look for the units of this model again, next time."""
    _known.pop(model, None)


def _patterns(given: str | Iterable[str] | None) -> list[str]:
    """Return one or several as a list."""
    return [given] if isinstance(given, str) else list(given or ())


def _named(found: list[Found]) -> list[Unit]:
    """Give each unit its name; the same place in several calls of a module is one unit."""
    groups: dict[Place | None, list[Found]] = {}
    for unit, made_by in found:
        groups.setdefault(unit.place, []).append((unit, made_by))
    first = [(replace(group[0][0], calls=len(group)), group[0][1]) for group in groups.values()]
    units = [unit for unit, _ in first]
    for rename in (_common, _numbered):  # alike names: tell them apart by their parts, then so
        names = [unit.name for unit in units]
        for number, (_, made_by) in enumerate(first):
            if names.count(names[number]) > 1:
                units[number] = replace(units[number], name=rename(names, number, made_by))
    return units


def _common(names: list[str], number: int, made_by: tuple[str, ...]) -> str:
    """Longest dotted name shared by the modules that made the branches."""
    shared: list[str] = []
    for parts in zip(*(name.split(".") for name in made_by), strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return ".".join(shared) or names[number]


def _numbered(names: list[str], number: int, _: tuple[str, ...]) -> str:
    return f"{names[number]}[{names[:number].count(names[number])}]"
