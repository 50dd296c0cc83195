"""What is drawn is what `figure.tables` holds: artists are read back as a reader sees them."""

from dataclasses import dataclass, field
from typing import Any

import figure_types
import numpy as np
import pytest
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import same_color
from matplotlib.figure import Figure

from skviz import stats
from skviz.capture.names import branch_names
from skviz.errors import SkvizError
from skviz.plot import labels, marks, style


@dataclass
class Shown:
    """Which part of which table the n-th axes of a figure shows."""

    axes: int
    table: str
    along: str
    series: str
    at: dict[str, Any] = field(default_factory=dict)

    def parts(self, figure: Figure) -> tuple[Axes, xr.Dataset]:
        table = figure.tables[self.table]
        where = {key: table[key].values[v] if isinstance(v, int) else v
                 for key, v in self.at.items()}  # fmt: skip
        return figure.axes[self.axes], table.sel(where)


class Lines(Shown):
    def compare(self, figure: Figure) -> None:
        ax, table = self.parts(figure)
        named = [line for line in ax.lines if line.get_label()[0] != "_"] or ax.lines[:1]
        coloured = [c for c in ax.collections if not same_color(c.get_edgecolor()[0], "0.6")]
        spans = coloured if "low" in table else []
        values = np.atleast_1d(table[self.series].values)
        assert len(named) == len(values)
        for index, (line, value) in enumerate(zip(named, values, strict=True)):
            said = line.get_label()
            assert said[0] == "_" or label(value) in said
            here = table.sel({self.series: value}) if self.series in table.dims else table
            x = here[self.along].values
            x = x if x.dtype.kind == "f" else np.arange(len(x))
            np.testing.assert_allclose(line.get_xdata(), x)
            np.testing.assert_allclose(line.get_ydata(), numbers(here))
            if spans:
                found = [ends(spans[index], place) for place in x]
                np.testing.assert_allclose(found, np.stack([here["low"], here["high"]], 1))


class Points(Shown):
    def compare(self, figure: Figure) -> None:
        ax, table = self.parts(figure)
        whole = [str(name) for name in table[self.along].values]
        names = next(texts for texts in map(tick_texts, figure.axes) if len(set(texts)) > 1)
        assert names == whole
        spans = [s for c in ax.collections if isinstance(c, LineCollection)
                 for s in c.get_segments()]  # fmt: skip
        colours = self.colours(figure)
        drawn = 0
        for line in ax.lines:
            if line.get_marker() == "None":
                continue
            for x, y in line.get_xydata():
                here = table.sel({self.along: names[round(y)]})
                if colours:
                    series = next(k for k, c in colours.items() if same_color(c, line.get_color()))
                    here = here.sel({self.series: series})
                assert x == pytest.approx(float(here["estimate"]))
                span = next(s for s in spans if np.isclose(s[0][1], y))
                np.testing.assert_allclose(span[:, 0], [here["low"], here["high"]])
                drawn += 1
        assert drawn == len(whole) * max(1, len(colours))

    def colours(self, figure: Figure) -> dict[str, Any]:
        if self.series == self.along:
            return {}
        legend = figure.legends[0]
        pairs = zip(legend.get_texts(), legend.get_lines(), strict=True)
        known = {text.get_text(): line.get_color() for text, line in pairs}
        return {name: colour for name, colour in known.items() if name != "natural"}


class Tiles(Shown):
    def compare(self, figure: Figure) -> None:
        ax, table = self.parts(figure)
        expected = table[next(iter(table.data_vars))].transpose(self.along, self.series)
        drawn = np.ma.filled(np.ma.masked_invalid(ax.images[0].get_array()), np.nan)
        np.testing.assert_allclose(drawn, expected)


class Bars(Shown):
    def compare(self, figure: Figure) -> None:
        ax, table = self.parts(figure)
        names = [tick.get_text() for tick in ax.get_xticklabels()]
        spans = [s for c in ax.collections for s in c.get_segments()]
        assert len(spans) == len(ax.patches) == table["estimate"].size
        for container, text in zip(ax.containers, ax.get_legend().get_texts(), strict=True):
            assert container.get_label() == text.get_text()
            for bar in container:
                middle = bar.get_x() + bar.get_width() / 2
                here = table.sel({self.along: names[round(middle)],
                                  self.series: float(text.get_text().rstrip("×"))})  # fmt: skip
                assert bar.get_height() == pytest.approx(float(here["estimate"]))
                span = next(s for s in spans if np.isclose(s[0][0], middle))
                np.testing.assert_allclose(span[:, 1], [here["low"], here["high"]])


def tick_texts(ax: Axes) -> list[str]:
    if any(tick.get_text().replace(".", "").isdigit() for tick in ax.get_yticklabels()):
        return []
    return [tick.get_text() for tick in ax.get_yticklabels()]


