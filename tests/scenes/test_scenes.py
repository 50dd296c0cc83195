import re

import numpy as np
import pytest
import torch
from torch import Tensor

import skviz
from skviz.errors import DataError, SceneError
from skviz.scenes import cutouts
from skviz.scenes.cutouts import place
from skviz.scenes.drawing import premultiplied
from skviz.scenes.source import Scenes

BLACK = torch.zeros(1, 3, 64, 64)
NO_NUMBERS = [0, 0.0, -1.0, float("nan"), float("inf"), float("-inf")]


def white(shape: tuple[int, int] = (128, 128), *, count: int = 1) -> cutouts.Objects:
    """Opaque white cut-outs that fill their square."""
    rgba = torch.full((count, 4, *shape), 255, dtype=torch.uint8)
    names = tuple(f"white {i}" for i in range(count))
    return cutouts.Objects(rgba, names, ("test",) * count)


def silhouettes(objects: cutouts.Objects) -> cutouts.Objects:
    """The same shapes in white."""
    rgba = objects.rgba.clone()
    rgba[:, :3] = 255
    return cutouts.Objects(rgba, objects.category, objects.family)


def middle(images: Tensor) -> Tensor:
    """Centre of brightness (y, x) of each image (N, 3, S, S), in pixels."""
    field = images.mean(1)
    at = torch.arange(field.shape[-1]) + 0.5
    mass = field.sum((1, 2))
    return torch.stack([(field.sum(2) * at).sum(1) / mass, (field.sum(1) * at).sum(1) / mass], 1)


# --- geometry ------------------------------------------------------------------------------------


@pytest.mark.parametrize("reference", [0.25, 0.5])
@pytest.mark.parametrize("scale", [0.5, 1.0, 1.5])
def test_an_object_has_its_reference_side_times_the_scale(reference: float, scale: float) -> None:
    image = place(white(), canvas=64, reference=reference, backgrounds=BLACK).render(scale)[0, 0]
    side = reference * 64 * scale
    covered = (image > 0.5).nonzero()
    box = covered.amax(0) - covered.amin(0) + 1
    assert box.tolist() == [side, side]
    assert float(image.sum()) == pytest.approx(side**2, rel=0.01)


def test_an_object_lies_where_position_puts_its_middle() -> None:
    for position in ((0.0, 0.0), (0.2, -0.1), (-0.13, 0.21)):  # (y, x)
        scenes = place(white(), canvas=64, reference=0.3, position=position, backgrounds=BLACK)
        expected = torch.tensor([[64 * (0.5 + p) for p in position]])
        for scale in (0.3, 1.0, 1.5):
            torch.testing.assert_close(middle(scenes.render(scale)), expected, atol=0.05, rtol=0)


def test_rescaling_changes_the_object_and_nothing_else(few: cutouts.Objects) -> None:
    scenes = place(few, canvas=64, reference=0.4, position=(0.1, 0.0))
    small, large = scenes.render(0.5), scenes.render(1.0)
    half = 64 * 0.4 / 2 + 2  # and the reach of the filter
    near = torch.zeros(64, 64, dtype=torch.bool)
    y, x = 0.6 * 64, 0.5 * 64
    near[int(y - half) : int(y + half) + 1, int(x - half) : int(x + half) + 1] = True
    assert torch.equal(small[..., ~near], large[..., ~near])
    assert float((small - large)[..., near].abs().mean()) > 0.02


