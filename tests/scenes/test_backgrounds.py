import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from skviz.scenes.backgrounds import OCTAVES, fractal, gradient, procedural, texture

SEEDS = range(300)
PUBLISHED = {
    0: (0.5899, 0.5253, 0.7609, 0.0183, 0.0146, 0.0562),
    1: (0.7316, 0.4095, 0.7201, 0.0510, 0.0092, 0.0256),
    2: (0.6176, 0.3263, 0.2375, 0.0006, 0.0475, 0.0579),
}


@pytest.fixture(scope="module")
def many() -> Tensor:
    return procedural(SEEDS, 48)


def fields(pictures: Tensor) -> Tensor:
    """How far each pixel is along the way between the picture's two extreme colours: 0…1."""
    flat = pictures.double().flatten(2)  # (N, 3, P)
    flat = flat - flat.mean(2, keepdim=True)
    axis = torch.linalg.svd(flat, full_matrices=False).U[:, :, :1]  # (N, 3, 1)
    along = (axis * flat).sum(1)
    low, high = along.amin(1, keepdim=True), along.amax(1, keepdim=True)
    return ((along - low) / (high - low)).reshape(len(pictures), *pictures.shape[2:])


def kinds(pictures: Tensor) -> np.ndarray:
    """Tell the kinds apart by their looks: a plane, two plateaus, or neither."""
    field = fields(pictures)
    bends = field.diff(n=2, dim=1).abs().mean((1, 2)) + field.diff(n=2, dim=2).abs().mean((1, 2))
    plateaus = ((field < 0.1) | (field > 0.9)).double().mean((1, 2))
    names = np.full(len(pictures), "fractal noise")
    names[(plateaus > 0.35).numpy()] = "texture"
    names[(bends < 1e-4).numpy()] = "gradient"
    return names


def test_pictures_are_in_range(many: Tensor) -> None:
    assert many.shape == (300, 3, 48, 48)
    assert many.dtype == torch.float32
    assert float(many.min()) >= 0
    assert float(many.max()) <= 1


def test_half_are_noise_and_the_rest_gradients_and_textures(many: Tensor) -> None:
    found = dict(zip(*np.unique(kinds(many), return_counts=True), strict=True))
    for kind, share in (("fractal noise", 0.5), ("gradient", 0.25), ("texture", 0.25)):
        deviation = math.sqrt(300 * share * (1 - share))
        assert abs(found[kind] - 300 * share) < 4 * deviation, found


def test_every_picture_lies_between_two_colours(many: Tensor) -> None:
    flat = many.double().flatten(2)
    singular = torch.linalg.svdvals(flat - flat.mean(2, keepdim=True))  # (N, 3)
    assert float((singular[:, 1] / singular[:, 0]).max()) < 1e-5
    assert float(many.flatten(2).std(2).amax(1).min()) > 0.002  # none is blank


def test_a_picture_depends_on_its_own_seed_alone(many: Tensor) -> None:
    assert torch.equal(procedural([7, 290, 11], 48), many[[7, 290, 11]])
    alone = torch.cat([procedural([seed], 48) for seed in range(20)])
    torch.testing.assert_close(alone, many[:20], atol=1e-6, rtol=0)


def test_backgrounds_stay_those_that_published_numbers_were_measured_on() -> None:
    """Mean colours, and how much they vary, of one of each kind: whoever changes them says so."""
    pictures = procedural(PUBLISHED, 96)
    assert set(kinds(pictures)) == {"fractal noise", "gradient", "texture"}
    found = torch.cat([pictures.mean((2, 3)), pictures.std((2, 3))], 1)
    expected = torch.tensor(list(PUBLISHED.values()))
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=0)


def test_other_seeds_give_other_pictures(many: Tensor) -> None:
    assert float(torch.pdist(many.flatten(1)).min()) > 0.5


def test_the_random_state_of_the_caller_is_left_alone() -> None:
    before = torch.get_rng_state()
    procedural([1, 2], 16)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_larger_picture_is_the_same_with_more_pixels() -> None:
    small, large = procedural(range(40), 96), procedural(range(40), 192)
    same = kinds(small) == "gradient"
    assert same.any()
    averaged = F.avg_pool2d(large, 2)
    torch.testing.assert_close(averaged[same], small[same], atol=1e-5, rtol=0)
    assert float((averaged - small).abs().mean((1, 2, 3)).max()) < 0.02


@pytest.mark.parametrize("degrees", [0, 30, 90, 200, 315])
def test_a_gradient_is_a_plane_in_its_direction(degrees: int) -> None:
    angle = math.radians(degrees)
    size = 50
    field = gradient(torch.tensor([angle], dtype=torch.float64), size)[0]
    down, right = field.diff(dim=0), field.diff(dim=1)
    for slope in (down, right):
        torch.testing.assert_close(slope, slope.mean().expand_as(slope), atol=1e-6, rtol=0)
    slopes = torch.tensor([float(right.mean()), float(down.mean())], dtype=torch.float64)
    direction = torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)
    torch.testing.assert_close(slopes / slopes.norm(), direction, atol=1e-6, rtol=0)
    # From 0 in one corner (or along one side) to 1, up to half a pixel at each end.
    ends = float(field.max() - field.min())
    assert ends == pytest.approx(1 - 1 / size, abs=1e-6)
    assert float(field.mean()) == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize("periods", [2, 5, 11])
@pytest.mark.parametrize("degrees", [0, 90])
def test_stripes_have_the_frequency_asked_for(periods: int, degrees: int) -> None:
    angle, frequency = torch.tensor([math.radians(degrees)]), torch.tensor([float(periods)])
    field = texture(angle, frequency, torch.tensor([False]), 96)[0]
    line, constant = (field[0], field[:, 0]) if degrees == 0 else (field[:, 0], field[0])
    spectrum = torch.fft.rfft(line - line.mean()).abs()
    assert int(spectrum.argmax()) == periods
    assert float(constant.std()) < 1e-3
    assert float(field.min()) > 0
    assert float(field.max()) < 1


def test_a_chequered_pattern_repeats_both_ways() -> None:
    field = texture(torch.zeros(1), torch.tensor([4.0]), torch.tensor([True]), 96)[0]
    torch.testing.assert_close(field, field.T, atol=1e-5, rtol=0)
    torch.testing.assert_close(field, field.roll(24, 0), atol=1e-4, rtol=0)
    half = field.roll(12, 1)  # half a period: dark and light change places
    torch.testing.assert_close(half, 1 - field, atol=1e-4, rtol=0)


def test_rougher_noise_has_finer_detail() -> None:
    noise = torch.rand(1, sum(cells**2 for cells in OCTAVES)).expand(4, -1)
    field = fractal(noise, torch.tensor([0.0, 0.4, 0.6, 0.9]), 96)
    assert float(field.amin((1, 2)).abs().max()) == 0
    assert float((field.amax((1, 2)) - 1).abs().max()) < 1e-6
    detail = field.diff(dim=1).square().mean((1, 2)) / field.var((1, 2))
    assert bool((detail.diff() > 0).all())
    # Without further octaves there is nothing finer than a third of the picture's side.
    power = torch.fft.rfft2((field - field.mean((1, 2), keepdim=True))[0]).abs() ** 2
    assert float(power[12:-12, 12:].sum() / power.sum()) < 0.01
