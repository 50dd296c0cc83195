import math
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import resize

from skviz.assets import read_image
from skviz.errors import DataError, SceneError
from skviz.scenes.cutting import cut_out, fill_hole
from skviz.scenes.photographs import photographs
from skviz.scenes.source import Scenes

CANVAS = 96
PHOTOGRAPHS = {
    name: (read_image(f"photos/{name}.jpg", "RGB"), read_image(f"photos/{name}.mask.png", "L"))
    for name in ("astronaut", "chelsea", "coffee", "rocket")
}
GREY_LEVEL = 1 / 255


def round_hole(height: int = 60, width: int = 80, radius: float = 15) -> Tensor:
    """A mask (1, height, width) with a disc in its middle."""
    y = torch.arange(height)[:, None] + 0.5 - height / 2
    x = torch.arange(width) + 0.5 - width / 2
    return (y**2 + x**2 < radius**2).float()[None]


def plane(height: int = 60, width: int = 80) -> Tensor:
    """Three linear ramps (3, height, width)."""
    y = torch.linspace(0, 1, height)[:, None].expand(height, width)
    x = torch.linspace(0, 1, width).expand(height, width)
    return torch.stack([0.2 + 0.6 * x, 0.1 + 0.8 * y, 0.5 + 0.2 * x - 0.3 * y])


# --- holes ---------------------------------------------------------------------------------------


def test_a_hole_in_one_colour_is_filled_with_it() -> None:
    colour = torch.tensor([0.2, 0.5, 0.9])[:, None, None].expand(3, 61, 83)
    filled = fill_hole(colour, round_hole(61, 83))
    torch.testing.assert_close(filled, colour, atol=1e-6, rtol=0)


def test_a_hole_in_a_ramp_is_filled_nearly_with_the_ramp() -> None:
    hole = round_hole()
    filled = fill_hole(plane(), hole)
    error = (filled - plane()).abs()
    # A ramp of 0.8 over 60 pixels rises by 0.4 across the hole; a flat fill would miss by 0.2.
    assert float(error.max()) < 0.1
    assert float(error[:, hole[0] > 0].mean()) < 0.03


def test_a_fill_has_no_colours_that_its_surround_has_not() -> None:
    picture = torch.rand(3, 50, 50)
    hole = round_hole(50, 50)
    outside = picture[:, F.max_pool2d(hole, 5, 1, 2)[0] == 0]  # (3, pixels)
    filled = fill_hole(picture, hole)[:, hole[0] > 0]
    assert bool((filled.amax(1) <= outside.amax(1)).all())
    assert bool((filled.amin(1) >= outside.amin(1)).all())


def test_a_fill_is_smooth() -> None:
    picture = torch.rand(3, 64, 64)
    hole = round_hole(64, 64, radius=20)
    filled = fill_hole(picture, hole)
    deep = round_hole(64, 64, radius=12)[0] > 0

    def roughness(image: Tensor) -> float:
        return float(image.diff(dim=2)[:, deep[:, 1:]].abs().mean())

    assert roughness(filled) < 0.1 * roughness(picture)


def test_what_lies_outside_the_mask_is_not_touched() -> None:
    picture, hole = torch.rand(3, 60, 80), round_hole()
    away = F.max_pool2d(hole, 5, 1, 2)[0] == 0
    assert torch.equal(fill_hole(picture, hole)[:, away], picture[:, away])


@pytest.mark.parametrize("softness", [1.0, 0.5, 0.05])
def test_what_lies_under_the_mask_does_not_show(softness: float) -> None:
    picture, mask = torch.rand(3, 60, 80), softness * round_hole()
    other = torch.where(mask > 0, 1 - picture, picture)
    assert torch.equal(fill_hole(picture, mask), fill_hole(other, mask))


def test_the_shipped_masks_hide_their_objects() -> None:
    for name, (picture, mask) in PHOTOGRAPHS.items():
        image, alpha = picture.float() / 255, mask.float() / 255
        other = torch.where(alpha > 0.05, 1 - image, image)
        assert torch.equal(fill_hole(image, alpha), fill_hole(other, alpha)), name