@pytest.mark.parametrize("shape", [(128, 128), (96, 48), (48, 96)])
def test_a_turned_object_keeps_its_area_and_turns_clockwise(shape: tuple[int, int]) -> None:
    half = white(shape)
    half.rgba[..., : shape[1] // 2] = 0  # only the right half is left
    upright, turned = (
        place(half, canvas=64, backgrounds=BLACK, rotation=r).render(1.0) for r in (0.0, 90.0)
    )
    assert float(turned.sum()) == pytest.approx(float(upright.sum()), rel=0.02)
    right = float(middle(upright)[0, 1]) - 32
    assert right > 3
    expected = torch.tensor([[32 + right, 32.0]])  # at the bottom
    torch.testing.assert_close(middle(turned), expected, atol=0.15, rtol=0)


def test_objects_keep_their_colours() -> None:
    chosen = cutouts.objects(family="noto")[:10]
    image = place(chosen, canvas=256, backgrounds=torch.zeros(1, 3, 256, 256)).render(1.0)
    shown = image[:, :, 64:192, 64:192]  # pixel for pixel
    torch.testing.assert_close(shown, premultiplied(chosen.rgba)[:, :3], atol=1e-4, rtol=0)


# --- determinism, slices, devices ----------------------------------------------------------------


def test_scenes_are_the_same_from_the_same_seed(few: cutouts.Objects) -> None:
    first, again, other = (place(few, canvas=32, seed=s).render(1.0) for s in (3, 3, 4))
    assert torch.equal(first, again)
    corner = (..., slice(0, 5), slice(0, 5))  # background only
    changed = (first[corner] - other[corner]).abs().amax((1, 2, 3))
    assert bool((changed > 0.01).all())


def test_every_scene_has_a_background_of_its_own() -> None:
    corners = place(white(count=6), canvas=32).render(1.0)[..., :5, :5].flatten(1)
    assert float(torch.pdist(corners).min()) > 0.05


def test_no_seed_gives_a_background_of_another() -> None:
    seeds = [place(white((8, 8), count=40), canvas=24, seed=s).layers.backgrounds for s in range(4)]
    assert float(torch.pdist(torch.cat(seeds).flatten(1)).min()) > 0.1


def test_the_random_state_of_the_caller_is_left_alone(few: cutouts.Objects) -> None:
    before = torch.get_rng_state()
    place(few, canvas=32, seed=5, rotation=10).render(1.0)
    assert torch.equal(torch.get_rng_state(), before)


def test_slices_are_the_same_scenes(few: cutouts.Objects) -> None:
    scenes = place(few, canvas=48, rotation=12)
    whole = scenes.render(0.8)
    assert whole.shape == (5, 3, 48, 48)
    parts = [scenes[:2], scenes[2:5]]
    assert [len(part) for part in parts] == [2, 3]
    assert sum((part.ids for part in parts), ()) == scenes.ids == few.ids
    assert parts[1].category == few.category[2:]
    torch.testing.assert_close(
        torch.cat([part.render(0.8) for part in parts]), whole, atol=1e-6, rtol=0
    )


def test_scenes_move_to_a_device(few: cutouts.Objects) -> None:
    scenes = place(few, canvas=32)
    moved = scenes.ready("meta").layers  # a device that every torch has
    for name in ("objects", "backgrounds", "reference", "centre"):
        assert getattr(moved, name).device.type == "meta"
        assert getattr(scenes.layers, name).device.type == "cpu"
    assert torch.equal(scenes.ready("cpu").render(1.0), scenes.render(1.0))


def test_scenes_say_how_they_were_made(few: cutouts.Objects) -> None:
    attrs = place(few, canvas=40, reference=0.3, position=(0.1, 0), rotation=5, seed=9).attrs
    assert (attrs["protocol"], attrs["canvas"]) == ("rescale", 40)
    assert attrs["made"][-1] == {
        "function": "skviz.place",
        "canvas": 40,
        "reference": 0.3,
        "position": [0.1, 0],
        "rotation": 5,
        "seed": 9,
    }


def test_one_background_serves_all(few: cutouts.Objects) -> None:
    one = torch.rand(1, 3, 32, 32)
    whole = place(few, canvas=32, backgrounds=one).render(0.7)
    many = place(few, canvas=32, backgrounds=one.expand(5, -1, -1, -1).clone()).render(0.7)
    assert torch.equal(whole, many)


# --- how large, how small ------------------------------------------------------------------------


@pytest.mark.parametrize("position", [(0.0, 0.0), (0.15, -0.1), (-0.3, 0.05)])
def test_the_largest_scale_of_a_square_is_where_it_meets_the_border(
    position: tuple[float, float],
) -> None:
    scenes = place(white(), canvas=64, reference=0.5, position=position, backgrounds=BLACK)
    room = 0.5 - max(abs(p) for p in position)  # from its middle to the nearest border
    assert scenes.layers.largest_scale == pytest.approx(room / 0.25, rel=1e-6)
    image = scenes.render(scenes.layers.largest_scale)[0, 0]
    ends = torch.stack([image[0].max(), image[-1].max(), image[:, 0].max(), image[:, -1].max()])
    assert float(ends.max()) > 0.9
    assert float(image.sum()) == pytest.approx(
        (64 * 0.5 * scenes.layers.largest_scale) ** 2, rel=0.03
    )


def test_an_object_narrower_than_a_pixel_must_stay_on_the_canvas_too() -> None:
    dot = torch.zeros(1, 4, 128, 128, dtype=torch.uint8)
    dot[:, 3, 64, 64] = 255
    scenes = place(cutouts.Objects(dot, ("dot",), ("dot",)), canvas=64, reference=0.5)
    # 32 pixels of 128 at scale 1: it reaches a quarter of a pixel from the middle.
    assert scenes.layers.largest_scale == pytest.approx(32 / 0.25, rel=1e-6)


@pytest.mark.parametrize("rotation", [0.0, 33.0])
@pytest.mark.parametrize("index", range(0, 60, 12))
def test_at_its_largest_scale_an_object_touches_the_border_and_is_whole(
    rotation: float, index: int
) -> None:
    shape = silhouettes(cutouts.objects(family="fxemoji")[[index]])
    options = {"position": (0.11, -0.2), "rotation": rotation}
    scenes = place(shape, canvas=64, reference=0.5, backgrounds=BLACK, **options)
    image = scenes.render(scenes.layers.largest_scale)
    inside = image[0, 0, 1:-1, 1:-1]
    assert float(image.sum() - 3 * inside.sum()) > 0.02  # some of it is in the outermost pixels
    # On a canvas with a margin of half its side all round, as many pixels and as bright.
    roomy = place(
        shape,
        canvas=128,
        reference=0.25,
        position=(0.055, -0.1),
        rotation=rotation,
        backgrounds=torch.zeros(1, 3, 128, 128),
    ).render(scenes.layers.largest_scale)
    assert float(image.sum()) == pytest.approx(float(roomy.sum()), rel=2e-3)
    with pytest.raises(SceneError, match="would leave its canvas"):
        scenes.render(scenes.layers.largest_scale * 1.001)


@pytest.mark.parametrize(("alpha", "largest"), [(30, 1), (6, 1), (5, 2), (0, 2)])
def test_a_faint_rim_counts_as_part_of_the_object(alpha: int, largest: float) -> None:
    """From 2 % of opacity on: 5.1 of 255."""
    cut_out = white()
    cut_out.rgba[:, 3, :, :32] = alpha  # a shadow on the left
    scenes = place(cut_out, canvas=64, reference=0.5, position=(0.0, -0.25), backgrounds=BLACK)
    assert scenes.layers.largest_scale == pytest.approx(largest, rel=1e-6)


def test_the_largest_scale_is_that_of_the_object_with_least_room() -> None:
    scenes = place(silhouettes(cutouts.objects(family="noto")[:8]), position=(0.0, 0.3))
    assert scenes.layers.largest_scale == min(scenes[i].layers.largest_scale for i in range(8))


@pytest.mark.parametrize("scale", NO_NUMBERS)
def test_a_scale_that_is_no_size_is_refused(scale: float, few: cutouts.Objects) -> None:
    scenes = place(few, canvas=32)
    with pytest.raises(SceneError, match=r"finite number; got|smaller than a pixel"):
        scenes.render(scale)


@pytest.mark.parametrize("reference", [0.5, 0.47, 0.333])
@pytest.mark.parametrize("rotation", [0.0, 30.0])
def test_the_bounds_that_errors_name_are_kept(
    reference: float, rotation: float, few: cutouts.Objects
) -> None:
    scenes = place(few, canvas=90, reference=reference, rotation=rotation, position=(0.03, 0))
    for scale, bound in ((50.0, "largest"), (0.001, "smallest")):
        with pytest.raises(SceneError, match=f"the {bound} scale") as error:
            scenes.render(scale)
        assert f"at scale {scale:g} an object would" in str(error.value)
        named = float(str(error.value).split()[-1])
        scenes.render(named)
        beyond = 1.02 if bound == "largest" else 0.98
        with pytest.raises(SceneError):
            scenes.render(named * beyond)


def test_the_smallest_object_is_a_pixel_wide() -> None:
    scenes = place(white(), canvas=64, reference=0.5, backgrounds=BLACK)
    # One white pixel, and what the filter overshoots: it is cut off below 0, not above.
    assert 3 <= float(scenes.render(1 / 32).sum()) < 3 * 1.25
    with pytest.raises(SceneError, match="smaller than a pixel"):
        scenes.render(0.98 / 32)


@pytest.mark.parametrize("shape", [(128, 16), (16, 128)])
def test_an_objects_longer_side_decides_whether_it_is_too_small(shape: tuple[int, int]) -> None:
    scenes = place(white(shape), canvas=64, reference=0.5, backgrounds=BLACK)
    assert float(scenes.render(1 / 32).sum()) > 0
    with pytest.raises(SceneError, match=r"smallest scale of these scenes is 0\.0313"):
        scenes.render(0.98 / 32)


# --- what place refuses --------------------------------------------------------------------------


@pytest.mark.parametrize("position", [(0.5, 0.0), (0.0, -0.6), (float("nan"), 0.0)])
def test_a_position_off_the_canvas_is_refused(position: tuple[float, float]) -> None:
    with pytest.raises(
        SceneError, match=r"is off the canvas; offsets lie between -0\.5 and 0\.5|a finite number"
    ):
        place(white(), position=position)


@pytest.mark.parametrize(
    "shape", [(1, 3, 32, 64), (1, 1, 64, 64), (3, 3, 64, 64), (3, 64, 64), (0, 3, 64, 64)]
)
def test_backgrounds_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    expected = f"(2 or 1, 3, 64, 64), got {shape}"
    with pytest.raises(SceneError, match=re.escape(expected)):
        place(white(count=2), canvas=64, backgrounds=torch.zeros(shape))


def test_backgrounds_of_whole_grey_levels_are_refused() -> None:
    with pytest.raises(DataError, match=r"floats in 0…1, got torch\.uint8"):
        place(white(), canvas=64, backgrounds=BLACK.byte())


@pytest.mark.parametrize("reference", NO_NUMBERS)
def test_a_reference_that_is_no_size_is_refused(reference: float) -> None:
    with pytest.raises(
        SceneError, match=r"reference must be a (positive fraction of the canvas|finite number)"
    ):
        place(white(), reference=reference)


@pytest.mark.parametrize("rotation", [float("nan"), float("inf")])
def test_a_rotation_without_an_angle_is_refused(rotation: float) -> None:
    with pytest.raises(SceneError, match="rotation must be a finite number"):
        place(white(), rotation=rotation)


def test_errors_are_the_packages_own(few: cutouts.Objects) -> None:
    with pytest.raises(skviz.SkvizError):
        place(few).render(0)


def test_scenes_are_pictures(few: cutouts.Objects) -> None:
    scenes = place(few, canvas=40)
    assert isinstance(scenes, Scenes)
    image = scenes.render(2.0).numpy()
    assert image.dtype == np.float32
    assert image.min() >= 0
    assert image.max() <= 1 + 1e-6
