import copy
from contextlib import ExitStack

import numpy as np
import pytest
import scipy.ndimage
import torch
from PIL import Image

import skviz
from skviz import stats
from skviz.errors import SceneError, SkvizError
from skviz.models.nn import SKNet
from skviz.scenes import cutouts
from skviz.scenes.changes import CONTROL_SCENES
from skviz.scenes.source import Scenes
from skviz.studies.untrained import untrained

GRID = [0.6, 1.2, 1.8]


@pytest.fixture(scope="module")
def source() -> Scenes:
    return cutouts.place(cutouts.objects(family="fxemoji")[[3, 17, 40, 60]], canvas=48, seed=2)


@pytest.fixture(scope="module")
def network() -> SKNet:
    torch.manual_seed(0)
    return SKNet((1, 1), (8, 16), num_classes=67, stem_channels=8, stem_stride=2, groups=1, L=8)


def made(name: str, source: Scenes) -> list[torch.Tensor]:
    control = source.changed(name, GRID)
    return [control.render(scale) for scale in GRID]


def test_scrambled_objects_keep_outline_area_and_colours(source):
    control = source.changed("scrambled", GRID)
    assert torch.equal(control.layers.objects[:, 3], source.layers.objects[:, 3])
    assert not torch.equal(control.layers.objects, source.layers.objects)
    for before, after in zip(source.layers.objects, control.layers.objects, strict=True):
        solid = before[3] == 1
        inside = before[3] > 0.02
        colours = [(c[:3, inside] / c[3, inside]).sort(1).values for c in (before, after)]
        torch.testing.assert_close(*colours)
        assert bool((after[:3, solid] != before[:3, solid]).any())


def test_silhouettes_have_one_colour_the_mean(source):
    control = source.changed("silhouette", GRID)
    for before, after in zip(source.layers.objects, control.layers.objects, strict=True):
        inside = before[3] > 0.5
        colour = after[:3, inside] / after[3, inside]
        assert float(colour.std(1).max()) < 1e-4
        torch.testing.assert_close(before.sum((1, 2)), after.sum((1, 2)), rtol=1e-3, atol=1e-2)


def test_blur_keeps_size_and_place_and_only_takes_detail(source):
    first, _, last = made("blur", source)
    still = source.render(1.0)
    # Farther from the object than its coarsest pixel is wide nothing changes.
    near = torch.nn.functional.max_pool2d(source.mask(1.0)[:, None], 13, 1, 6)[:, 0] > 0
    for images in (first, last):
        assert float(((images - still).abs().amax(1) * ~near).max()) < 1e-5

    def detail(images: torch.Tensor) -> float:
        return float((images - images.roll(1, 3)).abs().mean())

    assert detail(last) < 0.9 * detail(first)
    assert float((first - still).abs().mean()) < 0.02


def pillow(picture: torch.Tensor, side: int) -> torch.Tensor:
    """Resize (channel, y, x) floats as Pillow does."""
    each = [Image.fromarray(one.numpy()).resize((side, side), Image.BICUBIC) for one in picture]
    return torch.tensor(np.stack(each))


@pytest.mark.parametrize("scales", [[1.0, 2.0, 4.0], [0.5, 1.0, 2.0]])
def test_blur_is_as_strong_as_if_the_object_had_grown(scales):
    """Against Pillow: as many pixels as at scale 1, fewer by the growth since the first scale."""
    rgba = torch.zeros(1, 4, 64, 64, dtype=torch.uint8)
    inner = torch.randint(256, (4, 32, 32), generator=torch.Generator().manual_seed(0))
    rgba[0, :, 16:48, 16:48] = inner.byte()  # at the border of a picture Pillow does otherwise
    noise = cutouts.Objects(rgba, ("noise",), ("test",))
    source = cutouts.place(noise, canvas=64, reference=0.5)  # 32 pixels at scale 1
    control = source.changed("blur", scales)
    for scale in scales:
        few = round(32 * scales[0] / scale)
        coarse = pillow(pillow(source.layers.objects[0], few), 64).clamp(0, 1)
        layer = pillow(coarse, 32)
        alpha = layer[3].clamp(0, 1)
        expected = source.layers.backgrounds[0].clone()
        inside = expected[:, 16:48, 16:48]
        inside[:] = torch.minimum(layer[:3].clamp(min=0), alpha) + (1 - alpha) * inside
        torch.testing.assert_close(control.render(scale)[0], expected, atol=1e-3, rtol=0)


def test_the_background_alone_is_enlarged_about_its_middle(source):
    first, _, last = made("background", source)
    torch.testing.assert_close(first, source.layers.backgrounds, rtol=0, atol=1e-4)
    expected = torch.nn.functional.interpolate(
        source.layers.backgrounds[..., 16:32, 16:32], size=48, mode="bicubic", antialias=True
    )
    difference = (last - expected)[..., 6:-6, 6:-6].abs().mean()
    assert float(difference) < 0.01


def test_position_moves_the_same_object_to_the_border(source):
    first, _, last = made("position", source)
    torch.testing.assert_close(first, source.render(1.0))
    moved = (last - source.layers.backgrounds).abs().amax((1, 2)) > 0.02  # (image, column)
    assert all(int(columns.nonzero().max()) >= 46 for columns in moved)