def test_a_mask_over_everything_is_refused() -> None:
    with pytest.raises(SceneError, match="covers the whole picture"):
        fill_hole(torch.rand(3, 20, 20), torch.ones(1, 20, 20))


def test_a_mask_of_another_size_is_refused() -> None:
    message = re.escape("the mask is (20, 21) pixels, its picture (20, 20)")
    with pytest.raises(SceneError, match=message):
        cut_out(torch.rand(3, 20, 20), torch.ones(1, 20, 21), 16, name="cup", number=0)


# --- photographs with masks ----------------------------------------------------------------------


def central(picture: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The largest square of a wide picture about its mask, found by counting columns."""
    height, width = picture.shape[-2:]
    columns = (mask[0] > 127).sum(0).double()
    middle = float((columns * (torch.arange(width) + 0.5)).sum() / columns.sum())
    left = int(np.clip(round(middle - 0.5 - height / 2), 0, width - height))
    part = (slice(None), slice(None), slice(left, left + height))
    return picture[part].double() / 255, mask[part].double() / 255


def small(image: Tensor) -> Tensor:
    shown = resize(image, [CANVAS, CANVAS], InterpolationMode.BICUBIC, antialias=True)
    return shown.clamp(0, 1).float()


def grown(mask: Tensor, pixels: int) -> Tensor:
    return F.max_pool2d(mask, 2 * pixels + 1, 1, pixels)


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    return photographs(PHOTOGRAPHS).cut_out(canvas=CANVAS)


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_at_scale_1_the_photograph_is_itself_again(name: str, scenes: Scenes) -> None:
    index = scenes.ids.index(name)
    made = scenes[index : index + 1].render(1.0)[0]
    image, alpha = central(*PHOTOGRAPHS[name])
    expected = small(image)
    step = image.shape[-1] / CANVAS  # picture pixels per scene pixel
    reach = int(2 * step) + 2  # of the filter

    # Wherever the filter sees the object alone, the pixels are the photograph's.
    inside = 1 - grown(1 - F.pad(alpha, (reach,) * 4), reach)[:, reach:-reach, reach:-reach]
    sure = F.interpolate(inside[None], CANVAS, mode="nearest-exact")[0, 0] == 1
    torch.testing.assert_close(made[:, sure], expected[:, sure], atol=1e-4, rtol=0)

    # Wherever it sees the surround alone, too.
    outside = grown(alpha, reach + 3)
    apart = F.interpolate(outside[None], CANVAS, mode="nearest-exact")[0, 0] < 0.01
    torch.testing.assert_close(made[:, apart], expected[:, apart], atol=1e-4, rtol=0)
    assert int(apart.sum()) > 10
    assert int(sure.sum() + apart.sum()) > 0.5 * CANVAS**2

    # In between, part of each pixel is filled; the picture as a whole is hardly changed.
    assert float((made - expected).abs().mean()) < 2 * GREY_LEVEL


def test_every_photograph_can_be_shown_at_scale_1_and_smaller(scenes: Scenes) -> None:
    assert scenes.layers.largest_scale >= 1 - 1e-6
    for scale in (1.0, 0.7, 0.3):
        image = scenes.render(scale)
        assert image.shape == (4, 3, CANVAS, CANVAS)
        assert float(image.min()) >= 0
        assert float(image.max()) <= 1 + 1e-6


def square_in_grey(side: int, top: int, left: int) -> dict[str, tuple[Tensor, Tensor]]:
    """A white square of that side on dark grey, 120×160."""
    picture = torch.full((3, 120, 160), 50, dtype=torch.uint8)
    mask = torch.zeros(1, 120, 160, dtype=torch.uint8)
    part = (slice(None), slice(top, top + side), slice(left, left + side))
    picture[part], mask[part] = 255, 255
    return {"square": (picture, mask)}


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.25])
def test_a_photographs_object_is_rescaled_about_its_own_place(scale: float) -> None:
    # The square's middle is at row 70; the crop is centred on it along the rows of 160.
    image = photographs(square_in_grey(60, 40, 50)).cut_out(canvas=60).render(scale)[0, 0]
    bright = (image > 0.6).nonzero().float() + 0.5
    side = bright.amax(0) - bright.amin(0) + 1
    torch.testing.assert_close(side, torch.full((2,), 30 * scale), atol=1, rtol=0)
    torch.testing.assert_close(bright.mean(0), torch.tensor([35.0, 30.0]), atol=0.5, rtol=0)
    # The hole behind it is filled: grey stays grey.
    assert float((image[:3] - 50 / 255).abs().max()) < 1e-3
    assert float(image.min()) > 50 / 255 - 1e-3


def test_a_tall_photograph_is_treated_as_a_wide_one() -> None:
    picture, mask = square_in_grey(60, 40, 50)["square"]
    wide = photographs({"wide": (picture, mask)}).cut_out(canvas=60).render(0.9)
    tall = photographs({"tall": (picture.mT, mask.mT)}).cut_out(canvas=60).render(0.9)
    torch.testing.assert_close(tall, wide.mT, atol=1e-5, rtol=0)


@pytest.mark.parametrize("scale", [0.4, 1.0, 1.2])
def test_a_soft_mask_leaves_no_rim(scale: float) -> None:
    picture = torch.full((3, 100, 100), 130, dtype=torch.uint8)
    y, x = torch.meshgrid(torch.arange(100) - 49.5, torch.arange(100) - 49.5, indexing="ij")
    mask = (255 * torch.sigmoid((30 - (x**2 + y**2).sqrt()) / 3)).round().byte()[None]
    scenes = photographs({"grey on grey": (picture, mask)}).cut_out(canvas=50)
    image = scenes.render(scale)
    torch.testing.assert_close(image, torch.full_like(image, 130 / 255), atol=0.005, rtol=0)
    radius = 30 + 3 * math.log(49)  # where the mask falls below 0.02
    assert scenes.layers.largest_scale == pytest.approx(50 / radius, abs=0.03)


def test_an_object_in_a_photograph_can_grow_to_the_border_and_no_further() -> None:
    scenes = photographs(square_in_grey(60, 40, 50)).cut_out(canvas=60)
    assert scenes.layers.largest_scale == pytest.approx(
        50 / 30, rel=1e-5
    )  # 50 pixels below its middle
    with pytest.raises(SceneError, match=r"largest scale of these scenes is 1\.66"):
        scenes.render(1.7)


def test_photographs_of_any_sizes_go_together() -> None:
    pictures = square_in_grey(60, 40, 50) | {"large": PHOTOGRAPHS["astronaut"]}
    together = photographs(pictures).cut_out(canvas=48)
    assert together.ids == together.category == ("square", "large")
    for index, name in enumerate(pictures):
        alone = photographs({name: pictures[name]}).cut_out(canvas=48)
        torch.testing.assert_close(
            together.render(0.8)[index], alone.render(0.8)[0], atol=1e-5, rtol=0
        )


def test_masks_that_cannot_be_used_are_refused() -> None:
    (picture, mask) = square_in_grey(60, 40, 50)["square"]
    with pytest.raises(DataError, match=r"'mine' cannot be used .the mask is empty"):
        photographs({"mine": (picture, torch.zeros_like(mask))}).cut_out().ready()
    with pytest.raises(DataError, match="covers the whole picture"):
        photographs({"mine": (picture, torch.full_like(mask, 255))}).cut_out().ready()
    for wrong in (mask[:, :100], mask[..., :100], F.pad(mask, (9, 9))):
        with pytest.raises(DataError, match=re.escape(f"the mask is {tuple(wrong.shape[1:])}")):
            photographs({"mine": (picture, wrong)}).cut_out().ready()


@pytest.mark.parametrize("scale", [0, -1.0, float("nan"), float("inf"), 40.0, 0.001])
def test_scales_of_photographs_are_checked(scale: float, scenes: Scenes) -> None:
    with pytest.raises(SceneError, match="scale"):
        scenes.render(scale)


# --- zoom ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["coffee", "chelsea"])  # wide
def test_zoom_1_shows_the_whole_central_square(name: str) -> None:
    picture = PHOTOGRAPHS[name][0]
    _, height, width = picture.shape
    edge = (width - height) / 2
    expected = np.stack(
        [
            np.asarray(
                Image.fromarray(channel.float().numpy()).resize(
                    (CANVAS, CANVAS),
                    Image.Resampling.BICUBIC,
                    box=(edge, 0, width - edge, height),
                )
            )
            for channel in picture
        ]
    )
    made = photographs({name: picture}).zoom(canvas=CANVAS).render(1.0)[0]
    assert np.abs(made.numpy() - (expected / 255).clip(0, 1)).max() < 1e-3


@pytest.mark.parametrize("scale", [1.25, 1.6, 2.0, 4.0, 8.0])
@pytest.mark.parametrize("upright", [False, True])
def test_zoom_is_a_central_crop_and_a_resize(scale: float, upright: bool) -> None:
    picture = PHOTOGRAPHS["astronaut"][0][:, :480, :400]
    picture = picture if upright else picture.mT
    top, left = (length / 2 - 200 / scale for length in picture.shape[1:])  # whole pixels
    assert top % 1 == left % 1 == 0
    side = round(400 / scale)
    part = picture[:, int(top) : int(top) + side, int(left) : int(left) + side].double() / 255
    expected = resize(part, [80, 80], InterpolationMode.BICUBIC, antialias=True).clamp(0, 1)
    made = photographs({"her": picture.contiguous()}).zoom(canvas=80).render(scale)[0].double()
    rim = int(2 * max(1, 80 / side)) + 2  # where a crop ends and the photograph goes on
    inner = (slice(None), slice(rim, -rim), slice(rim, -rim))
    torch.testing.assert_close(made[inner], expected[inner], atol=1e-4, rtol=0)


def test_zoom_magnifies_about_the_middle() -> None:
    picture = torch.zeros(3, 100, 140, dtype=torch.uint8)
    picture[:, 40:60, 60:80] = 255  # a square of 20 in the middle
    scenes = photographs({"square": picture}).zoom(canvas=50)
    for scale in (1.0, 1.7, 2.5, 4.9):
        image = scenes.render(scale)[0, 0]
        assert float(image.sum().sqrt()) == pytest.approx(10 * scale, rel=0.02)
        torch.testing.assert_close(image, image.flip(0), atol=1e-5, rtol=0)
        torch.testing.assert_close(image, image.flip(1), atol=1e-5, rtol=0)


def test_zoom_slices_and_names() -> None:
    pictures = {name: picture for name, (picture, _) in PHOTOGRAPHS.items()}  # of many sizes
    scenes = photographs(pictures, category=["woman", "cat", "cup", "rocket"]).zoom(canvas=32)
    assert len(scenes) == 4
    assert scenes.ids == tuple(pictures)
    assert scenes[1:3].category == ("cat", "cup")
    assert scenes[1:3].ids == scenes.ids[1:3]
    whole = scenes.render(1.5)
    assert whole.shape == (4, 3, 32, 32)
    assert torch.equal(scenes[1:3].render(1.5), whole[1:3])
    assert 0 <= float(whole.min()) < float(whole.max()) <= 1
    assert (scenes.attrs["protocol"], scenes.attrs["canvas"]) == ("zoom", 32)
    assert photographs(pictures).category == tuple(pictures)
    assert scenes.ready("meta").render(1.0).device.type == "meta"


@pytest.mark.parametrize("scale", [0.99, 0, -1.0, float("nan"), float("inf")])
def test_zoom_out_is_refused(scale: float) -> None:
    scenes = photographs({"cup": PHOTOGRAPHS["coffee"][0]}).zoom()
    reason = f"at least 1, got {scale}" if math.isfinite(scale) else "finite number"
    with pytest.raises(SceneError, match=re.escape(reason)):
        scenes.render(scale)


def test_zoom_wants_a_category_for_each_photograph() -> None:
    with pytest.raises(DataError, match="1 pictures need as many categories, got 2"):
        photographs({"cup": PHOTOGRAPHS["coffee"][0]}, category=["cup", "saucer"])