def label(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def numbers(table: xr.Dataset) -> np.ndarray:
    return table["estimate" if "estimate" in table else next(iter(table.data_vars))].values


def ends(drawn: Any, x: float) -> tuple[float, float]:
    """Lowest and highest point of a band, or of a bar, at some place."""
    points = np.concatenate([path.vertices for path in drawn.get_paths()])
    here = points[np.isclose(points[:, 0], x), 1]
    return here.min(), here.max()


FIELDS = {"share": 0.95, "scale": 1}
SHOWN: dict[str, list[Any]] = {
    "attribution_grid": [],  # pictures, and numbers as text: below
    "branch_heatmap": [Tiles(i, "weight", "unit", "scale", {"branch": i}) for i in range(3)],
    "channel_raster": [
        Tiles(i, name, "channel", "scale")
        for i, name in enumerate(("stage1.0.sk", "stage2.0.sk", "stage3.1.sk"))
    ],
    "class_curves": [
        Lines(i, "attention_difference", "category", "scale", {"unit": i}) for i in range(3)
    ],
    "control_shifts": [
        Points(i, "shifts", "control", "control", {"unit": i}) for i in range(2)
    ],
    "expected_kernel": [Lines(0, "expected_kernel", "unit", "scale")],
    "explained": [Tiles(0, "explained", "predictor", "unit")],
    "faithfulness": [
        one
        for row in range(2)
        for one in (
            Lines(3 * row, "deletion", "fraction", "order", {"target": row}),
            Lines(3 * row + 1, "insertion", "fraction", "order", {"target": row}),
            Lines(3 * row + 2, "rank_correlation", "randomised", "target", {"target": row}),
        )
    ],
    "impulse_response": [Tiles(i, "response", "y", "x", {"branch": i}) for i in range(3)],
    "intervention_effect": [
        Lines(0, "accuracy", "scale", "intervention"),
        Points(1, "lost", "unit", "intervention", {"scale": 0}),
        Points(2, "lost", "unit", "intervention", {"scale": 2}),
    ],
    "main_effects": [
        Points(i, "effects", "unit", "network", {"term": term})
        for i, term in enumerate(("size", "coverage", "blur", "background", "position"))
    ],
    "panel": [
        Lines(0, "a.response", "scale", "unit"),
        Lines(2, "b.expected_kernel", "unit", "scale"),
    ],
    "receptive_field": [
        Lines(3, "radius", "unit", "selection", FIELDS),
        Lines(4, "radius", "scale", "selection", {"share": 0.95, "unit": 0}),
    ],
    "scale_response": [Lines(0, "response", "scale", "unit")],
    "ternary": [],  # its own test
    "three_scales": [
        Lines(3, "channels", "channel", "scale"),
        Bars(4, "attention_difference", "unit", "scale"),
    ],
    "training": [],  # of the recipes
    "unit_diagram": [],  # its own test
}  # fmt: skip


@pytest.fixture(scope="module")
def drawings(small_net, few):
    return figure_types.drawings(figure_types.studies(small_net, few))


@pytest.mark.parametrize("kind", [kind for kind in figure_types.KINDS if SHOWN[kind]])
def test_artists_are_what_the_tables_hold(kind, drawings):
    figure = drawings[kind]()
    for shown in SHOWN[kind]:
        shown.compare(figure)
    assert {shown.table for shown in SHOWN[kind]} == set(figure.tables)


def test_a_figure_must_hold_what_a_mark_draws():
    table = stats.interval(stats.attention_difference(figure_types.made_up()))
    with style.context():
        made = style.figure("column", 2)
        ax = made.subplots()
        marks.lines(ax, table, "scale", "unit", style.looks(table["unit"].values))
        with pytest.raises(AssertionError, match="do not hold"):
            style.describe(made, "Another table.", table=table.copy())
        style.describe(made, "The table that was drawn.", table=table)


def test_marks_are_not_drawn_where_nothing_was_measured():
    table = stats.interval(stats.attention_difference(figure_types.made_up()))
    table["estimate"][0, 1] = np.nan
    ax = Figure().subplots()
    looks = style.looks(table["unit"].values)
    with pytest.raises(SkvizError, match=r"unit stage1\.1\.sk"):
        marks.lines(ax, table, "scale", "unit", looks)
    with pytest.raises(SkvizError, match=r"scale 0\.5"):
        marks.points(ax, table, "unit", "scale", style.looks(table["scale"].values))


def test_names_are_short_and_never_the_same():
    names = [f"backbone.body.layer{i}.{j}.conv2.attention" for i in (1, 2) for j in (0, 11)]
    assert list(labels.units(names, 13).values()) == ["layer1.0", "layer1.11", "layer2.0",
                                                      "layer2.11"]  # fmt: skip
    assert labels.units(names, 50) == dict(zip(names, names, strict=True))
    alike = [f"{'x' * 30}.{i}.{'y' * 30}.{i}z" for i in range(12)]
    assert len(set(labels.units(alike, 13).values())) == 12
    assert labels.units(["a.b.c"], 3) == {"a.b.c": "a…c"}


@pytest.mark.parametrize(
    ("kernels", "axes", "names"),
    [
        ([3, 5], 2, ["3×3", "5×5"]),
        ([3.0, float("nan"), 5.0], 2, ["3×3", "branch 1", "5×5"]),
        ([5, 3, 5], 2, ["branch 0 (5×5)", "3×3", "branch 2 (5×5)"]),
        ([(1, 7), (7, 1)], 2, ["1×7", "7×1"]),
        ([None, None], 2, ["branch 0", "branch 1"]),
        ([3, 7.0, 3], 1, ["branch 0 (3)", "7", "branch 2 (3)"]),
        ([3, (1, 5, 5)], 3, ["3×3×3", "1×5×5"]),
    ],
)
def test_branches_have_names_that_tell_them_apart(kernels, axes, names):
    assert branch_names(kernels, axes) == names
