"""Several figures in one, aligned, with letters."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator
from matplotlib.transforms import Bbox

from skviz.errors import SkvizError
from skviz.plot import style

LEAST = 2.7  # inches that a figure needs


@style.drawing
def panel(
    figures: Sequence[Figure], *, letters: str = "abcdefgh", columns: int | None = None
) -> Figure:
    """Draw figures side by side in one, their axes in a row at the same height.

    Parameters
    ----------
    figures
        From `skviz.plot`; each is drawn anew at the width it has here.
    letters
        A letter for each.
    columns
        How many stand beside each other; by default as many as have 2.7 inches.

    Returns
    -------
    Figure
        Of text width, as high as its highest figure, row by row.

    Raises
    ------
    SkvizError
        If there are no figures, fewer letters than figures, one is not from `skviz.plot`, or the
        panel would be higher than the page.
    """
    if not figures or len(letters) < len(figures) or (columns is not None and columns < 1):
        raise SkvizError(
            f"a panel needs figures, a letter for each and at least one column; got {len(figures)} "
            f"figures, letters {letters!r}, columns={columns}"
        )
    draw: list[Any] = [getattr(figure, "again", None) for figure in figures]
    if None in draw:
        raise SkvizError("a panel is made of figures of skviz.plot; draw others into axes of yours")
    columns = min(columns or max(1, int(style.inches("text") / LEAST)), len(figures))
    each = style.inches("text") / columns
    with style.context(width=each):
        alone = [again() for again in draw]
    rows = [alone[i : i + columns] for i in range(0, len(alone), columns)]
    heights = [max(figure.get_figheight() for figure in row) for row in rows]
    made = style.figure("text", sum(heights) / style.enlarged())
    if made.get_figheight() < sum(heights) - 0.01:
        raise SkvizError(
            f"a panel of {len(rows)} rows needs {sum(heights):.1f} inches, the page has "
            f"{made.get_figheight():.1f}; use fewer figures, or more columns"
        )
    grid = made.add_gridspec(len(rows), columns, height_ratios=heights)
    tables: dict[str, Any] = {}
    captions, parts = [], []
    for index, (again, letter) in enumerate(zip(draw, letters, strict=False)):
        part: Any = made.add_subfigure(grid[index // columns, index % columns])
        parts.append(part)
        with style.context(width=each, room=part):
            again()
        part.text(0.005, 0.99, letter, weight="bold", ha="left", va="top")
        captions.append(f"({letter}) {part.caption}")
        tables |= {f"{letter}.{name}": table for name, table in part.tables.items()}
    _align(made, [parts[i : i + columns] for i in range(0, len(parts), columns)])
    return style.describe(made, " ".join(captions), **tables)


def _align(made: Figure, rows: list[list[Any]]) -> None:
    """Give the axes of a row the same bottom and top, once the layout has found room for all."""
    made.draw_without_rendering()
    made.set_layout_engine("none")
    for row in rows:
        boxes = [
            {ax: ax.get_position(original=True).transformed(ax.figure.transSubfigure)
             for ax in part.findobj(Axes)}
            for part in row
        ]  # fmt: skip
        spans = [(min(b.y0 for b in each.values()), max(b.y1 for b in each.values()))
                 for each in boxes]  # fmt: skip
        low, high = max(bottom for bottom, _ in spans), min(top for _, top in spans)
        for each, (bottom, top) in zip(boxes, spans, strict=True):
            shrink = (high - low) / (top - bottom)
            for ax, box in each.items():
                ax.yaxis.set_major_locator(FixedLocator(ax.get_yticks()))  # as the layout knows
                y0, y1 = (low + shrink * (y - bottom) for y in (box.y0, box.y1))
                moved = Bbox.from_extents(box.x0, y0, box.x1, y1)
                ax.set_position(moved.transformed(ax.figure.transSubfigure.inverted()))
