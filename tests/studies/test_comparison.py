import numpy as np
import pytest
import torch

import skviz
from skviz import stats
from skviz.errors import SceneError, SkvizError
from skviz.models.nn import SKNet
from skviz.scenes import cutouts
from skviz.scenes import photographs as photo_scenes
from skviz.scenes import source as scenes
from skviz.scenes.changes import CONTROL_SCENES

GRID = [0.6, 1.2, 1.8]


@pytest.fixture(scope="module")
def source() -> scenes.Scenes:
    return scenes.place(cutouts.objects(family="fxemoji").take([3, 17, 40, 60]), canvas=48, seed=2)


@pytest.fixture(scope="module")
def network() -> SKNet:
    torch.manual_seed(0)
    return SKNet((1, 1), (8, 16), num_classes=67, stem_channels=8, stem_stride=2, groups=1, L=8)


def made(name: str, source: scenes.Scenes) -> list[torch.Tensor]:
    control = CONTROL_SCENES[name](source, GRID)
    return [control.render(scale) for scale in GRID]


def test_scrambled_objects_keep_outline_area_and_colours(source):
    control = CONTROL_SCENES["scrambled"](source, GRID)
    assert torch.equal(control.objects[:, 3], source.objects[:, 3])
    assert not torch.equal(control.objects, source.objects)
    for before, after in zip(source.objects, control.objects, strict=True):
        solid = before[3] == 1
        inside = before[3] > 0.02
        colours = [(c[:3, inside] / c[3, inside]).sort(1).values for c in (before, after)]
        torch.testing.assert_close(*colours)
        assert bool((after[:3, solid] != before[:3, solid]).any())


def test_silhouettes_have_one_colour_the_mean(source):
    control = CONTROL_SCENES["silhouette"](source, GRID)
    for before, after in zip(source.objects, control.objects, strict=True):
        inside = before[3] > 0.5
        colour = after[:3, inside] / after[3, inside]
        assert float(colour.std(1).max()) < 1e-4
        torch.testing.assert_close(before.sum((1, 2)), after.sum((1, 2)), rtol=1e-3, atol=1e-2)


def test_blur_keeps_size_and_place_and_only_takes_detail(source):
    first, _, last = made("blur", source)
    still = source.render(1.0)
    # Farther from the object than its coarsest pixel is wide nothing changes.
    near = torch.nn.functional.max_pool2d(source.coverage(1.0)[:, None], 13, 1, 6)[:, 0] > 0
    for images in (first, last):
        assert float(((images - still).abs().amax(1) * ~near).max()) < 1e-5

    def detail(images: torch.Tensor) -> float:
        return float((images - images.roll(1, 3)).abs().mean())

    assert detail(last) < 0.9 * detail(first)
    assert float((first - still).abs().mean()) < 0.02


def test_the_background_alone_is_enlarged_about_its_middle(source):
    first, _, last = made("background", source)
    torch.testing.assert_close(first, source.backgrounds, rtol=0, atol=1e-4)
    expected = torch.nn.functional.interpolate(
        source.backgrounds[..., 16:32, 16:32], size=48, mode="bicubic", antialias=True
    )
    difference = (last - expected)[..., 6:-6, 6:-6].abs().mean()
    assert float(difference) < 0.01


def test_position_moves_the_same_object_to_the_border(source):
    first, _, last = made("position", source)
    torch.testing.assert_close(first, source.render(1.0))
    moved = (last - source.backgrounds).abs().amax((1, 2)) > 0.02  # (image, column)
    assert all(int(columns.nonzero().max()) >= 46 for columns in moved)


def test_claim_and_controls_are_what_sweeps_of_them_give(network, source):
    network.train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    ds = skviz.controls(network, source, scales=GRID, seeds=2, progress=False)
    assert network.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert ds["control"].values.tolist() == [
        "object", *CONTROL_SCENES, "untrained 1", "untrained 2",
    ]  # fmt: skip
    expected = stats.attention_difference(skviz.sweep(network, source, scales=GRID))
    np.testing.assert_array_equal(ds["attention_difference"].sel(control="object"), expected)
    change = expected.isel(scale=-1) - expected.isel(scale=0)
    np.testing.assert_array_equal(ds["shift"].sel(control="object"), change)
    one, two = (ds["shift"].sel(control=f"untrained {seed}") for seed in (1, 2))
    assert float(abs(one - two).max()) > 0

    found = stats.compare(ds)
    difference = ds["shift"].sel(control="object") - ds["shift"].sel(control="blur")
    np.testing.assert_allclose(
        found["excess"].sel(control="blur"), difference.mean("image"), atol=1e-12
    )
    assert bool((found["excess"].sel(control="object") == 0).all())
    assert bool((found["excess_p"].sel(control="object") == 1).all())


def test_bad_input(network, source):
    with pytest.raises(SkvizError, match="at least two"):
        skviz.controls(network, source, scales=[1.0])
    with pytest.raises(SkvizError, match="no control 'noise'"):
        skviz.controls(network, source, names=["noise"])
    zoomed = photo_scenes.zoom({n: p for n, (p, _) in cutouts.photographs().items()}, canvas=48)
    with pytest.raises(SceneError, match="need scenes that know it"):
        skviz.controls(network, zoomed, scales=[1.0, 1.5])
    ds = skviz.controls(network, zoomed, scales=[1.0, 1.5], names=(), seeds=1, progress=False)
    assert ds["control"].values.tolist() == ["object", "untrained 1"]
