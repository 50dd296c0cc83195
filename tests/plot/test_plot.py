import itertools
import subprocess
import sys
import warnings

import figure_types
import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from textboxes import texts

import skviz
from skviz import plot
from skviz.errors import SkvizError
from skviz.plot import style


def test_lines_differ_in_more_than_colour(ds):
    lines = [line for line in plot.scale_response(ds).axes[0].lines if line.get_marker() != "None"]
    for one, other in itertools.combinations(lines, 2):
        assert one.get_linestyle() != other.get_linestyle()
        assert one.get_marker() != other.get_marker()


@pytest.mark.parametrize(("units", "alpha"), [(style.MANY, 0.2), (style.MANY + 1, 0.08)])
def test_bands_of_many_units_are_fainter(units, alpha):
    lines = plot.scale_response(figure_types.made_up(units=units, channels=2)).axes[0]
    assert {band.get_alpha() for band in lines.collections} == {alpha}


def test_thumbnails_that_stand_on_each_other_have_upright_names_beside_them(ds):
    with style.context(venue="slides"):
        figure = plot.three_scales(ds)
    beside = [ax.yaxis.label for ax in figure.axes if ax.images]
    assert [label.get_text() for label in beside] == ["1×", "1.5×", "2×"]
    assert {label.get_rotation() for label in beside} == {0}


def test_crowded_scales_do_not_crowd_the_axis(ds):
    crowded = ds.assign_coords(scale=[1.0, 1.02, 1.04, 2.0])
    lines, thumbnails = plot.scale_response(crowded).axes
    assert [tick.get_text() for tick in thumbnails.get_xticklabels()] == ["1", "2"]
    np.testing.assert_allclose(lines.lines[0].get_xdata(), [1.0, 1.02, 1.04, 2.0])


def test_data_without_pictures_are_no_riddle(ds):
    without = ds.drop_vars("thumbnail")
    for kind in (plot.scale_response, plot.three_scales):
        with pytest.raises(SkvizError, match="the data hold no pictures of the scenes"):
            kind(without)
    plot.branch_heatmap(without)


def test_one_axes_has_room_for_one_unit(ds):
    ax = Figure().subplots()
    with pytest.raises(SkvizError, match="one axes has room for one unit"):
        plot.class_curves(ds, units=["stage1.0.sk", "stage2.0.sk"], ax=ax)


def test_units_and_networks_are_called_what_the_page_calls_them(ds):
    unit, other = (str(name) for name in ds["unit"].values)
    with style.context(labels={unit: "first"}, name="SKNet-2"):
        figure = plot.scale_response(ds)
        with style.context(labels={other: "second"}):
            both = plot.branch_heatmap(ds)
        whole = plot.three_scales(ds, unit=unit)
    for drawn in (figure, figure.again()):  # on another page too
        named = [line.get_label() for line in drawn.axes[0].lines]
        assert {"first", other} <= set(named)
        assert unit not in named
        assert "network SKNet-2" in drawn.caption
        assert unit in drawn.tables["response"]["unit"]  # where a reviewer looks for it
    assert [t.get_text() for t in both.axes[0].get_yticklabels()] == ["first", "second"]
    assert "each channel of first for this scene" in whole.caption
    assert unit not in plot.panel([figure, both]).caption
    with (
        style.context(labels={unit: "same", other: "same"}),
        pytest.raises(SkvizError, match="several units the same"),
    ):
        plot.scale_response(ds)
    for wrong in ({"labels": ["first"]}, {"labels": {unit: 1}}, {"name": 3}, {"width": True}):
        with pytest.raises(SkvizError), style.context(**wrong):
            pass


def test_three_scales_shows_the_channels_of_the_larger_kernel(ds):
    figure = plot.three_scales(ds, unit="stage2.0.sk", example=2)
    profile = figure.axes[3]
    weight = skviz.stats.channels(ds, "stage2.0.sk").isel(image=2, branch=2)
    for line, scale in zip(profile.lines, (1.0, 1.5, 2.0), strict=True):
        np.testing.assert_allclose(line.get_ydata(), weight.sel(scale=scale))
    assert "7×7" in profile.get_ylabel()
    np.testing.assert_array_equal(
        figure.axes[1].images[0].get_array(), ds["thumbnail"].isel(example=2).sel(scale=1.5)
    )


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
    np.testing.assert_allclose(
        images[1].get_array()[0], mean.sel(unit="stage1.0.sk")[:, 1] - 1 / 2, atol=1e-7
    )
    np.testing.assert_allclose(
        images[1].get_array()[1], mean.sel(unit="stage2.0.sk")[:, 1] - 1 / 3, atol=1e-7
    )
    assert np.ma.getmaskarray(np.ma.masked_invalid(images[2].get_array()))[0].all()


def test_the_users_settings_neither_matter_nor_change(ds):
    with mpl.rc_context({"font.size": 30, "lines.linewidth": 9}):
        figure = plot.scale_response(ds)
        assert mpl.rcParams["font.size"] == 30
    assert max(text.get_fontsize() for text in texts(figure)) < 9


def test_expected_kernels_are_sums_of_weight_times_kernel(ds):
    table = plot.expected_kernel(ds, scales=[0.5, 2.0]).tables["expected_kernel"]
    weights = ds["weight"].fillna(0)
    by_hand = (weights * ds["kernel"].fillna(0)).sum("branch").mean("image").sel(scale=[0.5, 2.0])
    np.testing.assert_allclose(table["estimate"].transpose(*by_hand.dims), by_hand)
    np.testing.assert_allclose(table["equal"], [(3 + 5) / 2, (3 + 5 + 7) / 3])


