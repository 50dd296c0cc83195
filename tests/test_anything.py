"""What holds for anything that can be given, not only for what somebody thought of.

Hypothesis looks for the input for which it does not hold, and makes it as small as it can. The same
inputs are tried each time; ``HYPOTHESIS_PROFILE=wide`` tries many more, and other ones.
"""

import contextlib
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
import scipy
import torch
import xarray as xr
from hypothesis import HealthCheck, assume, given, settings, strategies as st
from hypothesis.extra.numpy import arrays
from torch import nn

import skviz
from skviz import stats
from skviz.models.nn import SKAttention
from skviz.scenes.cutouts import Objects
from skviz.scenes.drawing import resample
from skviz.studies.disk import Disk

QUIET = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}
settings.register_profile("same", derandomize=True, max_examples=20, **QUIET)
settings.register_profile("wide", max_examples=1000, **QUIET)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

shares = st.floats(0, 1, width=32)


# Scenes.


def object_of(rgba: np.ndarray) -> Objects:
    """An object as the shipped ones are, with pixels of its own."""
    return Objects(torch.from_numpy(rgba).permute(2, 0, 1)[None], ("thing",), ("own",))


@given(
    colour=st.tuples(*[st.integers(0, 255)] * 3),
    grey=shares,
    scale=st.floats(0.3, 1.9),
    offset=st.tuples(st.floats(-0.2, 0.2), st.floats(-0.2, 0.2)),
)
def test_a_square_is_as_large_and_where_it_is_said_to_be(colour, grey, scale, offset):
    """Its area, centre and colour are known, and nothing outside its box changes."""
    canvas = 64
    rgba = np.full((16, 16, 4), (*colour, 255), np.uint8)
    behind = torch.full((1, 3, canvas, canvas), float(grey))
    scenes = skviz.place(object_of(rgba), canvas=canvas, position=offset, backgrounds=behind)
    side = scale * 0.5 * canvas
    half = side / 2
    centre = [canvas / 2 + part * canvas for part in offset]
    assume(all(half + 2 < c < canvas - half - 2 for c in centre))
    image, mask = scenes.render(scale)[0], scenes.mask(scale)[0]
    assert float(mask.sum()) == pytest.approx(side**2, rel=0.02)
    places = torch.arange(canvas) + 0.5
    for axis, c in zip((1, 0), centre, strict=True):
        along = mask.sum(axis)
        assert float((along * places).sum() / along.sum()) == pytest.approx(c, abs=0.05)
    reach = int(2 * max(1, side / 16)) + 1  # of the cubic filter, in canvas pixels
    inside = [slice(int(c - half) + reach + 1, int(c + half) - reach) for c in centre]
    middle = image[:, inside[0], inside[1]]
    wanted = (torch.tensor(colour) / 255)[:, None, None].expand_as(middle)
    torch.testing.assert_close(middle, wanted, atol=1.01 / 255, rtol=0)
    outside = torch.ones(canvas, canvas, dtype=torch.bool)
    outside[tuple(slice(max(0, int(c - half) - reach), int(c + half) + reach) for c in centre)] = (
        False
    )
    still = behind[0][:, outside]
    torch.testing.assert_close(image[:, outside], still, atol=1.01 / 255, rtol=0)


@given(
    picture=arrays(np.float32, (1, 1, 9, 7), elements=shares),
    canvas=st.integers(2, 40),
    side=st.floats(1, 60),
    centre=st.tuples(st.floats(-5, 40), st.floats(-5, 40)),
)
def test_a_picture_drawn_has_the_values_of_constants_and_shifts_by_whole_pixels(
    picture, canvas, side, centre
):
    at = torch.tensor([centre], dtype=torch.float64)
    size = torch.tensor([side], dtype=torch.float64)
    plain = torch.from_numpy(picture).double()
    drawn = resample(plain, canvas, at, size, edge=True)
    level = resample(torch.full_like(plain, 0.3), canvas, at, size, edge=True)
    torch.testing.assert_close(level, torch.full_like(level, 0.3))  # weights have sum one
    twice = resample(2 * plain + 0.5, canvas, at, size, edge=True)
    torch.testing.assert_close(twice, 2 * drawn + 0.5)  # and it is linear
    moved = resample(plain, canvas, at + 1, size, edge=True)
    torch.testing.assert_close(moved[..., 1:, 1:], drawn[..., :-1, :-1])


