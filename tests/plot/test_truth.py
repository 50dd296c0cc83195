"""What would have to happen for a figure to be wrong and look right."""

import figure_types
import numpy as np
import pytest
import scipy
import xarray as xr
from matplotlib.colors import same_color

import skviz
from skviz import plot, stats
from skviz.errors import SkvizError

NAMES = ["object", "alike", "other", "noisy"]


def controls(images: int = 24) -> xr.Dataset:
    """A claim, the same again within 0.001, one of another size, and one that is only noise."""
    rng = np.random.default_rng(3)
    claim = 0.2 + 0.02 * rng.normal(size=(images, 2))
    shifts = {
        "object": claim,
        "alike": claim + 0.001 * rng.normal(size=(images, 2)),
        "other": claim / 2,
        "noisy": claim + 0.3 * rng.normal(size=(images, 2)),
    }
    shift = np.stack(list(shifts.values()))  # (control, image, unit)
    both = np.stack([np.zeros_like(shift), shift], 2)
    return xr.Dataset(
        {
            "shift": (("control", "image", "unit"), shift),
            "attention_difference": (("control", "image", "scale", "unit"), both),
        },
        coords={"control": NAMES, "image": [f"i{i}" for i in range(images)], "scale": [0.5, 2.0],
                "unit": ["a", "b"]},
    )  # fmt: skip


def independent_verdict(excess: np.ndarray, claim: float) -> str:
    """Say it again, of the excesses (image, unit) of the unit in the first column."""

    def holm(first: float, second: float) -> float:
        return min(1, 2 * first) if first <= second else max(first, min(1, 2 * second))

    p = [scipy.stats.wilcoxon(column).pvalue if column.any() else 1.0 for column in excess.T]
    margin = min(0.02, 0.25 * abs(claim))
    same = []
    for column in excess.T:
        sides = (
            scipy.stats.ttest_1samp(column + margin, 0, alternative="greater").pvalue,
            scipy.stats.ttest_1samp(column - margin, 0, alternative="less").pvalue,
        )
        same.append(max(sides))
    if holm(*same) < 0.05:
        return "same"
    return "differs" if holm(*p) < 0.05 else "undecided"


def test_hollow_marks_are_those_that_could_not_be_told_from_the_claim():
    ds = controls()
    figure = plot.control_shifts(ds)
    seen = set()
    for column, ax in enumerate(figure.axes[:2]):
        order = [column, 1 - column]
        claim = ds["shift"].sel(control="object").values[:, order]
        drawn = {round(float(line.get_ydata()[0])): line for line in ax.lines
                 if line.get_marker() != "None"}  # fmt: skip
        for row, name in enumerate(NAMES[1:], 1):
            control = ds["shift"].sel(control=name).values[:, order]
            verdict = independent_verdict(claim - control, claim[:, 0].mean())
            hollow = same_color(drawn[row].get_markerfacecolor(), "white")
            assert hollow == (verdict != "differs"), name
            assert (drawn[row].get_marker() == "D") == (verdict == "same"), name
            assert drawn[row].get_xdata()[0] == pytest.approx(control[:, 0].mean())
            seen.add((name, verdict))
        assert not same_color(drawn[0].get_markerfacecolor(), "white")  # the claim itself
    assert {("alike", "same"), ("other", "differs"), ("noisy", "undecided")} <= seen
    assert "±0.02 (TOST)" in figure.caption


def test_the_hollow_end_of_a_way_is_the_smallest_scale():
    ds = figure_types.made_up(branches=3, units=2)
    for data in (ds, ds.isel(scale=[3, 1, 0, 2])):
        lines = plot.ternary(data).axes[0].lines
        ways = [line for line in lines if line.get_label()[0] != "_"]
        hollow = [line for line in lines if same_color(line.get_markerfacecolor(), "white")]
        assert len(ways) == len(hollow) == 2
        for unit, (way, mark) in enumerate(zip(ways, hollow, strict=True)):
            height = ds["weight"].sel(scale=0.5)[:, unit, 2].mean() * np.sqrt(3) / 2
            assert mark.get_ydata()[0] == pytest.approx(float(height))
            assert mark.get_ydata()[0] == way.get_ydata()[0]
            assert mark.get_color() == way.get_color()