def test_class_curves_are_means_by_class():
    ds = figure_types.made_up(images=12, categories=4, units=3)
    axes = plot.class_curves(ds).axes
    assert len(axes) == 3
    weight = ds["weight"].sel(unit="stage1.1.sk", scale=1.5)
    difference = (weight.isel(branch=1) - weight.isel(branch=0)).values  # (image,)
    by_hand = difference.reshape(3, 4).mean(0)  # image i is of category i % 4
    np.testing.assert_allclose(axes[1].lines[1].get_ydata(), by_hand)
    grown = int((by_hand > axes[1].lines[0].get_ydata()).sum())
    assert axes[1].get_title(loc="left") == f"stage1.1.sk: grows from 1 to 1.5 in {grown} of 4"


def test_raster_rows_are_channels_sorted_by_weight():
    ds = figure_types.made_up(units=3, channels=9)
    figure = plot.channel_raster(ds, units=["stage1.1.sk"])
    image = figure.axes[0].images[0]
    weight = (
        skviz.stats.channels(ds, "stage1.1.sk").isel(branch=1).mean("image").values
    )  # (scale, channel)
    order = np.argsort(-weight.mean(0))
    np.testing.assert_allclose(image.get_array(), weight.T[order] - 1 / 2)
    assert image.norm.vcenter == 0


def test_points_of_the_triangle_are_where_their_weights_say():
    from skviz.plot.triangle import CORNERS, place

    np.testing.assert_allclose(place(np.eye(3), 0.0), CORNERS)
    np.testing.assert_allclose(place(np.full(3, 1 / 3), 0.2), CORNERS.mean(0))
    np.testing.assert_allclose(place(np.array([0.6, 0.2, 0.2]), 0.2), CORNERS[0], atol=1e-12)
    ds = figure_types.made_up(branches=3, units=2)
    ways = [line for line in plot.ternary(ds).axes[0].lines if line.get_label()[0] != "_"]
    height = ways[1].get_ydata()
    third = ds["weight"].mean("image").isel(unit=1, branch=2).values  # (scale,)
    # The height above the side opposite to a corner is that branch's weight, up to one factor.
    np.testing.assert_allclose(np.diff(height) / np.ptp(height), np.diff(third) / np.ptp(third))


def test_triangles_need_three_branches():
    with pytest.raises(SkvizError, match="three branches"):
        plot.ternary(figure_types.made_up())


def test_empty_and_broken_sweeps_are_refused():
    ds = figure_types.made_up()
    broken = ds.copy(deep=True)
    broken["weight"][0, 0, 1, 0] = np.nan
    for function in (plot.scale_response, plot.branch_heatmap, plot.expected_kernel):
        with pytest.raises(SkvizError, match="no image"):
            function(ds.isel(image=slice(0)))
        with pytest.raises(SkvizError, match=r"unit 'stage1\.1\.sk' has weights that are NaN"):
            function(broken)


def test_one_scale_is_drawn_where_it_can_be():
    ds = figure_types.made_up().sel(scale=[1.0])
    with pytest.raises(SkvizError, match="two scales"):
        plot.scale_response(ds)
    with pytest.raises(SkvizError, match=r"scale 1\.5"):
        plot.class_curves(ds)
    assert plot.branch_heatmap(ds).axes[0].images[0].get_array().shape == (6, 1)
    assert [line.get_label() for line in plot.expected_kernel(ds).axes[0].lines] == ["scale 1"]
    assert plot.channel_raster(ds).axes[0].images[0].get_array().shape == (12, 1)


def test_few_images_have_a_mean_and_no_interval_and_the_caption_says_so():
    ds = figure_types.made_up()
    for count in (1, 4):
        figure = plot.scale_response(ds.isel(image=slice(count)))
        assert not figure.axes[0].collections[0].get_paths()  # no band
        assert np.isfinite(figure.axes[0].lines[0].get_ydata()).all()
        assert "no interval for fewer than 5" in skviz.caption(figure)
        assert "95 %" not in skviz.caption(figure)


def test_branches_stay_apart_without_colour_vision():
    """Machado et al. 2009, as the package colorspacious has it; distances in CAM02-UCS."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an escape in a docstring of theirs
        import colorspacious

    looks = style.series(len(style.COLOURS))
    rgb = np.array([to_rgb(look["color"]) for look in looks])
    grey = np.repeat(colorspacious.cspace_convert(rgb, "sRGB1", "CIELab")[:, :1], 3, 1)
    seen = {"greyscale": grey * [1, 0, 0]}
    for kind in ("deuteranomaly", "protanomaly"):
        space = {"name": "sRGB1+CVD", "cvd_type": kind, "severity": 100}
        found = np.clip(colorspacious.cspace_convert(rgb, space, "sRGB1"), 0, 1)
        seen[kind] = colorspacious.cspace_convert(found, "sRGB1", "CAM02-UCS")
    for kind, colours in seen.items():
        for one, other in itertools.combinations(range(4), 2):  # more branches are not known
            differ = [k for k in ("linestyle", "marker") if looks[one][k] != looks[other][k]]
            distance = np.linalg.norm(colours[one] - colours[other])
            assert distance > 8 or len(differ) == 2, (kind, one, other)
            if kind != "greyscale":
                assert distance > 8, (kind, one, other)


def test_pyplot_is_never_imported():
    code = "import sys, skviz, skviz.cli; skviz.plot; skviz.save_figure; skviz.sweep; " + (
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