@given(rows=st.lists(st.integers(-5, 4), min_size=1, max_size=7), cut=st.slices(5))
def test_choosing_scenes_is_choosing_rows(rows, cut):
    few = skviz.objects(family="noto")[:5]
    scenes = skviz.place(few, canvas=24)
    whole = scenes.render(0.8)
    torch.testing.assert_close(scenes[rows].render(0.8), whole[rows], rtol=0, atol=1.01 / 255)
    assert list(scenes[rows].ids) == [scenes.ids[row] for row in rows]
    chosen = list(range(5))[cut]
    assume(chosen)
    assert list(scenes[cut].ids) == [scenes.ids[row] for row in chosen]
    assert list(scenes[cut][-1].ids) == [scenes.ids[chosen[-1]]]


# Kernels.


class Chosen(nn.Module):
    """A unit whose branches are anything, in the middle of a network."""

    def __init__(self, branches: list[list[tuple[int, int]]]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 1)
        self.branches = nn.ModuleList(
            nn.Sequential(
                *(nn.Conv2d(4, 4, k, padding=d * (k // 2), dilation=d) for k, d in convolutions)
            )
            for convolutions in branches
        )
        self.fc = nn.Linear(4, 4 * len(branches))
        self.head = nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        found = torch.stack([branch(x) for branch in self.branches], 1)  # (N, M, C, H, W)
        weights = self.fc(found.sum(1).mean((2, 3))).view(len(x), len(self.branches), -1)
        mixed = (found * weights.softmax(1)[..., None, None]).sum(1)
        return self.head(mixed.mean((2, 3)))


convolution = st.tuples(st.sampled_from([1, 3, 5, 7]), st.integers(1, 3))


@settings(max_examples=max(12, settings().max_examples // 10))
@given(
    branches=st.lists(st.lists(convolution, min_size=1, max_size=3), min_size=2, max_size=3),
    seed=st.integers(0, 99),
)
def test_a_branch_has_the_kernel_that_reaches_its_output(branches, seed):
    """Independently: which pixels have a gradient, in float64."""
    torch.manual_seed(seed)
    model = Chosen(branches).eval()
    (unit,) = skviz.find_units(model, torch.rand(2, 3, 48, 48))
    reached = []
    for branch in model.double().branches:
        x = torch.rand(1, 4, 81, 81, dtype=torch.float64, requires_grad=True)
        branch(x)[0, :, 40, 40].sum().backward()
        rows = x.grad.abs().sum((0, 1, 3)).nonzero()
        reached.append(int(rows.max() - rows.min()) + 1)
    assert list(unit.kernels) == reached


@settings(max_examples=max(10, settings().max_examples // 10))
@given(
    kernels=st.lists(st.sampled_from([1, 3, 5, 7, 9]), min_size=2, max_size=4, unique=True),
    channels=st.integers(2, 9),
    images=st.integers(1, 3),
)
def test_what_is_recorded_is_what_is_forced_back(kernels, channels, images):
    """Forcing each branch and mixing by the recorded weights gives the output of the unit."""
    torch.manual_seed(0)
    unit = SKAttention(channels, kernels=kernels, reduction=1, L=4).eval()
    x = torch.rand(images, channels, 12, 12)
    with torch.inference_mode():
        (found,) = units = skviz.find_units(unit, x)
        with skviz.record(unit, units, reduce=None) as recording:
            natural = unit(x)
        weight = recording.weights[found.name]
        parts = []
        for branch in range(len(kernels)):
            with skviz.intervene(unit, {found.name: skviz.force(branch=branch)}, units=units):
                parts.append(unit(x))
    mixed = (torch.stack(parts, 1) * weight[..., None, None]).sum(1)
    torch.testing.assert_close(mixed, natural, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(weight.sum(1), torch.ones(images, channels))


# Stores.


@settings(max_examples=max(8, settings().max_examples // 50))
@given(
    batch=st.integers(1, 6),
    chunk=st.integers(1, 6),
    stops=st.lists(st.integers(0, 3), max_size=3),
    lost=st.integers(0, 4),
)
def test_a_study_stopped_anywhere_ends_as_if_it_had_not_been(
    small_net, few, monkeypatch, batch, chunk, stops, lost
):
    scenes = skviz.place(few, canvas=32)
    options = {
        "scales": [0.5, 1.0], "batch": batch, "chunk": chunk, "channels": True,
        "device": "cpu", "progress": False,
    }  # fmt: skip
    write = Disk.write

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s.zarr"
        for stop in stops:
            done: list[int] = []

            def until(disk, task, *rest, stop=stop, done=done):
                if len(done) == stop:
                    raise KeyboardInterrupt
                done.append(task)
                write(disk, task, *rest)

            monkeypatch.setattr(Disk, "write", until)
            with contextlib.suppress(KeyboardInterrupt):
                skviz.sweep(small_net, scenes, store=path, **options)
        monkeypatch.setattr(Disk, "write", write)
        marks = sorted(path.glob("done/c/*"))
        if marks:
            marks[lost % len(marks)].unlink()  # as if the machine had been switched off there
        found = skviz.sweep(small_net, scenes, store=path, **options).load()
    plain = skviz.sweep(small_net, scenes, **options)
    for name in plain.data_vars:
        np.testing.assert_array_equal(found[name].values, plain[name].values, err_msg=str(name))


# Statistics.


@st.composite
def sweeps(draw) -> xr.Dataset:
    """A sweep with any weights that have sum one, of units with other kernels."""
    images, scales, units = (draw(st.integers(2, n)) for n in (8, 3, 3))
    raw = draw(arrays(np.float64, (images, scales, units, 3), elements=st.floats(-8, 8)))
    kernel = draw(
        st.lists(st.permutations([1, 3, 5, 7]).map(lambda ks: ks[:3]), min_size=units,
                 max_size=units)
    )  # fmt: skip
    return xr.Dataset(
        {"weight": (("image", "scale", "unit", "branch"), scipy.special.softmax(raw, -1))},
        coords={
            "image": [f"i{n}" for n in range(images)],
            "scale": np.arange(1.0, scales + 1),
            "unit": [f"u{n}" for n in range(units)],
            "kernel": (("unit", "branch"), np.array(kernel, float)),
        },
    )


@given(ds=sweeps(), order=st.permutations([0, 1, 2]))
def test_measures_do_not_depend_on_the_order_of_branches_or_images(ds, order):
    difference, kernel = skviz.attention_difference(ds), skviz.expected_kernel(ds)
    for other in (ds.isel(branch=list(order)), ds.isel(image=slice(None, None, -1))):
        np.testing.assert_allclose(
            skviz.attention_difference(other).sel(image=ds.image), difference, atol=1e-12
        )
        np.testing.assert_allclose(skviz.expected_kernel(other).sel(image=ds.image), kernel)
    sizes = ds["kernel"]
    assert bool((kernel <= sizes.max("branch") + 1e-9).all())
    assert bool((kernel >= sizes.min("branch") - 1e-9).all())
    assert bool((abs(difference) <= 1).all())
    # With two branches they say the same.
    two = ds.isel(branch=[0, 1])
    two = two.assign(weight=two["weight"] / two["weight"].sum("branch"))
    low, high = two["kernel"].min("branch"), two["kernel"].max("branch")
    linear = (low + high) / 2 + skviz.attention_difference(two) * (high - low) / 2
    np.testing.assert_allclose(linear.transpose(*kernel.dims), skviz.expected_kernel(two))


@given(ds=sweeps())
def test_a_shift_is_the_last_scale_minus_the_first(ds):
    found = skviz.shift(ds)
    difference = skviz.attention_difference(ds)
    change = (difference.isel(scale=-1) - difference.isel(scale=0)).drop_vars(
        "scale", errors="ignore"
    )
    np.testing.assert_allclose(found["estimate"], change.mean("image"), atol=1e-12)
    np.testing.assert_allclose(found["share"], (change > 0).mean("image"))
    holds = found["low"].isnull() | (found["low"] <= found["estimate"] + 1e-12)
    assert bool(holds.all())
    assert bool(((found["p"] <= found["p_holm"] + 1e-15) & (found["p_holm"] <= 1)).all())


@pytest.mark.long
@given(p=arrays(np.float64, st.integers(1, 9), elements=st.floats(0, 1)), data=st.data())
def test_holm_keeps_the_order_and_is_that_of_statsmodels(p, data):
    from statsmodels.stats.multitest import multipletests

    np.testing.assert_allclose(stats.holm(p), multipletests(p, method="holm")[1], atol=1e-12)
    order = data.draw(st.permutations(range(len(p))))
    np.testing.assert_array_equal(stats.holm(p[order]), stats.holm(p)[order])


@given(
    values=arrays(np.float64, st.integers(5, 30), elements=st.floats(-100, 100)),
    shift=st.floats(-100, 100),
    factor=st.floats(0.01, 100),
)
def test_an_interval_moves_and_grows_with_its_values(values, shift, factor):
    assume(not np.isin(values, (0, 1)).all())  # which are shares
    assume(values.std() > 1e-3)
    found = stats.interval(xr.DataArray(values, dims="image"))
    other = stats.interval(xr.DataArray(values * factor + shift, dims="image"))
    assume(other.attrs["method"] == found.attrs["method"])
    width = float(found["high"] - found["low"])
    for name in ("estimate", "low", "high"):
        expected = float(found[name]) * factor + shift
        assert float(other[name]) == pytest.approx(expected, abs=1e-6 * (width * factor + 1) + 1e-9)
