"""One look for all figures: page, fonts, colours, and figures made without pyplot."""

import io
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cache, partial, wraps
from itertools import cycle, islice
from typing import Any, ParamSpec, TypeVar, cast

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure, SubFigure
from matplotlib.font_manager import findfont, fontManager, get_font
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.text import Text

from skviz.errors import SkvizError, entrance
from skviz.plot import venues

__all__ = ["InlineFigure", "context", "describe", "drawing", "figure", "series"]

P = ParamSpec("P")
R = TypeVar("R")

COLUMN, TEXT = "column", "text"  # widths, of whatever page is drawn for
SCREEN = 120  # dots per inch in a notebook

# Okabe and Ito's palette, apart from its yellow, which is too light for lines.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
DASHES = ("-", (0, (4, 1.2)), (0, (1, 1)), (0, (5, 1, 1, 1)))
MANY = 8  # series that colour, dash and marker tell apart
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

# Asked in turn for what matplotlib's own font does not have, where they are installed.
FALLBACKS = ("Droid Sans Fallback",)  # TrueType, so that PDF can hold it as such

LABELS: tuple[Any, ...] = ("axes.labelsize", "axes.titlesize", "figure.titlesize", "font.size")
SMALL: tuple[Any, ...] = (
    "legend.fontsize",
    "legend.title_fontsize",
    "xtick.labelsize",
    "ytick.labelsize",
)
RC: dict[Any, Any] = {
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.dpi": 150,
    "font.family": "DejaVu Sans",
    "legend.frameon": False,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.2,
    "mathtext.fontset": "dejavusans",
    "pdf.fonttype": 42,  # TrueType; matplotlib's default is Type 3
    "pgf.rcfonts": False,  # the document's own font
    "ps.fonttype": 42,
    "savefig.dpi": 300,
    "svg.fonttype": "none",
    "svg.hashsalt": "skviz",
    "text.parse_math": False,  # a dollar in a name is a dollar
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
}


@dataclass(frozen=True)
class Page:
    """Where figures are drawn now: a venue, perhaps another width, perhaps part of a panel."""

    venue: venues.Venue = venues.VENUES["cvpr"]
    width: str | float | None = None
    room: SubFigure | None = None


_page: ContextVar[Page] = ContextVar("page", default=Page())  # noqa: B039 (it is frozen)


@contextmanager
def context(
    *,
    venue: str | None = None,
    width: str | float | None = None,
    room: SubFigure | None = None,
) -> Iterator[None]:
    """Draw in skviz's style inside the block, whatever the user's settings are.

    Parameters
    ----------
    venue
        For whose page; by default that of the block around this one, outermost CVPR's.
    width
        ``"column"``, ``"text"`` or inches; by default each figure's own choice.
    room
        Part of a figure, drawn into instead of making one.

    Raises
    ------
    SkvizError
        If there is no such venue or width.
    """
    known = width in (None, COLUMN, TEXT)
    if not known and (not isinstance(width, int | float) or not 1 <= width <= 40 or width is True):
        raise SkvizError(f"width must be 'column', 'text' or 1 to 40 inches, got {width!r}")
    page = _page.get()
    if venue is not None:
        page = Page(venues.venue(venue))
    token = _page.set(replace(page, width=width or page.width, room=room if width else page.room))
    size = page.venue.font
    try:
        with mpl.rc_context():
            mpl.rcdefaults()
            mpl.rcParams.update(RC)
            mpl.rcParams.update(dict.fromkeys(LABELS, size) | dict.fromkeys(SMALL, size - 1))
            yield
    finally:
        _page.reset(token)


@cache
def fonts() -> list[str]:
    """Return matplotlib's own font, then those installed that know more characters."""
    installed = set(fontManager.get_font_names())
    return ["DejaVu Sans", *(name for name in FALLBACKS if name in installed)]


@cache
def characters() -> set[int]:
    """Return the characters that matplotlib's own font has."""
    return set(get_font(findfont("DejaVu Sans")).get_charmap())


def settle(made: Figure) -> None:
    """Lay a figure out, with other fonts where its own lacks a character.

    Ticks change with the layout, which needs a second round; that is the one of whoever saves it.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph .* missing from font")  # said when it is saved
        made.draw_without_rendering()
        foreign: list[Any] = [
            text
            for text in made.findobj(Text)
            if not {ord(c) for c in text.get_text() if c != "\n"} <= characters()
        ]
        for text in foreign:
            text.set_fontfamily(fonts())
        if foreign:
            made.draw_without_rendering()


def small() -> float:
    """Size in points of tick labels and legends."""
    return float(mpl.rcParams["legend.fontsize"])


def least() -> float:
    """Size in points of the smallest text: never below 6."""
    return max(6.0, small() - 1)


def enlarged() -> float:
    """How much larger text is on the page drawn for than at 8 points, and so are figures high."""
    return _page.get().venue.font / 8


def tall() -> float:
    """Height in inches that a figure may have on the page drawn for."""
    return _page.get().venue.tall


def inches(width: str) -> float:
    """Width of the figure that is drawn now, which asks for ``"column"`` or ``"text"``."""
    page = _page.get()
    asked = page.width or width
    return float(getattr(page.venue, asked) if isinstance(asked, str) else asked)


class InlineFigure(Figure):
    """A figure that a notebook shows when it ends a cell, although pyplot knows nothing of it.

    Attributes
    ----------
    again
        Draws it anew, on the page of the `context` around the call; None if nobody can.
    caption
        What it shows, with n, interval and protocol.
    tables
        The numbers that it shows, by name.
    """

    again: Callable[[], Figure] | None = None
    caption: str = ""
    tables: dict[str, xr.Dataset] = {}  # noqa: RUF012 (replaced, never changed)

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        with context():
            self.savefig(buffer, format="png", dpi=SCREEN, metadata={"Software": "skviz"})
        return buffer.getvalue()


def drawing(function: Callable[P, R]) -> Callable[P, R]:
    """Make a plot draw in skviz's style, refuse data that cannot be drawn, and be repeatable."""
    function = entrance(function)

    @wraps(function)
    def draw(*args: P.args, **kwargs: P.kwargs) -> R:
        data = xr.Dataset
        with context():
            given: Any = [measured(value) if isinstance(value, data) else value for value in args]
            made = function(*given, **kwargs)
            if isinstance(made, InlineFigure):
                settle(made)
        if isinstance(made, InlineFigure):
            made.again = cast("Callable[[], Figure]", partial(draw, *args, **kwargs))
        return made

    return draw


