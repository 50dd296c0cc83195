"""Every type of figure at every venue."""

import inspect
from pathlib import Path

import figure_types
import numpy as np
import pytest
import textboxes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from skviz import plot
from skviz.errors import SkvizError
from skviz.plot import style, venues

GOLDEN = Path(__file__).parents[1] / "golden"
PAGES = ("cvpr", "icml", "neurips", "eccv", "ieee", "nature", "thesis", "slides")


def test_these_are_all_the_pages():
    sizes = [(v.column, v.text, v.font) for v in venues.VENUES.values()]
    assert {(v.column, v.text, v.font) for v in map(venues.venue, PAGES)} == set(sizes)


@pytest.fixture(scope="module")
def studies(small_net, few):
    return figure_types.studies(small_net, few)


# In inches, read from the style files and guides themselves: column and text.
WIDTHS = {
    "cvpr": (236.25 / 72, 6.875),  # cvpr.sty 2024: columnsep 0.3125 in
    "icml": ((6.75 - 0.25) / 2, 6.75),  # icml2024.sty: columnsep 0.25 in
    "neurips": (5.5, 5.5),  # neurips_2024.sty
    "iclr": (5.5, 5.5),  # iclr2024_conference.sty
    "eccv": (12.2 / 2.54, 12.2 / 2.54),  # llncs.cls 2.24
    "ieee": (3.5, 7.16),  # IEEE Author Center, 2024
    "nature": (8.9 / 2.54, 18.3 / 2.54),  # guide to final submission, 2024
    "slides": (14 / 2.54, 14 / 2.54),  # beamer, 16:9: 16 cm without margins of 1 cm
}


@pytest.mark.parametrize("page", WIDTHS)
def test_widths_are_those_of_the_style_files(page):
    venue = venues.venue(page)
    assert (venue.column, venue.text) == pytest.approx(WIDTHS[page], abs=1e-3)
    assert venue.source


@pytest.fixture(scope="module")
def drawings(studies):
    return figure_types.drawings(studies)


@pytest.mark.parametrize("kind", figure_types.KINDS)
def test_text_is_whole_apart_and_large_enough_at_every_venue(kind, drawings):
    found = []
    for page in PAGES:
        with style.context(venue=page):
            figure = drawings[kind]()
        venue = venues.venue(page)
        assert figure.get_figwidth() in (venue.column, venue.text)
        assert figure.get_figheight() <= venue.tall
        found += [f"{page}: {problem}" for problem in textboxes.problems(figure)]
    assert not found


@pytest.mark.parametrize("kind", figure_types.KINDS)
def test_every_figure_says_what_it_shows(kind, drawings):
    figure = drawings[kind]()
    assert len(figure.caption) > 40
    assert figure.caption.endswith(".")
    assert figure.tables
    for table in figure.tables.values():
        assert any(table[name].notnull().any() for name in table.data_vars)


@pytest.mark.parametrize("kind", figure_types.KINDS)
def test_it_looks_as_it_did(kind, drawings, request):
    figure = drawings[kind]()
    figure.dpi = 60
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    now = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    path = GOLDEN / f"{kind}.png"
    if request.config.getoption("--golden"):
        GOLDEN.mkdir(exist_ok=True)
        now.save(path, optimize=True)
    with Image.open(path) as stored:
        before = np.asarray(stored.convert("RGB"), float)
    assert before.shape == np.asarray(now).shape
    differ = np.abs(before - np.asarray(now, float)).max(2) > 60  # of 255: not only smoothing
    assert differ.mean() < 0.003