@pytest.fixture(scope="module")
def dots() -> Scenes:
    """Two discs with nothing inside, on grounds of their own: areas can be counted."""
    y, x = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    disc = ((y - 31.5) ** 2 + (x - 31.5) ** 2 < 30**2).byte() * 255
    rgba = torch.stack([disc, 0 * disc, 0 * disc, disc])[None].expand(2, -1, -1, -1)
    objects = cutouts.Objects(rgba.contiguous(), ("dot", "spot"), ("made", "made"))
    grounds = torch.tensor([0.2, 0.6])[:, None, None, None].expand(-1, 3, 96, 96)
    return cutouts.place(objects, canvas=96, backgrounds=grounds)


@pytest.mark.parametrize("where", ["", " scattered"])
def test_copies_stay_as_large_and_cover_as_much_as_growth(dots, where):
    grid = [0.25, 0.5, 1.0]
    control = dots.changed("copies" + where, grid)
    if not where:
        torch.testing.assert_close(control.render(0.25), dots.render(0.25))
    for scale, count in ((0.25, 1), (0.5, 4), (1.0, 16)):
        images = control.render(scale)
        red = (images[:, 0] - dots.layers.backgrounds[:, 0] > 0.2).numpy()
        for picture in red:
            pieces, many = scipy.ndimage.label(picture)
            assert many == count
            sizes = np.bincount(pieces.ravel())[1:]
            assert sizes.max() < 1.25 * np.pi * (12 * 30 / 64) ** 2  # of one of 12 pixels' side
        grown = dots.mask(scale).mean((1, 2))
        torch.testing.assert_close(control.mask(scale).mean((1, 2)), grown, rtol=0.03, atol=0)


@pytest.mark.parametrize("where", ["", " scattered"])
def test_size_grows_while_coverage_stays_at_half_or_less_with_a_margin(dots, where):
    grid = [0.5, 1.0, 2.0]
    control = dots.changed("size" + where, grid)
    whole = torch.tensor([np.pi * (64 * 30 / 64) ** 2 / 96**2] * 2, dtype=torch.float32)
    for scale, count in ((0.5, 16), (1.0, 4), (2.0, 1)):
        images = control.render(scale)
        red = (images[:, 0] - dots.layers.backgrounds[:, 0] > 0.2).numpy()
        assert [scipy.ndimage.label(picture)[1] for picture in red] == [count] * 2
        covered = control.mask(scale).mean((1, 2))
        torch.testing.assert_close(covered, whole, rtol=0.02, atol=0)
        assert float(covered.max()) <= 0.5
        if not where:
            border = torch.cat([images[..., 0], images[..., -1], images[..., 0, :]], -1)
            ground = dots.layers.backgrounds[:, :, :1, 0].expand_as(border)
            torch.testing.assert_close(border, ground, atol=1e-3, rtol=0)


def test_a_place_is_the_same_in_every_batch(source):
    control = source.changed("copies scattered", GRID)
    parts = torch.cat([control[:1].render(1.8), control[1:].render(1.8)])
    torch.testing.assert_close(control.render(1.8), parts)


def test_untrained_networks_vary_over_images_as_much_as_the_model(network, source):
    """With logits that are 20 times as large the control is, too; recomputed from the weights."""
    loud = copy.deepcopy(network).eval()
    for module in loud.modules():
        if hasattr(module, "select"):
            with torch.no_grad():
                module.select.weight.mul_(20)
    found, plain = (
        skviz.controls(each, source, scales=GRID, names=(), seeds=1, progress=False)
        for each in (loud, network)
    )
    gains = found["gain"].sel(control="untrained 1")
    assert bool((found["gain"].sel(control="object") == 1).all())
    assert float(gains[0]) == pytest.approx(20 * float(plain["gain"][1, 0]), rel=1e-3)
    images = torch.cat([source.render(scale) for scale in GRID])
    other = untrained(loud, [source.render(scale) for scale in GRID], seed=1)
    changes = {
        unit: lambda w, g=float(g): (g * w.log()).softmax(1)
        for unit, g in zip(found["unit"].values, gains.values, strict=True)
    }

    def variation(model: SKNet, changes: dict) -> list[float]:
        with torch.no_grad(), ExitStack() as stack:
            if changes:
                stack.enter_context(skviz.intervene(model, changes))
            recording = stack.enter_context(skviz.record(model))
            model(images)
        odds = [w[:, 1].double().logit() for w in recording.weights.values()]
        return [float(each.var(0).mean().sqrt()) for each in odds]

    np.testing.assert_allclose(variation(other, changes), variation(loud, {}), rtol=1e-3)


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
    zoomed = skviz.photographs().zoom(canvas=48)
    with pytest.raises(SceneError, match="needs scenes that know it"):
        skviz.controls(network, zoomed, scales=[1.0, 1.5])
    ds = skviz.controls(network, zoomed, scales=[1.0, 1.5], names=(), seeds=1, progress=False)
    assert ds["control"].values.tolist() == ["object", "untrained 1"]


def test_a_last_batch_of_one_scene_is_no_stumbling_block(network, source):
    """Batch norms over pooled features have one value per channel then."""
    few = source[:3]
    found = skviz.controls(
        network, few, scales=GRID[:2], names=["blur"], seeds=1, batch=2, progress=False
    )
    assert np.isfinite(found["shift"]).all()
    alone = skviz.controls(network, few[:1], scales=GRID[:2], names=[], seeds=1, progress=False)
    assert np.isfinite(alone["shift"]).all()


def test_statistics_of_one_image_are_refused_in_words(network, source):
    with pytest.raises(SkvizError, match="two images at a time"):
        untrained(network, [source[:1].render(1.0)], seed=0)
