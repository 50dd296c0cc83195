"""What is known about each unit, and the table of a model's units."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import SupportsIndex, overload

from skviz.capture.kernels import Kernel
from skviz.capture.layout import Layout
from skviz.capture.names import branch_names, kernel_name
from skviz.capture.tape import Place
from skviz.errors import UnitError


@dataclass(frozen=True)
class Unit:
    """One Selective-Kernel unit.

    Attributes
    ----------
    name : str
        Qualified name of the innermost module that holds both the softmax and the selection.
    kernels : tuple[int or tuple[int, ...], ...] or None
        Effective kernel of each branch, in the order of the softmax axis: one number, or (h, w)
        where they differ; None if unknown.
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
    interpolated : bool
        Whether the model uses one weight of two and takes the other for granted (``lerp``).
    kind : str
        Of selection: ``softmax``, ``split attention``, ``gate`` (a and 1 − a), ``per pixel``,
        ``state`` (a gate between something new and what was there) or ``mixture`` (of experts:
        the weights do not look at the branches).
    unknown : str
        Why the kernels are unknown.
    axes : int
        Along how many axes the kernels run: 1 in a sound, 2 in a picture, 3 in a volume.
    place, layout
        What `skviz.capture.recording` needs to find the same tensor again.
    """

    name: str
    kernels: tuple[Kernel, ...] | None
    branches: int
    channels: int | None
    spatial: bool
    calls: int
    how: str
    notes: tuple[str, ...] = ()
    degenerate: bool = False
    kind: str = "softmax"
    unknown: str = ""
    axes: int = 2
    interpolated: bool = field(default=False, repr=False)
    place: Place | None = field(default=None, repr=False, compare=False)
    layout: Layout | None = field(default=None, repr=False)

    @property
    def recordable(self) -> bool:
        """Whether `skviz.record` can read its weights as a probability over branches."""
        return self.layout is not None

    @property
    def call_names(self) -> tuple[str, ...]:
        """What its weights are recorded as: its name, with ``@0``, ``@1``, … if it runs often."""
        if self.calls == 1:
            return (self.name,)
        return tuple(f"{self.name}@{call}" for call in range(self.calls))

    @property
    def sizes(self) -> tuple[float, ...]:
        """Kernels as numbers; all NaN if they are unknown or one is not as wide as it is high."""
        known = [kernel for kernel in self.kernels or () if isinstance(kernel, int)]
        complete = len(known) == self.branches
        return tuple(map(float, known)) if complete else (math.nan,) * self.branches

    @property
    def largest(self) -> int | None:
        """Branch of the largest kernel; None if that is unknown or not one."""
        return self._only(max(self.sizes))

    @property
    def smallest(self) -> int | None:
        """Branch of the smallest kernel; None if that is unknown or not one."""
        return self._only(min(self.sizes))

    def _only(self, size: float) -> int | None:
        return self.sizes.index(size) if self.sizes.count(size) == 1 else None

    def branch_index(self, *, kernel: Kernel | None = None, branch: int | None = None) -> int:
        """Return the index of the branch of that effective kernel, or check the index given.

        Raises
        ------
        UnitError
            If not exactly one of both is given, or the unit has no such branch, or several.
        """
        if (kernel is None) == (branch is None):
            raise UnitError("say which branch: either kernel=… or branch=…, not both")
        if branch is not None:
            if not 0 <= branch < self.branches:
                raise UnitError(
                    f"unit {self.name!r} has branches 0 to {self.branches - 1}, got {branch}"
                )
            return branch
        known = self.kernels or ()
        if known.count(kernel) == 1:
            return known.index(kernel)
        problem = f"kernels {known}, not {kernel}" if known else "kernels that are not known"
        if kernel in known:
            problem = f"several branches of kernel {kernel}"
        raise UnitError(
            f"unit {self.name!r} has {problem}; name the branch by its index, branch=0 … "
            f"branch={self.branches - 1}"
        )

    def branch_name(self, branch: int) -> str:
        """Name a branch by its kernel where that says which it is, else by its index."""
        return branch_names(self.kernels or [None] * self.branches, self.axes)[branch]


@dataclass(frozen=True)
class Rejected:
    """What looks like a selection and is none: in which module, and why."""

    name: str
    why: str

    def __str__(self) -> str:
        return f"{self.name or '(the model itself)'}: {self.why}"


class Units(tuple[Unit, ...]):
    """The units of a model in forward order; printed as a table, indexed by number or name.

    Attributes
    ----------
    rejected : tuple[Rejected, ...]
        What looked like a selection and is none, each with its reason.
    """

    rejected: tuple[Rejected, ...] = ()
    _columns = ("unit", "M", "kernels", "kind", "channels", "spatial", "calls", "how")

    @overload
    def __getitem__(self, key: SupportsIndex | str) -> Unit: ...
    @overload
    def __getitem__(self, key: slice) -> Units: ...
    def __getitem__(self, key: SupportsIndex | str | slice) -> Unit | Units:
        if isinstance(key, slice):
            return Units(super().__getitem__(key))
        if not isinstance(key, str):
            return super().__getitem__(key)
        if key not in self.names:
            raise UnitError(
                f"no unit is called {key!r}; there are {', '.join(self.names) or 'none'}"
            )
        return self[self.names.index(key)]

    @property
    def names(self) -> tuple[str, ...]:
        """Qualified names, in forward order."""
        return tuple(unit.name for unit in self)

    def __repr__(self) -> str:
        below = [f"    not a unit: {one}" for one in self.rejected]
        if not self:
            return "\n".join(["no Selective-Kernel units found", *below])
        rows = [self._columns, *map(_row, self)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        head, *lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
        for unit, line in zip(self, lines, strict=True):
            head = "\n".join([head, line, *(f"    {note}" for note in _notes(unit))])
        return "\n".join([head, *below])

    def _repr_html_(self) -> str:
        def row(cells: Iterable[str], tag: str) -> str:
            return "<tr>" + "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in cells) + "</tr>"

        rows = [row((*_row(unit), "; ".join(_notes(unit))), "td") for unit in self]
        table = f"<table>{row((*self._columns, 'notes'), 'th')}{''.join(rows)}</table>"
        return table + "".join(f"<p>not a unit: {html.escape(str(r))}</p>" for r in self.rejected)


def _row(unit: Unit) -> tuple[str, ...]:
    kernels = unit.kernels or ()
    square = all(isinstance(kernel, int) for kernel in kernels)
    return (
        unit.name or "(the model itself)",
        str(unit.branches),
        ", ".join(str(k) if square else kernel_name(k, unit.axes) for k in kernels) or "unknown",
        unit.kind,
        "shared" if unit.channels is None else str(unit.channels),
        "yes" if unit.spatial else "no",
        str(unit.calls),
        unit.how,
    )


def _notes(unit: Unit) -> list[str]:
    """List what there is to say about a unit below its row."""
    mark = "degenerate" if unit.degenerate else "note"
    unknown = [f"kernels unknown, because {unit.unknown}"] if unit.unknown else []
    return [*(f"{mark}: {note}" for note in unit.notes), *unknown]