def skipped(ds: xr.Dataset) -> xr.Dataset:
    """The same sweep, had its second image been unreadable."""
    broken = ds.copy(deep=True)
    problem = np.where(np.arange(ds.sizes["image"]) == 1, "not an image", "")
    broken["weight"][1] = np.nan
    broken["channel_weight"][1] = np.nan
    return broken.assign(problem=("image", problem))


@pytest.mark.parametrize(
    "draw",
    [plot.scale_response, plot.branch_heatmap, plot.channel_raster, plot.class_curves,
     plot.expected_kernel, plot.three_scales, plot.ternary],
)  # fmt: skip
def test_an_image_that_was_skipped_is_neither_drawn_nor_counted(draw):
    ds = figure_types.made_up(branches=3, units=3)
    kept = [0, *range(2, 12)]
    without = draw(ds.isel(image=kept))
    figure = draw(skipped(ds))
    assert "n = 11 scenes" in figure.caption
    for name, table in without.tables.items():
        xr.testing.assert_allclose(figure.tables[name], table)
    titles = [ax.get_title(loc=side) for ax in figure.axes for side in ("left", "center")]
    assert not any("12 images" in title for title in titles)


def test_the_picture_is_that_of_the_image_whose_channels_are_drawn():
    ds = figure_types.made_up()
    named = ds.assign_coords(example=["made-up/0", "made-up/1"])
    later = named.isel(image=[1, 5, 0, 7, 8])
    figure = plot.three_scales(later, example=0, unit="stage2.0.sk")
    weight = skviz.stats.channels(ds, "stage2.0.sk").isel(image=0, branch=1).sel(scale=1.5)
    np.testing.assert_allclose(figure.tables["channels"]["weight"].sel(scale=1.5), weight)
    assert "made-up/0" in figure.axes[3].get_title(loc="left")
    with pytest.raises(SkvizError, match=r"'made-up/0', which the data no longer hold"):
        plot.three_scales(named.isel(image=slice(2, None)))
    with pytest.raises(SkvizError, match="2 scenes were kept as pictures, not 2"):
        plot.scale_response(ds, example=2)


def test_scales_are_drawn_in_order_whatever_order_they_are_in():
    ds = figure_types.made_up()
    for draw in (plot.scale_response, plot.branch_heatmap, plot.expected_kernel):
        for name, table in draw(ds.isel(scale=[2, 0, 3, 1])).tables.items():
            xr.testing.assert_allclose(table, draw(ds).tables[name])


def test_a_unit_that_never_moves_is_drawn_at_zero():
    ds = figure_types.made_up(units=2)
    root = ds.copy(deep=True)
    root["weight"][:, :, 0] = 0.5
    figure = plot.scale_response(root)
    np.testing.assert_array_equal(figure.axes[0].lines[0].get_ydata(), 0)
    still = controls()
    still["shift"][:, :, 0] = 0
    np.testing.assert_array_equal(plot.control_shifts(still).tables["shifts"]["estimate"][:, 0], 0)


def with_kernels(*kernels: float) -> xr.Dataset:
    ds = figure_types.made_up(branches=len(kernels), units=2)
    return ds.assign_coords(kernel=(("unit", "branch"), [kernels] * 2))


@pytest.mark.parametrize(
    ("kernels", "problem"),
    [((np.nan, np.nan), "unknown"), ((3, 5, np.nan), "unknown"), ((5, 5), "largest"),
     ((3, 5, 5), "largest")],
)  # fmt: skip
def test_no_branch_is_called_the_largest_kernel_that_is_not(kernels, problem):
    ds = with_kernels(*kernels)
    for draw in (plot.scale_response, plot.channel_raster, plot.class_curves):
        with pytest.raises(SkvizError, match=problem):
            draw(ds)
    assert plot.branch_heatmap(ds).axes[0].get_title()[:6] in ("branch", "3×3")