def test_a_user_sees_a_changed_figure(drawings):
    """The comparison above can fail."""
    figure = drawings["scale_response"]()
    figure.axes[0].lines[0].set_visible(False)
    figure.dpi = 60
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    now = np.asarray(Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB"), float)
    with Image.open(GOLDEN / "scale_response.png") as stored:
        before = np.asarray(stored.convert("RGB"), float)
    assert (np.abs(before - now).max(2) > 60).mean() > 0.003


LONG = "encoder.stages.{stage}.blocks.{block}.conv2.attention.selective"
OF_UNITS = set(figure_types.KINDS) - {"training", "impulse_response", "unit_diagram", "panel"}
MANY = {  # units, branches, names; the hardest at every venue, others on the narrowest and lowest
    "timm": (16, 2, "layer{stage}.{block}.conv2", ("eccv",)),
    "few": (3, 3, LONG, ("eccv", "slides")),
    "many": (33, 3, LONG, PAGES),
}


@pytest.fixture(
    scope="module", params=["timm", "few", pytest.param("many", marks=pytest.mark.long)]
)
def of_many(request, studies):
    units, branches, name, pages = MANY[request.param]
    blocks = max(1, units // 4)
    ds = figure_types.made_up(units=units, branches=branches, name=name, blocks=blocks)
    found = figure_types.of_other_units(studies, ds)
    return figure_types.drawings(found, ds, ds if branches == 3 else None), pages


@pytest.mark.parametrize("kind", sorted(OF_UNITS))
def test_many_units_and_long_names_fit(kind, of_many):
    drawings, pages = of_many
    for page in pages:
        with style.context(venue=page):
            assert not textboxes.problems(drawings[kind]()), page


@pytest.mark.long
def test_controls_of_more_units_than_fit_say_which_part_they_show(studies):
    ds = figure_types.made_up(units=33)
    found = figure_types.of_other_units(studies, ds)["controls"]
    with style.context(venue="slides"):
        figure = plot.control_shifts(found)
    shown = sum(bool(ax.get_title()) for ax in figure.axes)
    assert 0 < shown < 33
    assert f"Shown: {shown} of 33 units." in figure.caption
    assert figure.tables["shifts"].sizes["unit"] == 33
    last = str(ds["unit"].values[-1])
    figure = plot.control_shifts(found, units=[last])
    assert [ax.get_title() for ax in figure.axes] == [last]
    with pytest.raises(SkvizError, match="holds no unit 'none'"):
        plot.control_shifts(found, units=["none"])


def test_every_one_of_many_units_has_a_colour_of_its_own_in_order():
    figure = plot.scale_response(figure_types.made_up(units=33, channels=2))
    colours = [to_rgb(line.get_color()) for line in figure.axes[0].lines[:33]]
    assert len(set(colours)) == 33
    green = [colour[1] for colour in colours]
    assert green == sorted(green)  # viridis, which the bar above shows from first to last
    bar = next(ax for ax in figure.axes if ax.get_xlabel() == "unit, first to last")
    assert [tick.get_text() for tick in bar.get_xticklabels()][:: len(bar.get_xticks()) - 1] == [
        "1", "33"]  # fmt: skip


IN_ONE_AXES = [
    name for name in plot.__all__ if "ax" in inspect.signature(getattr(plot, name)).parameters
]


@pytest.mark.parametrize("kind", IN_ONE_AXES)
def test_ones_own_axes_are_drawn_into_and_the_rest_is_left_alone(kind, drawings):
    own = Figure(figsize=(13, 4), dpi=100, layout="constrained")
    FigureCanvasAgg(own)
    other, ax = own.subplots(1, 2, width_ratios=(1, 2))
    other.plot([0, 1])
    assert drawings[kind](ax=ax) is own
    assert ax.has_data() or ax.patches
    assert len(own.axes) in (2, 3)  # what colours mean
    assert len(other.lines) == 1
    assert not hasattr(own, "tables")
    assert not own.legends
    assert not textboxes.problems(own)


@pytest.mark.parametrize("width", ["column", 2.7, 3.6])
def test_what_stands_over_maps_fits_where_they_are_small(width, drawings):
    with style.context(width=width):
        figure = drawings["attribution_grid"]()
    assert not textboxes.problems(figure)
    assert any("% inside" in text.get_text() for text in textboxes.texts(figure))


def test_a_thousand_classes_are_drawn():
    ds = figure_types.made_up(images=1000, categories=1000, units=3, channels=2)
    figure = plot.class_curves(ds)
    assert not textboxes.problems(figure)
    assert all(len(line.get_xdata()) == 1000 for line in figure.axes[0].lines[:2])


def test_panels_have_their_axes_in_line_and_letters():
    ds = figure_types.made_up()
    figure = plot.panel([plot.channel_raster(ds), plot.expected_kernel(ds)], letters="ab")
    left, right = ([ax.get_window_extent() for ax in part.axes] for part in figure.subfigs)
    for edge in ("y0", "y1"):
        outermost = min if edge == "y0" else max
        ends = [outermost(getattr(box, edge) for box in part) for part in (left, right)]
        assert ends[0] == pytest.approx(ends[1], abs=0.5)
    assert {"a", "b"} <= {text.get_text() for text in textboxes.texts(figure)}
    assert {name[:2] for name in figure.tables} == {"a.", "b."}


@pytest.mark.parametrize("kind", ["attribution_grid", "faithfulness", "receptive_field"])
def test_figures_of_several_rows_can_be_part_of_a_panel(kind, drawings):
    with style.context(venue="eccv"):
        figure = plot.panel([drawings["expected_kernel"](), drawings[kind]()])
    assert not textboxes.problems(figure)
    assert {name[:2] for name in figure.tables} == {"a.", "b."}


def test_panels_refuse_what_they_cannot_align():
    ds = figure_types.made_up()
    one = plot.expected_kernel(ds)
    with pytest.raises(SkvizError, match="0 figures"):
        plot.panel([])
    with pytest.raises(SkvizError, match="letters 'a'"):
        plot.panel([one, one], letters="a")
    with pytest.raises(SkvizError, match=r"of skviz\.plot"):
        plot.panel([one, Figure()])
    with style.context(venue="slides"), pytest.raises(SkvizError, match="4 rows needs"):
        plot.panel([one] * 4, columns=1)
