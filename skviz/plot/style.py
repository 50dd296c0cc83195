"""One look for all figures: page, fonts, colours, and figures made without pyplot."""

import io
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cache, partial, wraps
from itertools import cycle, islice
from typing import Any, ParamSpec, TypeVar, cast

import matplotlib as mpl
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from matplotlib.font_manager import findfont, fontManager, get_font
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.text import Text

from skviz import stats
from skviz.errors import SkvizError
from skviz.plot import venues

__all__ = ["InlineFigure", "context", "describe", "drawing", "figure", "series"]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

COLUMN, TEXT = "column", "text"  # widths, of whatever page is drawn for
SCREEN = 120  # dots per inch in a notebook

# Okabe and Ito's palette, apart from its yellow, which is too light for lines.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
DASHES = ("-", (0, (4, 1.2)), (0, (1, 1)), (0, (5, 1, 1, 1)))
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

    @wraps(function)
    def draw(*args: P.args, **kwargs: P.kwargs) -> R:
        for value in args:
            if isinstance(value, xr.DataTree | xr.Dataset):
                check(stats.root(value))
        with context():
            made = function(*args, **kwargs)
            if isinstance(made, InlineFigure):
                settle(made)
        if isinstance(made, InlineFigure):
            made.again = cast("Callable[[], Figure]", partial(draw, *args, **kwargs))
        return made

    return draw


def check(ds: xr.Dataset) -> None:
    """Refuse a sweep that is empty, or has weights that are not numbers, with `SkvizError`."""
    empty = [str(name) for name, size in ds.sizes.items() if size == 0 and name != "example"]
    if empty:
        raise SkvizError(f"nothing to draw: the data have no {', '.join(empty)}")
    if "problem" in ds:  # why an image was skipped
        ds = ds.isel(image=(ds["problem"] == "").values)
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


def describe(made: Figure, caption: str, **tables: xr.Dataset | xr.DataArray) -> None:
    """Attach to a figure what it shows: its caption, and its numbers by name."""
    cast("InlineFigure", made).caption = caption
    cast("InlineFigure", made).tables = {
        name: table.to_dataset(name=table.name or name)
        if isinstance(table, xr.DataArray)
        else table
        for name, table in tables.items()
    }


def sample(ds: xr.DataTree | xr.Dataset) -> str:
    """Say for a caption what was sampled, and how."""
    attrs, images = ds.attrs, ds.sizes["image"]
    if "problem" in ds:  # why an image was skipped
        images = int((ds["problem"] == "").sum())
    words = [f"n = {images} scene{'s' if images > 1 else ''}"]
    words += [f"protocol {attrs['protocol']}"] if "protocol" in attrs else []
    words += [f"network {attrs['model']}"] if "model" in attrs else []
    return ", ".join(words)


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


def apart(values: Sequence[float], count: int) -> list[float]:
    """Choose from increasing values such that at most `count` fit beside each other."""
    least = (values[-1] - values[0]) / (count - 0.5)
    kept = [values[0]]
    for value in values[1:]:
        if value - kept[-1] >= least:
            kept.append(value)
    return kept


def spread(names: Sequence[T], count: int) -> list[T]:
    """Choose evenly from first to last."""
    most = min(count, len(names))
    return [names[round(i * (len(names) - 1) / max(most - 1, 1))] for i in range(most)]


def zero_line(ax: Axes) -> None:
    """Mark zero, behind the data."""
    ax.axhline(0, color="0.6", linewidth=0.6, zorder=0)


def kernel_name(kernel: float) -> str:
    """Name an effective kernel, such as ``5×5``."""
    return f"{kernel:.0f}×{kernel:.0f}"


def branch_label(index: int, kernel: float) -> str:
    """Name a branch by its index and, where it is known (not NaN), its effective kernel."""
    return f"branch {index}" if math.isnan(kernel) else f"branch {index}\n{kernel_name(kernel)}"


def short(name: str, most: int = 24) -> str:
    """Leave out the middle of a long name."""
    kept = (most - 1) // 2
    return name if len(name) <= most else f"{name[:kept]}…{name[-kept:]}"


def legend(made: Figure, ax: Axes, *, width: str = COLUMN) -> None:
    """Name what an axes shows above it, in as many columns as the figure is wide for."""
    handles, names = ax.get_legend_handles_labels()
    each = 0.4 + 0.0095 * small() * max(map(len, names))  # inches of a line and its name
    made.legend(
        handles,
        names,
        loc="outside upper center",
        ncols=min(len(names), max(1, int(inches(width) / each))),
        columnspacing=1,
        handlelength=2.4,
        handletextpad=0.5,
        borderaxespad=0.2,
    )


def held(root: xr.Dataset, scales: Sequence[float], units: Sequence[str]) -> None:
    """Refuse scales and units that a sweep does not hold, with `SkvizError`."""
    missing = [f"scale {scale:g}" for scale in scales if scale not in root["scale"].values]
    missing += [f"unit {name!r}" for name in units if name not in root["unit"].values]
    if missing:
        raise SkvizError(
            f"the sweep holds no {', '.join(missing)}; its scales are "
            f"{root['scale'].values.tolist()}, its units {[str(u) for u in root['unit'].values]}"
        )


def scale_ticks(ax: Axes, scales: Any, beside: int) -> None:
    """Label columns of a map, one of so many beside each other, with as many scales as fit."""
    room = (inches(COLUMN) - 1.4) / beside
    most = min(len(scales), max(2, int(room / (0.055 * small()))))
    shown = sorted({round(i * (len(scales) - 1) / max(most - 1, 1)) for i in range(most)})
    ax.set_xticks(shown, [f"{scales[i]:g}" for i in shown])
    ax.set_xlabel("scale")


def name_units(ax: Axes, names: Sequence[str]) -> None:
    """Label places 0, 1, … on the x axis with units: by name if these fit, else by number."""
    if len(names) > 16:
        ax.set_xlabel("unit (first to last)")
        ax.set_xticks(*zip(*[(i, str(i + 1)) for i in range(0, len(names), 4)], strict=True))
        return
    turned = len(names) * max(map(len, names)) * small() * 0.0095 > inches(COLUMN) - 0.6
    look: dict[str, Any] = (
        {"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if turned else {}
    )
    ax.set_xticks(range(len(names)), [short(name) for name in names], **look)