def measured(ds: xr.Dataset) -> Any:
    """Return what there is to draw: without images that were skipped, scales increasing.

    Raises
    ------
    SkvizError
        If nothing is left, or a unit has weights that are not numbers.
    """
    if "problem" in ds:  # why an image was skipped
        kept = (ds["problem"] == "").values
        if "example" in ds.coords:  # the pictures of some of them
            skipped = ds["image"].values[~kept]
            ds = along(ds, example=~np.isin(ds["example"].values, skipped))
        ds = along(ds, image=kept)
    if "scale" in ds.dims and not ds.indexes["scale"].is_monotonic_increasing:
        ds = along(ds, scale=np.argsort(ds["scale"].values))
    check(ds)
    return ds


def along(ds: xr.Dataset, **which: np.ndarray) -> xr.Dataset:
    """Choose along dimensions that the data do not have to have."""
    return ds.isel(which, missing_dims="ignore")


def check(ds: xr.Dataset) -> None:
    """Refuse a sweep that is empty, or has weights that are not numbers, with `SkvizError`."""
    empty = [str(name) for name, size in ds.sizes.items() if size == 0 and name != "example"]
    if empty:
        raise SkvizError(f"nothing to draw: the data have no {', '.join(empty)}")
    if {"weight", "kernel"} <= set(ds.variables):
        # A branch that a unit does not have is NaN throughout; part of one cannot be.
        missing = ds["weight"].isnull()  # (image, scale, unit, branch)
        some = missing.any(("image", "scale"))
        broken = (some & ~missing.all(("image", "scale"))).any("branch") | some.all("branch")
        if bool(broken.any()):
            raise SkvizError(
                f"unit {str(ds['unit'].values[broken.values][0])!r} has weights that are NaN; "
                "sweep again, or leave out those images or scales (ds.sel, ds.dropna)"
            )


def describe(made: Figure, caption: str, **tables: xr.Dataset) -> None:
    """Attach to a figure what it shows: its caption, and its numbers by name.

    Every table that a mark has drawn must be among them.
    """
    drawn = [table for ax in made.findobj(Axes) for table in getattr(ax, "drawn", ())]
    if any(all(table is not held for held in tables.values()) for table in drawn):
        raise AssertionError("a mark has drawn numbers that the figure's tables do not hold")
    cast("InlineFigure", made).caption = caption
    cast("InlineFigure", made).tables = dict(tables)


def figure(width: str, height: float) -> InlineFigure:
    """Make an empty figure; nothing global knows of it.

    Parameters
    ----------
    width
        ``"column"`` or ``"text"`` of the page drawn for, unless the `context` says otherwise.
    height
        Inches, where labels have 8 points; with larger ones more, but never more than fits.
    """
    page = _page.get()
    if page.room is not None:
        return cast("InlineFigure", page.room)
    layout = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0.02, hspace=0.02)
    tall = min(height * enlarged(), page.venue.tall)
    made = InlineFigure(figsize=(inches(width), tall), layout=layout)
    FigureCanvasAgg(made)
    return made


def series(count: int) -> list[dict[str, Any]]:
    """Return line styles that differ in colour, dash and marker."""
    looks = zip(cycle(COLOURS), cycle(DASHES), cycle(MARKERS), strict=False)
    return [
        {"color": colour, "linestyle": dash, "marker": marker}
        for colour, dash, marker in islice(looks, count)
    ]


def looks(values: Iterable[Any], name: Callable[[Any], str] = str) -> dict[Any, dict[str, Any]]:
    """Return a line style for each of some values, with its label."""
    chosen = list(values)
    styles = series(len(chosen)) if len(chosen) <= MANY else graded(len(chosen))
    return {
        value: look | {"label": name(value)} for value, look in zip(chosen, styles, strict=True)
    }


def graded(count: int) -> list[dict[str, Any]]:
    """Return line styles whose colours go from first to last, for more than can be told apart."""
    colours = colormaps["viridis"](np.linspace(0, 0.92, count))  # its end is too light for lines
    return [
        {"color": to_hex(colour), "linestyle": "-", "marker": marker}
        for colour, marker in zip(colours, cycle(MARKERS), strict=False)
    ]


def short(name: str, most: int = 24) -> str:
    """Leave out the middle of a long name."""
    kept = (most - 1) // 2
    return name if len(name) <= most else f"{name[:kept]}…{name[-kept:]}"
