"""The drawing of pictures, against torchvision, Pillow and closed forms."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import resize

from skviz.scenes import cutouts
from skviz.scenes.drawing import compose, premultiplied, resample, rotation_matrix, warp


def doubles(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def draw(picture: Tensor, canvas: int, side: float, centre: tuple[float, float] | None = None):
    """One picture (C, h, w) on an empty canvas, in float64."""
    at = doubles(*(centre or (canvas / 2, canvas / 2)))
    return resample(picture[None].double(), canvas, at[None], doubles(side))[0]


def torchvision_resize(picture: Tensor, size: tuple[int, int]) -> Tensor:
    return resize(picture, list(size), InterpolationMode.BICUBIC, antialias=True)


def blob(height: int, width: int, y: float, x: float, sigma: float) -> Tensor:
    """A Gaussian (1, height, width) whose middle lies at (y, x) in pixels."""
    rows = torch.arange(height, dtype=torch.float64)[:, None] + 0.5
    columns = torch.arange(width, dtype=torch.float64) + 0.5
    return torch.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * sigma**2))[None]


def centroid(field: Tensor) -> Tensor:
    """The (y, x) of the centre of mass of (..., height, width), in pixels."""
    height, width = field.shape[-2:]
    rows, columns = (torch.arange(n, dtype=field.dtype) + 0.5 for n in (height, width))
    mass = field.sum((-2, -1))
    y = (field.sum(-1) * rows).sum(-1) / mass
    x = (field.sum(-2) * columns).sum(-1) / mass
    return torch.stack([y, x], -1)


def disc(size: int = 128) -> Tensor:
    """A white disc (1, 4, size, size) with a hard edge, uint8."""
    axis = torch.arange(size) + 0.5 - size / 2
    inside = axis[:, None] ** 2 + axis**2 < (0.45 * size) ** 2
    return (255 * inside.to(torch.uint8)).expand(1, 4, -1, -1).clone()


# --- against other libraries ---------------------------------------------------------------------


@pytest.mark.parametrize("side", [8, 16, 24, 32, 48, 64, 96])
@pytest.mark.parametrize("shift", [(0, 0), (5, -3)])
def test_a_cut_out_is_what_torchvision_makes_of_it(side: int, shift: tuple[int, int]) -> None:
    # 32 pixels of noise in a margin that is wide enough for the filter at every size.
    inner = F.pad(torch.rand(3, 32, 32, dtype=torch.float64), (32,) * 4)
    around = F.pad(inner, (96,) * 4)  # nothing, as far as the canvas will show
    whole = torchvision_resize(around, (side * 9,) * 2)
    canvas = 3 * side
    top, left = (3 * side - offset for offset in shift)
    expected = whole[:, top : top + canvas, left : left + canvas]
    centre = (canvas / 2 + shift[0], canvas / 2 + shift[1])
    made = draw(inner, canvas, 3 * side, centre)
    torch.testing.assert_close(made, expected, atol=1e-6, rtol=0)  # torchvision's weights: float32


@pytest.mark.parametrize("side", [8, 16, 24, 32, 48, 64, 96])
def test_a_cut_out_that_reaches_its_border_is_too(side: int) -> None:
    picture = torch.rand(3, 32, 32, dtype=torch.float64)
    around = F.pad(picture, (64,) * 4)
    expected = torchvision_resize(around, (side * 5,) * 2)[:, side:-side, side:-side]
    made = draw(picture, 3 * side, side)
    torch.testing.assert_close(made, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("height", "width"), [(48, 48), (48, 24), (30, 60)])
@pytest.mark.parametrize("side", [12, 24, 72, 120])
def test_a_photograph_is_what_torchvision_makes_of_it(height: int, width: int, side: int) -> None:
    picture = torch.rand(3, height, width, dtype=torch.float64)
    size = side * height // max(height, width), side * width // max(height, width)
    expected = torchvision_resize(picture, size)
    made = resample(
        picture[None], side, doubles(side / 2, side / 2)[None], doubles(side), edge=True
    )
    top, left = (side - size[0]) // 2, (side - size[1]) // 2
    shown = made[0, :, top : top + size[0], left : left + size[1]]
    torch.testing.assert_close(shown, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("side", [13.7, 40.0, 91.3, 217.9])
@pytest.mark.parametrize("centre", [(16.0, 16.0), (17.23, 14.9)])
def test_a_photograph_at_any_place_is_what_pillow_makes_of_it(
    side: float, centre: tuple[float, float]
) -> None:
    canvas, source = 32, 64
    picture = torch.rand(source, source)
    step = source / side  # source pixels per canvas pixel
    # The part of the picture under the canvas; Pillow takes only what lies inside the picture.
    top, left = (source / 2 - c * step for c in centre)
    seen = [i for i in range(canvas) if top + i * step >= 0 and top + (i + 1) * step <= source]
    across = [i for i in range(canvas) if left + i * step >= 0 and left + (i + 1) * step <= source]
    box = (
        left + across[0] * step,
        top + seen[0] * step,
        left + (across[-1] + 1) * step,
        top + (seen[-1] + 1) * step,
    )
    expected = Image.fromarray(picture.numpy()).resize(
        (len(across), len(seen)), Image.Resampling.BICUBIC, box=tuple(box)
    )
    made = resample(
        picture[None, None].double(), canvas, doubles(*centre)[None], doubles(side), edge=True
    )[0, 0]
    part = made[seen[0] : seen[-1] + 1, across[0] : across[-1] + 1].float()
    torch.testing.assert_close(part, torch.from_numpy(np.array(expected)), atol=2e-5, rtol=0)


def test_composition_is_pillows_alpha_composite() -> None:
    cut_outs = cutouts.objects(family="fluent")[:6]  # soft edges
    background = torch.randint(0, 256, (6, 3, 128, 128), dtype=torch.uint8)
    middle, side = torch.full((6, 2), 64.0), torch.full((6,), 128.0)  # pixel for pixel
    made = compose(premultiplied(cut_outs.rgba), background.float() / 255, middle, side)
    for index in range(6):
        under = Image.fromarray(background[index].permute(1, 2, 0).numpy()).convert("RGBA")
        over = Image.fromarray(cut_outs.rgba[index].permute(1, 2, 0).numpy(), "RGBA")
        expected = np.asarray(Image.alpha_composite(under, over).convert("RGB"))
        shown = (made[index].permute(1, 2, 0) * 255).numpy()
        assert np.abs(shown - expected).max() < 1  # Pillow rounds to whole grey levels


# --- size and place ------------------------------------------------------------------------------


def test_brightness_grows_with_the_square_of_the_side() -> None:
    alpha = premultiplied(disc())[0, 3:]
    sides = [6.0, 11.3, 24.0, 47.9, 96.0, 150.2]
    mass = torch.stack([draw(alpha, 160, side).sum() / side**2 for side in sides])
    # A disc of diameter 0.9 covers π 0.45² of its square; the hard edge is drawn on 128 pixels.
    torch.testing.assert_close(mass, mass.new_full((6,), math.pi * 0.45**2), rtol=2e-3, atol=0)


@pytest.mark.parametrize("side", [9.5, 30.0, 77.7])
@pytest.mark.parametrize("centre", [(48.0, 48.0), (40.31, 55.87), (50.5, 45.25)])
def test_an_object_lands_where_it_is_asked_to(side: float, centre: tuple[float, float]) -> None:
    field = blob(128, 128, 64, 64, 20)
    made = draw(field, 96, side, centre)
    torch.testing.assert_close(centroid(made)[0], doubles(*centre), atol=0.005, rtol=0)


def test_what_is_off_the_middle_moves_in_proportion_to_the_side() -> None:
    field = blob(128, 128, 44, 76, 10)  # 20 pixels up, 12 to the right
    for side in (20.0, 64.0, 90.5):
        made = centroid(draw(field, 96, side))[0]
        expected = doubles(48 - 20 * side / 128, 48 + 12 * side / 128)
        torch.testing.assert_close(made, expected, atol=0.01, rtol=0)


def test_side_is_the_longer_side() -> None:
    for shape in ((60, 30), (30, 60)):
        made = draw(torch.ones(1, *shape), 96, 48)
        tall, wide = made[0].sum(0).max(), made[0].sum(1).max()
        expected = doubles(*(48 * length / 60 for length in shape))
        torch.testing.assert_close(torch.stack([tall, wide]), expected, atol=0.3, rtol=0)


# --- antialiasing --------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [8.0, 17.3, 40.0])
@pytest.mark.parametrize("offset", [0.0, 0.37])
def test_a_chequerboard_too_fine_to_be_seen_is_grey(side: float, offset: float) -> None:
    y, x = torch.meshgrid(torch.arange(128), torch.arange(128), indexing="ij")
    board = ((y + x) % 2)[None].double()
    made = draw(board, 48, side, (24 + offset, 24 - offset))
    inside = int(side / 2 - 2 * max(1, 128 / side) * side / 128)  # clear of the border's filter
    part = made[0, 24 - inside : 24 + inside, 24 - inside : 24 + inside]
    assert float((part - 0.5).abs().max()) < 0.01


def test_rings_beyond_nyquist_vanish_and_those_below_stay() -> None:
    axis = torch.arange(128, dtype=torch.float64) + 0.5 - 64
    radius2 = axis[:, None] ** 2 + axis**2
    plate = (0.5 + 0.5 * torch.cos(math.pi * radius2 / 128))[None]  # radius / 128 cycles per pixel
    made = draw(plate, 32, 32)[0]  # Nyquist of the result: radius 16 of 64
    far = radius2.sqrt()[2::4, 2::4]  # near the result's pixels
    beyond = made[(far > 32) & (far < 52)]
    below = made[far < 8]
    assert float((beyond - 0.5).abs().max()) < 0.05
    assert float(below.max() - below.min()) > 0.5
    naive = plate[0, 2::4, 2::4]  # what this test would catch
    assert float((naive[(far > 32) & (far < 52)] - 0.5).abs().max()) > 0.4


def test_half_a_pixel_changes_the_brightness_of_a_small_object_little() -> None:
    alpha = premultiplied(cutouts.objects(family="noto")[:8].rgba)[:, 3:].double()
    for side in (6.0, 10.0):
        sides = doubles(side).expand(8)
        mass = [
            resample(alpha, 24, doubles(12 + d, 12 + d / 2).expand(8, 2), sides).sum((1, 2, 3))
            for d in (0.0, 0.25, 0.5, 0.75)
        ]
        spread = torch.stack(mass).std(0) / torch.stack(mass).mean(0)
        assert float(spread.max()) < 0.01


def test_the_picture_changes_smoothly_with_its_size() -> None:
    cut_out = premultiplied(cutouts.objects(category="horse", family="noto").rgba)[0].double()
    for side in (14.0, 40.0, 127.9):  # the last steps over the source's own size
        start = draw(cut_out, 96, side)
        changes = [
            float((draw(cut_out, 96, side * (1 + step)) - start).norm())
            for step in (1e-2, 1e-3, 1e-4)
        ]
        assert changes[0] / changes[1] == pytest.approx(10, rel=0.2)
        assert changes[1] / changes[2] == pytest.approx(10, rel=0.2)


def test_an_edge_is_as_sharp_as_its_source_however_large() -> None:
    step = torch.zeros(1, 64, 64)
    step[:, :, 32:] = 1
    for side in (64.0, 256.0, 512.0):
        row = draw(step, 96, side)[0, 48]
        soft = (row > 0.1) & (row < 0.9)
        assert int(soft.sum()) <= side / 64  # one source pixel, as drawn


# --- batches -------------------------------------------------------------------------------------


def test_each_of_a_batch_is_drawn_as_if_alone() -> None:
    cut_outs = premultiplied(cutouts.objects(family="emojione")[:5].rgba)
    backgrounds = torch.rand(5, 3, 48, 48)
    centre = 24 + 6 * torch.rand(5, 2)
    side = torch.tensor([3.0, 11.0, 24.0, 40.0, 200.0])
    whole = compose(cut_outs, backgrounds, centre, side)
    alone = torch.cat(
        [
            compose(cut_outs[i : i + 1], backgrounds[i : i + 1], centre[i : i + 1], side[i : i + 1])
            for i in range(5)
        ]
    )
    # At a border, weights are normalised over a reach that the smallest of the batch decides.
    torch.testing.assert_close(whole, alone, atol=1e-5, rtol=0)
    backgrounds[1:] = torch.rand(4, 3, 48, 48)
    cut_outs[1:] = cut_outs[1:].flip(0)
    assert torch.equal(compose(cut_outs, backgrounds, centre, side)[0], whole[0])


# --- colours -------------------------------------------------------------------------------------


def test_premultiplied_is_colour_times_alpha() -> None:
    rgba = torch.randint(0, 256, (2, 4, 5, 7), dtype=torch.uint8)
    made = premultiplied(rgba)
    assert made.shape == rgba.shape
    n, y, x = 1, 3, 2
    red, _, _, alpha = (int(v) for v in rgba[n, :, y, x])
    assert float(made[n, 0, y, x]) == pytest.approx(red * alpha / 255**2, abs=1e-7)
    assert float(made[n, 3, y, x]) == pytest.approx(alpha / 255, abs=1e-7)


def fringe(colour: tuple[int, int, int], side: float) -> Tensor:
    """How a disc differs from a background of its own colour: (3, 96, 96)."""
    cut_out = disc()
    cut_out[:, :3] = torch.tensor(colour, dtype=torch.uint8)[:, None, None]
    backgrounds = torch.tensor(colour)[:, None, None].expand(1, 3, 96, 96) / 255
    made = compose(
        premultiplied(cut_out), backgrounds, torch.tensor([[48.3, 47.1]]), torch.tensor([side])
    )
    return (made - backgrounds)[0]


@pytest.mark.parametrize("side", [3.0, 10.3, 31.0, 64.5, 96.0, 180.0])
@pytest.mark.parametrize("colour", [(255, 255, 255), (0, 0, 0), (255, 0, 255)])
def test_an_object_vanishes_on_its_own_colour(colour: tuple[int, int, int], side: float) -> None:
    assert float(fringe(colour, side).abs().max()) < 1e-3


@pytest.mark.parametrize("side", [3.0, 10.3, 31.0, 64.5, 96.0, 180.0])
def test_no_object_has_a_dark_or_coloured_rim(side: float) -> None:
    rim = fringe((128, 128, 128), side)
    assert float(rim.min()) > -1e-3
    # Where the filter overshoots, inside a hard edge, colours may be brighter by as much.
    assert float(rim.max()) < 0.08
    assert float((rim.amax(0) - rim.amin(0)).max()) < 1e-6


def test_colours_under_transparency_do_not_matter() -> None:
    rgba = cutouts.objects(family="twemoji")[[4]].rgba
    other = rgba.clone()
    hidden = (other[:, 3:] == 0).expand(-1, 3, -1, -1)
    other[:, :3][hidden] = 255 - other[:, :3][hidden]
    assert not torch.equal(rgba, other)
    assert torch.equal(premultiplied(rgba), premultiplied(other))


def test_scenes_stay_in_range_and_backgrounds_stay_as_they_are() -> None:
    cut_outs = premultiplied(cutouts.objects(family="noto")[:20].rgba)
    backgrounds = (torch.rand(20, 3, 64, 64) > 0.5).float()  # the two extremes
    for side in (4.0, 21.7, 64.0, 120.0):
        made = compose(cut_outs, backgrounds, torch.full((20, 2), 32.0), torch.full((20,), side))
        assert float(made.min()) >= 0
        assert float(made.max()) <= 1 + 1e-6
        if side < 32:
            away = torch.ones(64, 64, dtype=torch.bool)
            near = math.ceil(side / 2 + 2)
            away[32 - near : 32 + near, 32 - near : 32 + near] = False
            assert torch.equal(made[..., away], backgrounds[..., away])


# --- linear maps ---------------------------------------------------------------------------------


def middle_of(warped: Tensor, height: int, width: int) -> Tensor:
    top, left = (warped.shape[-2] - height) // 2, (warped.shape[-1] - width) // 2
    return warped[..., top : top + height, left : left + width]


@pytest.mark.parametrize(("degrees", "quarters"), [(90.0, 1), (180.0, 2), (270.0, 3), (-90.0, -1)])
@pytest.mark.parametrize("shape", [(32, 32), (48, 24), (24, 48)])
def test_quarter_turns_are_exact_and_clockwise(
    degrees: float, quarters: int, shape: tuple[int, int]
) -> None:
    picture = torch.rand(1, 4, *shape)
    made, _ = warp(picture, rotation_matrix(torch.tensor([degrees])))
    expected = picture.rot90(-quarters, (-2, -1))  # torch turns counter-clockwise
    shown = middle_of(made, *expected.shape[-2:])
    torch.testing.assert_close(shown, expected, atol=1e-4, rtol=0)


def test_clockwise_takes_what_is_on_the_right_down() -> None:
    right = blob(64, 64, 32, 52, 3).expand(1, 4, -1, -1).float()
    made, _ = warp(right, rotation_matrix(torch.tensor([90.0])))
    y, x = (centroid(made[0, 3]) - torch.tensor(made.shape[-2:]) / 2).tolist()
    assert y == pytest.approx(20, abs=0.01)
    assert x == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("degrees", [7.0, 30.0, 45.0])
def test_turning_back_undoes_a_turn(degrees: float) -> None:
    picture = torch.cat([blob(64, 64, 24, 40, s) for s in (5, 6, 7, 8)])[None].float()
    there, growth = warp(picture, rotation_matrix(torch.tensor([degrees])))
    back, further = warp(there, rotation_matrix(torch.tensor([-degrees])))
    assert growth > 1
    assert further > 1
    torch.testing.assert_close(middle_of(back, 64, 64), picture, atol=0.02, rtol=0)


MATRICES = {
    "aspect": [[1.3, 0.0], [0.0, 0.8]],
    "shear": [[1.0, 0.4], [0.0, 1.0]],
    "mirror": [[-1.0, 0.0], [0.0, 1.0]],
    "all": [[-0.9, 0.5], [0.3, 1.2]],
}


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("shape", [(64, 64), (96, 48), (40, 80)])
def test_points_go_where_the_matrix_sends_them(name: str, shape: tuple[int, int]) -> None:
    height, width = shape
    matrix = torch.tensor([MATRICES[name]])
    place = torch.tensor([0.2 * width, -0.15 * height])  # (x, y) from the middle
    field = blob(height, width, height / 2 + float(place[1]), width / 2 + float(place[0]), 3)
    made, _ = warp(field.expand(1, 4, -1, -1).float(), matrix)
    y, x = centroid(made[0, 3]) - torch.tensor(made.shape[-2:]) / 2
    torch.testing.assert_close(torch.stack([x, y]), matrix[0] @ place, atol=0.02, rtol=0)
    area = float(torch.linalg.det(matrix[0]).abs())
    assert float(made[0, 3].sum() / field.sum()) == pytest.approx(area, rel=0.01)


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("shape", [(64, 64), (96, 48), (40, 80)])
def test_nothing_is_cut(name: str, shape: tuple[int, int]) -> None:
    matrix = torch.tensor([MATRICES[name]])
    made, growth = warp(torch.ones(1, 4, *shape), matrix)
    area = float(torch.linalg.det(matrix[0]).abs()) * shape[0] * shape[1]
    assert float(made[0, 3].sum()) == pytest.approx(area, rel=0.01)
    assert growth == max(made.shape[-2:]) / max(shape)
    # Drawn `growth` times as large as the unmapped object, it keeps its proportion to it.
    drawn = draw(made[0, 3:], 128, 40 * growth)
    assert float(drawn.sum()) == pytest.approx(area * (40 / max(shape)) ** 2, rel=0.01)


def test_each_of_a_batch_is_mapped_by_its_own_matrix() -> None:
    pictures = torch.cat([blob(32, 32, 12, 20, 3)[None]] * 2).expand(-1, 4, -1, -1).float()
    turns = rotation_matrix(torch.tensor([0.0, 180.0]))
    made = middle_of(warp(pictures, turns)[0], 32, 32)
    torch.testing.assert_close(made[0], pictures[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(made[1], pictures[1].flip(-1, -2), atol=1e-5, rtol=0)
