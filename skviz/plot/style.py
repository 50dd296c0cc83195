"""One look for all figures: sizes, fonts, colours, and figures made without pyplot."""

import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle, islice
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

__all__ = ["COLUMN", "TEXT", "InlineFigure", "context", "figure", "series"]

COLUMN = 3.25  # inches: a column of CVPR's two-column page
TEXT = 6.875  # inches: its full text width
SCREEN = 120  # dots per inch in a notebook

# Okabe and Ito's palette, apart from its yellow, which is too light for lines.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
DASHES = ("-", (0, (4, 1.2)), (0, (1, 1)), (0, (5, 1, 1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

RC: dict[Any, Any] = {
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 8,
    "figure.dpi": 150,
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.2,
    "mathtext.fontset": "dejavusans",
    "pdf.fonttype": 42,  # TrueType; matplotlib's default is Type 3
    "ps.fonttype": 42,
    "savefig.dpi": 300,
    "svg.fonttype": "none",
    "svg.hashsalt": "skviz",
    "xtick.labelsize": 7,
    "xtick.major.width": 0.6,
    "ytick.labelsize": 7,
    "ytick.major.width": 0.6,
}


@contextmanager
def context() -> Iterator[None]:
    """Draw in skviz's style inside the block, whatever the user's settings are."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(RC)
        yield


class InlineFigure(Figure):
    """A figure that a notebook shows when it ends a cell, although pyplot knows nothing of it."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        with context():
            self.savefig(buffer, format="png", dpi=SCREEN, metadata={"Software": "skviz"})
        return buffer.getvalue()


def figure(width: float, height: float) -> InlineFigure:
    """Make an empty figure of this size in inches; nothing global knows of it."""
    layout = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0.02, hspace=0.02)
    made = InlineFigure(figsize=(width, height), layout=layout)
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


def zero_line(ax: Axes) -> None:
    """Mark zero, behind the data."""
    ax.axhline(0, color="0.6", linewidth=0.6, zorder=0)


def branch_label(index: int, kernel: float) -> str:
    """Name a branch by its index and, where it is known (not NaN), its effective kernel."""
    return f"branch {index}" if math.isnan(kernel) else f"branch {index}\n{kernel:.0f}×{kernel:.0f}"