def test_branches_of_equal_kernels_keep_apart_in_titles():
    titles = [ax.get_title() for ax in plot.branch_heatmap(with_kernels(3, 5, 5)).axes[:3]]
    assert titles == ["3×3", "branch 1 (5×5)", "branch 2 (5×5)"]
    corners = {text.get_text() for text in plot.ternary(with_kernels(5, 5, 5)).axes[0].texts}
    assert {"branch 0 (5×5)", "branch 1 (5×5)", "branch 2 (5×5)"} <= corners


def test_units_of_two_and_three_branches_share_what_colours_mean(ds):
    figure = plot.channel_raster(ds)
    norms = {(ax.images[0].norm.vmin, ax.images[0].norm.vmax) for ax in figure.axes[:2]}
    assert len(norms) == 1
    for ax, unit, branches in zip(figure.axes[:2], ds["unit"].values, (2, 3), strict=True):
        weight = skviz.stats.channels(ds, unit).isel(branch=branches - 1).mean("image").values
        drawn = ax.images[0].get_array()
        kept = np.sort(weight[np.isfinite(weight)])
        np.testing.assert_allclose(np.sort(drawn, axis=None), kept - 1 / branches, atol=1e-6)


def effects() -> xr.Dataset:
    rng = np.random.default_rng(1)
    dims, shape = ("intervention", "unit", "image", "scale"), (2, 3, 8, 2)
    probability = rng.uniform(size=shape)
    return xr.Dataset(
        {"category_probability": (dims, probability), "correct": (dims, probability > 0.5)},
        coords={"intervention": ["natural", "3×3"], "unit": ["a", "b", "all"],
                "image": list("abcdefgh"), "scale": [0.5, 2.0]},
    )  # fmt: skip


def test_what_is_lost_is_lost_against_the_natural_selection():
    ds = effects()
    natural, forced = (ds["category_probability"].sel(intervention=i) for i in ("natural", "3×3"))
    lost = (natural - forced).mean("image").transpose("unit", "scale")
    for data in (ds, ds.isel(intervention=[1, 0]), ds.isel(unit=[2, 0, 1])):
        table = plot.intervention_effect(data).tables["lost"].sel(intervention="3×3")
        drawn = table["estimate"].sel(unit=lost["unit"]).transpose("unit", "scale")
        np.testing.assert_allclose(drawn, lost)
    with pytest.raises(SkvizError, match="expected the intervention 'natural'"):
        plot.intervention_effect(ds.isel(intervention=[1]))
    for missing in ("correct", "category_probability"):
        with pytest.raises(SkvizError, match="does not know the categories"):
            plot.intervention_effect(ds.drop_vars(missing))
    with pytest.raises(SkvizError, match="no unit 'all'"):
        plot.intervention_effect(ds.isel(unit=[0, 1]))


def test_captions_say_how_the_interval_was_made():
    ds = effects()
    caption = skviz.caption(plot.intervention_effect(ds))
    assert "Wilson" in caption.split("Right:")[0]  # shares on the left, means on the right
    assert "bootstrap-t" in caption.split("Right:")[1]
    sweep = figure_types.made_up()
    found = stats.estimate(stats.attention_difference(sweep))
    for draw in (plot.scale_response, plot.expected_kernel, plot.three_scales):
        assert found.attrs["method"] in skviz.caption(draw(sweep))
    twice = sweep.assign_coords(image=[f"made-up/{i // 2}" for i in range(12)])
    assert "over 6 clusters" in skviz.caption(plot.scale_response(twice))
    one = plot.three_scales(sweep.isel(image=[0]))
    assert "no interval" in one.caption
    assert "95 %" not in one.caption
    assert "n = 1 scene," in one.caption


def test_a_class_of_one_scale_gains_nothing():
    ds = figure_types.made_up()
    assert plot.class_curves(ds, scales=[1.0]).axes[0].get_title(loc="left") == "stage1.0.sk"
    title = plot.class_curves(ds, scales=[2.0, 1.0]).axes[2].get_title(loc="left")
    assert title == "stage3.1.sk: grows from 2 to 1 in 0 of 4"
