import itertools
import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from skviz import plot, stats
from skviz.errors import SkvizError

FIGURES = [getattr(plot, name) for name in plot.__all__]


def texts(figure: Figure) -> list[Text]:
    """Every piece of text that is drawn."""
    figure.canvas.draw()
    beyond = set()  # labels of ticks outside the axis limits exist but are not drawn
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            beyond |= {t.label1 for t in axis.get_major_ticks() if not low <= t.get_loc() <= high}
    return [
        text
        for text in figure.findobj(Text)
        if text.get_visible()
        and text.get_text().strip()
        and text not in beyond
        and np.isfinite(text.get_window_extent().x0)
    ]


@pytest.fixture(params=FIGURES, ids=plot.__all__)
def figure(request, ds) -> Figure:
    return request.param(ds)


def test_text_is_inside_the_page_and_large_enough(figure):
    page = figure.bbox
    for text in texts(figure):
        box = text.get_window_extent()
        assert text.get_fontsize() >= 6, text.get_text()
        assert box.x0 >= page.x0 - 1, text.get_text()
        assert box.x1 <= page.x1 + 1, text.get_text()
        assert box.y0 >= page.y0 - 1, text.get_text()
        assert box.y1 <= page.y1 + 1, text.get_text()


def test_no_two_texts_overlap(figure):
    shown = [t for t in texts(figure) if t.get_text()]
    for one, other in itertools.combinations(shown, 2):
        a, b = one.get_window_extent(), other.get_window_extent()
        wide = min(a.x1, b.x1) - max(a.x0, b.x0)
        high = min(a.y1, b.y1) - max(a.y0, b.y0)
        assert wide <= 1 or high <= 1, (one.get_text(), other.get_text())


def test_fits_a_column(figure):
    assert figure.get_size_inches()[0] == pytest.approx(3.25)


def test_scale_response_draws_the_means_and_intervals(ds):
    ax = plot.scale_response(ds).axes[0]
    found = stats.interval(stats.attention_difference(ds))
    lines = {line.get_label(): line for line in ax.lines}
    for unit in ds["unit"].values:
        here = found.sel(unit=unit)
        np.testing.assert_allclose(lines[unit].get_ydata(), here["estimate"])
        np.testing.assert_allclose(lines[unit].get_xdata(), ds["scale"])
    band = ax.collections[0].get_paths()[0].vertices[:, 1]
    first = found.isel(unit=0)
    assert band.min() == pytest.approx(float(first["low"].min()))
    assert band.max() == pytest.approx(float(first["high"].max()))


def test_lines_differ_in_more_than_colour(ds):
    lines = [line for line in plot.scale_response(ds).axes[0].lines if line.get_marker() != "None"]
    for one, other in itertools.combinations(lines, 2):
        assert one.get_linestyle() != other.get_linestyle()
        assert one.get_marker() != other.get_marker()


def test_crowded_scales_do_not_crowd_the_axis(ds):
    crowded = ds.to_dataset().assign_coords(scale=[1.0, 1.02, 1.04, 2.0])
    lines, thumbnails = plot.scale_response(crowded).axes
    assert [tick.get_text() for tick in thumbnails.get_xticklabels()] == ["1", "2"]
    np.testing.assert_allclose(lines.lines[0].get_xdata(), [1.0, 1.02, 1.04, 2.0])


def test_scale_response_draws_into_given_axes(ds):
    own = Figure()
    FigureCanvasAgg(own)
    ax = own.subplots()
    drawn = plot.scale_response(ds, ax=ax)
    assert drawn == [ax]
    assert own.axes == [ax]


def test_three_scales_shows_the_channels_of_the_larger_kernel(ds):
    figure = plot.three_scales(ds, unit="stage2.0.sk", example=2)
    profile = figure.axes[3]
    weight = ds["stage2.0.sk"]["weight"].isel(image=2, branch=2)
    for line, scale in zip(profile.lines, (1.0, 1.5, 2.0), strict=True):
        np.testing.assert_allclose(line.get_ydata(), weight.sel(scale=scale))
    assert "7×7" in profile.get_ylabel()
    np.testing.assert_array_equal(
        figure.axes[1].images[0].get_array(), ds["thumbnail"].isel(example=2).sel(scale=1.5)
    )


def test_three_scales_has_a_bar_for_every_unit_and_scale(ds):
    bars = plot.three_scales(ds).axes[4]
    mean = stats.attention_difference(ds).mean("image").sel(scale=[1.0, 1.5, 2.0])
    heights = np.array([bar.get_height() for bar in bars.patches]).reshape(3, 2)
    np.testing.assert_allclose(heights, mean.transpose("scale", "unit"))


def test_three_scales_names_what_is_missing(ds):
    with pytest.raises(SkvizError, match=r"scale 3.*0\.5, 1\.0"):
        plot.three_scales(ds, scales=(1.0, 3.0))
    with pytest.raises(SkvizError, match=r"unit 'stage7'"):
        plot.three_scales(ds, unit="stage7")


def test_heatmap_shares_one_scale_centred_on_equal_weights(ds):
    figure = plot.branch_heatmap(ds)
    images = [ax.images[0] for ax in figure.axes[:3]]
    assert len({image.get_clim() for image in images}) == 1
    low, high = images[0].get_clim()
    assert low == -high
    mean = ds["weight"].mean("image", skipna=False)
    np.testing.assert_allclose(images[1].get_array()[0], mean.sel(unit="stage1.0.sk")[:, 1] - 1 / 2)
    np.testing.assert_allclose(images[1].get_array()[1], mean.sel(unit="stage2.0.sk")[:, 1] - 1 / 3)
    assert np.ma.getmaskarray(np.ma.masked_invalid(images[2].get_array()))[0].all()


def test_the_users_settings_neither_matter_nor_change(ds):
    with mpl.rc_context({"font.size": 30, "lines.linewidth": 9}):
        figure = plot.scale_response(ds)
        assert mpl.rcParams["font.size"] == 30
    assert max(text.get_fontsize() for text in texts(figure)) < 9


def test_pyplot_is_never_imported():
    code = "import sys, skviz, skviz.cli; skviz.plot; skviz.save_figure; skviz.sweep; " + (
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
