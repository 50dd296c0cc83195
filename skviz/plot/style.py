"""One look for all figures: page, fonts, colours, and figures made without pyplot."""

import io
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import cache, partial, wraps
from itertools import cycle, islice
from typing import Any, ParamSpec, TypeVar, cast

import numpy as np
import xarray as xr
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure, SubFigure
from matplotlib.font_manager import findfont, fontManager, get_font
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.style import context as styled
from matplotlib.text import Text

from skviz.errors import SkvizError, entrance
from skviz.plot import venues
from skviz.plot.drawable import measured

P = ParamSpec("P")
R = TypeVar("R")

SCREEN = 120  # dots per inch in a notebook

# Okabe and Ito's palette, apart from its yellow, which is too light for lines.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
DASHES = ("-", (0, (4, 1.2)), (0, (1, 1)), (0, (5, 1, 1, 1)))
MANY = 8  # series that colour, dash and marker tell apart
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

# Asked in turn for what matplotlib's own font does not have, where they are installed.
FALLBACKS = ("Droid Sans Fallback",)  # TrueType, so that PDF can hold it as such

LABELS: tuple[Any, ...] = (
    "axes.labelsize",
    "axes.titlesize",
    "figure.labelsize",
    "figure.titlesize",
    "font.size",
)
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
    room: SubFigure | Axes | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    name: str | None = None


_page: ContextVar[Page] = ContextVar("page", default=Page())  # noqa: B039 (it is frozen)


@contextmanager
@entrance
def context(
    *,
    venue: str | None = None,
    width: str | float | None = None,
    labels: Mapping[str, str] | None = None,
    name: str | None = None,
    room: SubFigure | Axes | None = None,
) -> Iterator[None]:
    """Draw in skviz's style inside the block, whatever the user's settings are.

    Parameters
    ----------
    venue
        For whose page; by default that of the block around this one, outermost CVPR's.
    width
        ``"column"``, ``"text"`` or inches; by default each figure's own choice.
    labels
        What units are called in figures, by their names; other units keep theirs. Tables of numbers
        always have the names.
    name
        What the network is called in captions.
    room
        Part of a figure, or axes, drawn into instead of making one.

    Raises
    ------
    SkvizError
        If there is no such venue or width.

    Examples
    --------
    >>> import skviz
    >>> scenes = skviz.place(skviz.objects(category="bus"), seed=1)
    >>> ds = skviz.sweep(skviz.load("objects"), scenes, scales=[0.5, 2.0], progress=False)
    >>> called = {unit: unit.removesuffix(".sk") for unit in ds["unit"].values}
    >>> with skviz.plot.style.context(venue="neurips", labels=called, name="SKNet-6"):
    ...     figure = skviz.plot.scale_response(ds)
    >>> "network SKNet-6" in skviz.caption(figure)
    True
    """
    if width not in (None, "column", "text") and (isinstance(width, str) or not 1 <= width <= 40):
        raise SkvizError(f"width must be 'column', 'text' or 1 to 40 inches, got {width!r}")
    page = _page.get()
    if venue is not None:
        page = replace(page, venue=venues.venue(venue), width=None, room=None)
    if width is not None:
        page = replace(page, width=width, room=room)
    said = {**page.labels, **(labels or {})}
    token = _page.set(replace(page, labels=said, name=name or page.name))
    sizes = dict.fromkeys(LABELS, page.venue.font) | dict.fromkeys(SMALL, small())
    try:
        with styled(RC | sizes, after_reset=True):
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
    return _page.get().venue.font - 1


def least() -> float:
    """Size in points of the smallest text: never below 6."""
    return max(6.0, small() - 1)


def enlarged() -> float:
    """How much larger text is on the page drawn for than at 8 points, and so are figures high."""
    return _page.get().venue.font / 8


def tall() -> float:
    """Height in inches that a figure may have on the page drawn for."""
    return _page.get().venue.tall


def high(made: Figure | SubFigure) -> float:
    """Height in inches of a figure, or of the part of a panel that is drawn into."""
    return float(made.bbox.height / made.dpi)


def wide(letters: float, size: float | None = None) -> float:
    """Inches that so many letters stand on, in the size of tick labels and legends or another."""
    return 0.0095 * (size or small()) * letters


def given() -> bool:
    """Whether somebody's own axes are drawn into."""
    return isinstance(_page.get().room, Axes)


def called(unit: str) -> str:
    """Return what a unit is called on the page drawn for."""
    return _page.get().labels.get(unit, unit)


def network(name: str) -> str:
    """Return what a network of that name is called on the page drawn for."""
    return _page.get().name or name


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
    page
        What it was drawn for.
    tables
        The numbers that it shows, by name.
    """

    again: Callable[[], Figure] | None = None
    caption: str = ""
    page: Page = Page()
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
        ax: Any = kwargs.get("ax")
        wide = ax.get_window_extent().width / ax.figure.dpi if isinstance(ax, Axes) else None
        with context(width=wide and min(max(wide, 1), 40), room=ax):
            shown: Any = [measured(value) if isinstance(value, data) else value for value in args]
            made = function(*shown, **kwargs)
            if isinstance(made, InlineFigure) and wide is None:
                settle(made)
        if isinstance(made, InlineFigure) and wide is None:
            page = made.page = _page.get()
            in_these_words = context(labels=page.labels, name=page.name)(draw)
            made.again = cast("Callable[[], Figure]", partial(in_these_words, *args, **kwargs))
        return made

    return draw


def describe(made: InlineFigure, caption: str, **tables: xr.Dataset) -> InlineFigure:
    """Return a figure with what it shows attached: its caption, and its numbers by name.

    Every table that a mark has drawn must be among them. The figure of somebody's own axes is left
    as it is.
    """
    if given():
        return made
    drawn = [table for ax in made.findobj(Axes) for table in getattr(ax, "drawn", ())]
    if any(all(table is not held for held in tables.values()) for table in drawn):
        raise AssertionError("a mark has drawn numbers that the figure's tables do not hold")
    made.caption, made.tables = caption, dict(tables)
    return made


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
        own = page.room.get_figure(root=True) if isinstance(page.room, Axes) else page.room
        return cast("InlineFigure", own)
    layout = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0.02, hspace=0.02)
    size = inches(width), min(height * enlarged(), page.venue.tall)
    FigureCanvasAgg(made := InlineFigure(figsize=size, layout=layout))
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
